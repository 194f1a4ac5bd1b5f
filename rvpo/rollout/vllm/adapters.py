"""Adapters on their way into vLLM, as a folder in shared memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Final, Literal

from rvpo.errors import EngineError
from rvpo.rollout.adapter import bytes_of, save_adapter, write_adapter
from rvpo.rollout.adapter_effect import Layout, check_effect, probe
from rvpo.rollout.lora_config import LoraConfig
from rvpo.rollout.vllm.adapter_room import MERGED, adapter_options
from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.transports.shared import memory_folder, sweep
from rvpo.rollout.vllm.transports.transport import WeightTransport
from rvpo.rollout.vllm.watch import answer
from rvpo.runtime.shortage import words_of_shortage

if TYPE_CHECKING:
    from rvpo.rollout.engine import Weights

_NAME: Final = "policy"
_NUMBER: Final = 1
_PROBE: Final = "probe"
_PROBE_NUMBER: Final = 2
"""vLLM has room for one adapter. While it has the probe it has no other, and a sample that was
asked for by the policy's would fail."""
_WORDS: Final = 300
"""Characters of vLLM's words that are told."""


class AdapterFiles(WeightTransport):
    """A folder in shared memory, for an adapter alone: the model that it is of stays what it is,
    and vLLM reads it from its files."""

    name: Literal["adapter"] = "adapter"
    adapter: LoraConfig
    in_process: bool

    def reaches(self, site: Site) -> bool:
        """Any engine on this machine."""
        return True

    def options(self) -> dict[str, Any]:
        """See `adapter_options`."""
        return adapter_options(self.adapter)

    def open(self, llm: Any, model: Path) -> AdapterSender:
        """See `WeightTransport.open`."""
        from vllm.lora.request import LoRARequest

        return AdapterSender(llm, LoRARequest, self.adapter, str(model), in_process=self.in_process)


class AdapterSender:
    """A `WeightSender` of the newest adapter, which takes the place of the one before it.

    Args:
        llm: a vLLM `LLM` with room for an adapter.
        request: vLLM's `LoRARequest`.
        model: folder or Hub id of the model that the adapter is of.
    """

    def __init__(
        self,
        llm: Any,
        request: Callable[..., Any],
        config: LoraConfig,
        model: str,
        *,
        in_process: bool,
    ) -> None:
        self._llm = llm
        self._request_of = request
        self._config = config
        self._model = model
        self._in_process = in_process
        self._path = ""
        self._proven = False
        self._layout: Layout = ()
        """Layout of the adapter sent last."""
        self._files = ExitStack()
        """Holds the folder of the adapter sent last, until adapters are proven to work."""
        sweep()

    @property
    def request(self) -> Any:
        """The adapter, as vLLM wants it named in a request for a sample. That says nothing of
        loading, for vLLM would read the files again at every token."""
        return self._request_of(_NAME, _NUMBER, self._path)

    def send(self, weights: Weights) -> None:
        """See `WeightSender.send`.

        Raises:
            EngineError: vLLM does not take the adapter.
        """
        self._files.close()
        with ExitStack() as files:
            parent = files.enter_context(memory_folder(bytes_of(weights)))
            folder = parent / _NAME  # another parent each time, by which vLLM keeps prefixes apart
            write_adapter(folder, weights, self._config, self._model)
            self._path = str(folder)
            self._load(_NAME, _NUMBER, folder)
            if not self._proven:
                self._layout, self._files = weights.layout(), files.pop_all()

    def check_effect(self, likelihoods: Callable[[Any | None], Sequence[float]]) -> None:
        """See whether vLLM applies adapters, once: by a probe, which is gone afterwards. Nothing
        else may be asked of vLLM or sent to it meanwhile.

        Args:
            likelihoods: log-probabilities of one prompt's tokens with the adapter of a request, or
                without one.

        Raises:
            EngineError: it applies none.
        """
        if self._proven:
            return
        state = probe(self._layout, self._config)
        size = sum(tensor.nbytes for tensor in state.values())
        with self._files, memory_folder(size) as parent:
            folder = parent / _PROBE
            save_adapter(folder, state, self._config, self._model)
            self._load(_PROBE, _PROBE_NUMBER, folder)
            asked = self._request_of(_PROBE, _PROBE_NUMBER, str(folder))
            check_effect(likelihoods(asked), likelihoods(None))
            self._load(_NAME, _NUMBER, Path(self._path))
        self._proven = True

    def _load(self, name: str, number: int, folder: Path) -> None:
        def load() -> None:
            self._add(self._request_of(name, number, str(folder), load_inplace=True))

        if self._in_process:
            load()
        else:
            answer(load, "taking a new adapter")

    def _add(self, request: Any) -> None:
        try:
            self._llm.llm_engine.add_lora(request)
        except Exception as error:  # its worker raises anything, and hands it over as less
            if type(error).__name__ == "EngineDeadError" or words_of_shortage(error) is not None:
                raise
            words = shorten(str(error), _WORDS)
            raise EngineError(
                f"vLLM does not take the adapter ({words}); {MERGED}, or change model.lora.targets"
            ) from error
