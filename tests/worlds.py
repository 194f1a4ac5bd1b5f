"""Worlds of the protocol for whole runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from rvpo.environments import WorldReply
from rvpo.types import Message, Prompt


class Nagging:
    """Asks for more, so many times. Prompts whose number is a multiple of `broken` have a world
    that fails instead."""

    tools: Sequence[Mapping[str, Any]] = ()

    def __init__(self, times: int = 2, broken: int = 0) -> None:
        self.times = times
        self.broken = broken

    def session(self, prompt: Prompt, seed: int) -> NaggingSession:
        is_broken = self.broken > 0 and prompt.columns["number"] % self.broken == 0
        return NaggingSession(self.times, is_broken)

    async def close(self) -> None:
        pass


class NaggingSession:
    def __init__(self, times: int, is_broken: bool) -> None:
        self.state = 0
        """Times that it was answered."""
        self._times = times
        self._is_broken = is_broken

    async def begin(self) -> Sequence[Message]:
        return ()

    async def answer(self, message: Message) -> WorldReply:
        await asyncio.sleep(0)
        if self._is_broken:
            raise OSError("no more")
        self.state += 1
        more = ({"role": "user", "content": "More?"},) if self.state <= self._times else ()
        return WorldReply(messages=more)

    async def close(self) -> None:
        pass


def patience(completions: list[Any], environments: list[Any], **columns: Any) -> list[float]:
    """Times that the world was answered, as a reward that reads the world's state."""
    return [float(state) for state in environments]


class Unopened:
    """Has no world for any prompt."""

    tools: Sequence[Mapping[str, Any]] = ()

    def session(self, prompt: Prompt, seed: int) -> NaggingSession:
        return NaggingSession(prompt.columns["times"], is_broken=False)

    async def close(self) -> None:
        pass


class Looping(Nagging):
    """Needs the event loop that its sessions live in."""

    def session(self, prompt: Prompt, seed: int) -> NaggingSession:
        asyncio.get_running_loop()
        return super().session(prompt, seed)


class Toolless:
    """Lacks what an environment has."""


class Undescribed(Nagging):
    """Has a function where its description belongs."""

    tools = (patience,)  # type: ignore[assignment]


class Untold(Nagging):
    """Fails to tell its tools."""

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:  # type: ignore[override]
        raise KeyError("tools")


class Sessionless(Nagging):
    """Opens nothing."""

    def session(self, prompt: Prompt, seed: int) -> Any:
        pass
