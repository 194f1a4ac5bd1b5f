"""The world in which BFCL's questions are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rvpo.benchmarks.bfcl.distribution import Wheel
from rvpo.benchmarks.bfcl.multi_turn import MOST_STEPS, MultiTurnSession
from rvpo.benchmarks.bfcl.multi_turn_rows import MultiTurnRow
from rvpo.benchmarks.bfcl.service_host import ServiceHost
from rvpo.environments import EnvironmentConfig, Session, WorldReply
from rvpo.types import Message, Prompt

_SECONDS: Final = 120.0
"""Time that the services may take to answer a turn. Their own limit is of processor time, and says
more of who is to blame: beyond this one the machine is."""
_WORKERS: Final = 2


def limits(rows: Sequence[MultiTurnRow]) -> EnvironmentConfig:
    """Limits of the conversations; those of turns are BFCL's own, which the sessions keep."""
    most = max(len(row.turns) for row in rows)
    return EnvironmentConfig(max_turns=most * (MOST_STEPS + 1), seconds=_SECONDS, at_once=_WORKERS)


class BfclWorld:
    """See `rvpo.environments.Environment`.

    Args:
        rows: the conversation of each prompt that begins one, by its id.
        wheel: has the services.
    """

    tools: Sequence[Mapping[str, Any]] = ()

    def __init__(self, rows: Mapping[str, MultiTurnRow], wheel: Wheel) -> None:
        self._rows = rows
        self._host = ServiceHost(wheel)

    def session(self, prompt: Prompt, seed: int) -> Session:
        """See `Environment.session`."""
        row = self._rows.get(prompt.id)
        return Silent() if row is None else MultiTurnSession(row, self._host)

    async def close(self) -> None:
        """See `Environment.close`."""
        await self._host.close()


class Silent:
    """A world that says nothing: one answer is all."""

    state: None = None

    async def begin(self) -> Sequence[Message]:
        """See `Session.begin`."""
        return ()

    async def answer(self, message: Message) -> WorldReply:
        """See `Session.answer`."""
        return WorldReply()

    async def close(self) -> None:
        """See `Session.close`."""
