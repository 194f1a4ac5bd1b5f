"""Weights handed over within one process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rvpo.errors import EngineError, RvpoError
from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.transports.transport import UNREAD, WeightSender, WeightTransport
from rvpo.runtime.shortage import words_of_shortage

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
        try:
            self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
        except RvpoError:
            raise
        except (RuntimeError, ValueError, LookupError) as error:  # of vLLM's code for this model
            from rvpo.runtime.ranks import is_of_ranks  # torch with it, which settings do without

            if is_of_ranks(error) or words_of_shortage(error) is not None:
                raise
            raise EngineError(
                f"vLLM does not take new weights of this model ({type(error).__name__}: {error}); "
                "set rollout.engine.name=transformers, or try another version of vLLM"
            ) from error
