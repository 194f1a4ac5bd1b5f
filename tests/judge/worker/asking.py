"""Jobs of numbered criteria, and an asker of one's own to answer them."""

from __future__ import annotations

import asyncio
from itertools import chain

from rvpo.config.judge import JudgeConfig
from rvpo.judge.types import Answer, Job, Question
from rvpo.judge.worker.asker import Asker
from tests.judge.server import criterion


def job(*numbers: int, response: str = "An answer.", repeat: int = 0) -> Job:
    return Job(
        conversation=(("user", "A question?"),),
        response=response,
        questions=tuple(Question("criterion", criterion(number)) for number in numbers),
        repeat=repeat,
    )


def ask(config: JudgeConfig, *jobs: Job) -> list[Answer]:
    """The answers to all questions of jobs that are given at once."""

    async def run() -> list[Answer]:
        async with Asker(config) as asker:
            return list(chain.from_iterable(await asyncio.gather(*map(asker.answer, jobs))))

    return asyncio.run(run())
