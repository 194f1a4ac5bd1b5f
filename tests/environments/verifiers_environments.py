"""Environments as packages of verifiers write them, by the names of their modules."""

from __future__ import annotations

SPELLING = """
import verifiers.v1 as vf

__all__ = ["SpellingTaskset"]


class SpellingData(vf.TaskData):
    word: str


class SpellingTask(vf.Task[SpellingData]):
    @vf.reward(weight=2.0)
    async def spelt(self, trace: vf.Trace) -> float:
        return float(trace.last_reply == "-".join(self.data.word))

    @vf.reward
    async def broken(self, trace: vf.Trace) -> float:
        raise KeyError("no such letter")

    @vf.reward(weight=0.5)
    async def sizes(self, trace: vf.Trace) -> dict[str, float]:
        return {"short": float(len(trace.last_reply) < 9), "long": float(len(trace.last_reply) > 8)}

    @vf.metric
    async def length(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply))


class SpellingConfig(vf.TasksetConfig):
    words: list[str] = ["cat", "mouse"]


class SpellingTaskset(vf.Taskset[SpellingTask, SpellingConfig]):
    def load(self):
        for word in self.config.words:
            data = SpellingData(prompt=f"Spell {word}.", system_prompt="Use dashes.", word=word)
            yield SpellingTask(data, self.config.task)
"""

COUNTING = '''
import asyncio
import itertools
import time

import verifiers.v1 as vf

__all__ = ["CountingEnv", "CountingTaskset"]


class CountingData(vf.TaskData):
    start: int


class CountingTask(vf.Task[CountingData]):
    @vf.reward
    async def counted(self, trace: vf.Trace) -> float:
        said = [message.content for message in trace.assistant_messages]
        return sum(text == str(self.data.start + n) for n, text in enumerate(said, 1)) / 3


class CountingConfig(vf.TasksetConfig):
    pass


class CountingEnv(vf.SingleAgentEnv):
    """The user opens, and goes on for three turns."""

    async def run(self, task, agents):
        async with agents.agent.interaction(task) as interaction:
            asked = f"Count from {task.data.start}."
            for _ in range(3):
                segment = await interaction.turn(asked)
                if segment.terminated:
                    break
                if segment.last_reply == "sleep":
                    await asyncio.sleep(3600)
                if segment.last_reply == "block":
                    time.sleep(4)
                if segment.last_reply == "raise":
                    raise RuntimeError("the user left")
                asked = "Go on."


class CountingTaskset(vf.Taskset[CountingTask, CountingConfig]):
    INFINITE = True

    def load(self):
        for number in itertools.count():
            yield CountingTask(CountingData(prompt=None, start=number), self.config.task)
'''

SEATS = """
import verifiers.v1 as vf

__all__ = ["SeatsEnv", "SeatsTaskset"]


class SeatsConfig(vf.EnvConfig):
    white: vf.AgentConfig = vf.AgentConfig()
    black: vf.AgentConfig = vf.AgentConfig()


class SeatsEnv(vf.Env[SeatsConfig]):
    async def run(self, task, agents):
        await agents.white.run(task)


class SeatsTaskset(vf.Taskset[vf.Task, vf.TasksetConfig]):
    def load(self):
        yield vf.Task(vf.TaskData(prompt="Play."))
"""

MODULES = {"spelling": SPELLING, "counting": COUNTING, "seats": SEATS}
