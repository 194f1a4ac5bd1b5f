"""2,000 verdicts from each of many endpoints that misbehave in one way each.

    python -m performance.judge_replies

The endpoints are the tests' own (tests/judge/misbehaving.py), each a real server on loopback that
keeps its connections open. Verdicts come from one worker's asker with the defaults of `judge:` and
a cache. Whether a criterion is met is a function of its text, and replies that are no verdict say
the opposite: a verdict that was read where it should not have been is a wrong one. A second run
reads the cache, so what was remembered wrongly is counted too. With --save the table is also
written to performance/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from performance.judge_faults import make_jobs, table
from performance.published import add_save_option, publish
from rvpo.config.judge import EndpointConfig, JudgeConfig
from rvpo.judge.types import Answer
from rvpo.judge.worker.asker import Asker
from tests.judge.misbehaving import behaviours
from tests.judge.raw import Behaviour, RawServer
from tests.judge.server import criterion, is_met

HEADER = [
    "the server does",
    "lost",
    "wrong",
    "wrong when read again",
    "calls",
    "seconds",
    "reasons",
]


async def ask(config: JudgeConfig, verdicts: int) -> list[Answer]:
    async with Asker(config) as asker:
        answers = await asyncio.gather(*map(asker.answer, make_jobs(verdicts)))
    return list(chain.from_iterable(answers))


def wrong(answers: list[Answer]) -> int:
    return sum(
        answer.value is not None and answer.value != is_met(criterion(number))
        for number, answer in enumerate(answers)
    )


def row(name: str, make: Callable[[Counter[str]], Behaviour], verdicts: int) -> list[str]:
    calls: Counter[str] = Counter()
    with RawServer(make(calls)) as server, tempfile.TemporaryDirectory() as folder:
        config = JudgeConfig(
            model="judge",
            endpoints=(EndpointConfig(url=server.url),),
            cache=Path(folder) / "cache.sqlite",
        )
        started = time.monotonic()
        answers = asyncio.run(ask(config, verdicts))
        seconds = time.monotonic() - started
        asked = calls["calls"]
        again = asyncio.run(ask(config, verdicts))
    reasons = Counter(answer.failure for answer in answers if answer.failure is not None)
    lost = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    counts = (reasons.total(), wrong(answers), wrong(again), asked)
    return [name, *(f"{count:,}" for count in counts), f"{seconds:.0f}", lost]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--verdicts", type=int, default=2000)
    parser.add_argument("--only", default="", help="those whose name has this pattern")
    add_save_option(parser)
    options = parser.parse_args()
    chosen = {n: make for n, make in behaviours().items() if re.search(options.only, n)}
    rows = []
    for name, make in chosen.items():
        rows.append(row(name, make, options.verdicts))
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    text = f"{options.verdicts:,} questions each.\n\n" + "\n".join(table(HEADER, rows))
    publish("judge_replies.md", text, options)


if __name__ == "__main__":
    main()
