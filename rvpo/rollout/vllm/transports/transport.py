"""The interface of a weight transport: the way of the policy's weights into a vLLM engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from rvpo.fields import Section
from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.watch import answer

if TYPE_CHECKING:
    from rvpo.rollout.engine import Weights


UNREAD: Final = {"load_format": "dummy"}
"""Options with which vLLM reads no weights from a disk: all of them are sent before they are
used."""


class WeightSender(Protocol):
    """The open way into one engine."""

    def send(self, weights: Weights) -> None:
        """Replace all weights of the engine.

        Raises:
            EngineError: the engine failed, or did not answer in time.
        """
        ...


class WeightTransport(Section):
    """A way of weights, and its settings. A subclass has a `name`, `reaches` and `open`."""

    def reaches(self, site: Site) -> bool:
        """True where it leads to an engine there."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Options that vLLM must be started with."""
        return {}

    def open(self, llm: Any, model: Path) -> WeightSender:
        """The way into an engine.

        Args:
            llm: a vLLM `LLM`, started with `options`.
            model: folder of the initial model.
        """
        raise NotImplementedError


def remote_call(llm: Any, method: str, **arguments: Any) -> None:
    """Have an engine in a process of its own call a method of vLLM's for new weights.

    Raises:
        EngineError: it failed, or did not answer in time.
    """
    answer(lambda: llm.collective_rpc(method, kwargs=arguments), "taking new weights")
