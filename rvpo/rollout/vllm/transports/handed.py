"""Weights handed over within one process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.transports.transport import UNREAD, WeightSender, WeightTransport

if TYPE_CHECKING:
    from rvpo.rollout.engine import Weights


class Handed(WeightTransport):
    """Tensor by tensor, to an engine in the training process."""

    name: Literal["handed"] = "handed"

    def reaches(self, site: Site) -> bool:
        """An engine in process."""
        return site.in_process

    def options(self) -> dict[str, Any]:
        """No weights are read."""
        return dict(UNREAD)

    def open(self, llm: Any, model: Path) -> WeightSender:
        """See `WeightTransport.open`."""
        return HandedSender(llm)


class HandedSender:
    """A sender that gives vLLM the tensors themselves."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm

    def send(self, weights: Weights) -> None:
        """See `WeightSender.send`."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
