"""Objects that begin an episode in all the ways there are, one kind each."""

from __future__ import annotations

import sys
import threading
from abc import ABC, abstractmethod
from typing import Any

RELEASE = threading.Event()
"""Ends what hangs, when a test is over."""


class World:
    given: Any = None

    def look(self) -> str:
        """Looks."""
        return "nothing"


class TakesAll(World):
    def reset(self, **columns: Any) -> None:
        self.given = columns


class TakesHint(World):
    def reset(self, hint: list[int]) -> None:
        self.given = {"hint": hint}


class TakesSeed(World):
    def reset(self, seed: int) -> None:
        self.given = {"seed": seed}


class TakesPlace(World):
    def reset(self, hint: list[int], /) -> None:
        self.given = {"hint": hint}


class MadeByPlace(World):
    def __init__(self, size: int, /) -> None:
        self.size = size

    def reset(self) -> None:
        self.given = {}


class TakesNothing(World):
    def reset(self) -> None:
        self.given = {}


class AwaitsReset(World):
    async def reset(self, answer: int) -> None:
        self.given = {"answer": answer}


class TellsNothing(World):
    def reset(self) -> str:
        return ""


class TellsParts(World):
    def reset(self) -> Any:
        return [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]


class TellsNumber(World):
    def reset(self) -> Any:
        return 3


class TellsImage(World):
    def reset(self) -> Any:
        return [{"type": "image", "image": b""}]


class FailsReset(World):
    def reset(self) -> None:
        raise ValueError("no board")


class LeavesReset(World):
    def reset(self) -> None:
        sys.exit(2)


class HangsReset(World):
    def reset(self) -> None:
        RELEASE.wait(60)


class FailsLater(World):
    made = 0

    def __init__(self) -> None:
        FailsLater.made += 1
        if FailsLater.made > 1:
            raise ConnectionError("second")

    def reset(self) -> None:
        pass


class NoReset(World):
    pass


class NoTool:
    def reset(self) -> None:
        pass

    def get_reward(self) -> float:
        return 0.0


class NoDocstring:
    def reset(self) -> None:
        pass

    def move(self, to: str) -> str:
        return to


class FailsAtOnce(World):
    def __init__(self) -> None:
        raise OSError("no server")


class Leaves(World):
    def __init__(self) -> None:
        sys.exit(4)


class NeedsSize(World):
    def __init__(self, size: int) -> None:
        self.size = size


class TakesAnything(World):
    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def reset(self) -> None:
        pass


class Abstract(World, ABC):
    @abstractmethod
    def reset(self) -> None: ...


def nothing() -> None:
    """No world."""


class KeepsKey:
    def __init__(self, key: str, board: list[int]) -> None:
        self.key = key
        self.board = board

    def reset(self) -> None:
        pass

    def tell(self) -> str:
        """Tells what it should not."""
        return self.key


def increment(step: int) -> int:
    """Increments nothing.

    Args:
        step: The value to add.
    """
    return step
