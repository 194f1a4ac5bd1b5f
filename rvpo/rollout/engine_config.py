"""The settings of a rollout engine: what it requires, takes and builds.

`rvpo plan` and `rvpo doctor` ask them, and so does the check of a run's settings. They are read
without torch: an engine is imported when it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rvpo.errors import ConfigError
from rvpo.fields import Section
from rvpo.rollout.memory import EngineLoad, EngineMemory
from rvpo.rollout.requirement import Requirement
from rvpo.runtime.ignore import ignore
from rvpo.sampling import Sampling

if TYPE_CHECKING:
    import torch

    from rvpo.rollout.encoder import Encoder
    from rvpo.rollout.engine import RolloutEngine
    from rvpo.rollout.lora_config import LoraConfig
    from rvpo.runtime.ranks import Ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInputs:
    """The things that every engine is built from."""

    model_path: str
    """A folder or a Hub id, for the shape of the model; weights come later."""
    encoder: Encoder
    dtype: torch.dtype
    """Type of the weights that compute."""
    trust_remote_code: bool
    """Run Python code that comes with the model."""
    sampling: Sampling
    """Way in which completions are drawn in training; log-probabilities are those of drawing so."""
    concurrent: bool
    """It generates while the policy learns."""
    seed: int
    """Seed of the run."""
    ranks: Ranks
    adapter: LoraConfig | None = None
    """The adapters that it is given in place of weights; None where those come, whole."""
    in_flight: bool = False
    """New weights come while it generates, and samples go on under them."""
    output: Path = Path()
    """The run's folder, which every machine of the run sees."""
    patience_minutes: float = 20.0
    """Minutes that the run waits for a rank that says nothing."""
    say: Callable[[str], None] = ignore
    """Told of things that the run goes on with, such as a server that is lost."""


class EngineConfig(Section):
    """A rollout engine and its settings.

    A subclass has a `name`, `max_context_tokens: PositiveInt | None` (prompt plus completion; None
    is the model's own limit), `memory` and `build`.
    """

    concurrent: ClassVar[bool] = False
    """True where it can generate while the policy learns, as `rollout.staleness` above 0 asks."""
    in_flight: ClassVar[bool] = False
    """True where it can take new weights while it generates, as `rollout.in_flight` asks."""
    ends_thoughts: ClassVar[bool] = False
    """True where it can end thoughts, as `rollout.max_thought_tokens` asks."""
    goes_on: ClassVar[bool] = False
    """True where it takes further requests while it generates, as `environment` asks."""

    def requires(self) -> tuple[Requirement, ...]:
        """Packages that it imports, beside those of every run."""
        return ()

    def check(self) -> None:
        """Look for what it requires, before any work.

        Raises:
            ConfigError: something is not installed.
        """
        for requirement in self.requires():
            requirement.check()

    def problem(self, *, on_gpu: bool, concurrent: bool, alone: bool) -> str:
        """Reason that it cannot work in such a place; empty where it can.

        Args:
            on_gpu: its training process is on a GPU.
            concurrent: it is to generate while the policy learns.
            alone: there is one training process.
        """
        return ""

    def sampling_problem(self, sampling: Sampling, *, in_training: bool) -> str:
        """Reason that it cannot draw so; empty where it can. It begins with the setting's name.

        Args:
            in_training: log-probabilities are compared with the trainer's, which has to know of
                each token the others that could have been drawn.
        """
        return ""

    def adapter_problem(
        self, adapter: LoraConfig, *, width: int, on_gpu: bool, in_flight: bool
    ) -> str:
        """Reason that it takes no such adapter in place of weights; empty where it does.

        Args:
            width: bytes of a weight that computes.
            on_gpu: its training process is on a GPU.
            in_flight: new adapters come while it generates, and samples go on under them.
        """
        return ""

    def adapter_refusal(self, adapter: LoraConfig, *, width: int, in_flight: bool) -> str:
        """Reason that it takes no such adapter on any machine; empty where it does on one.

        Args:
            width: bytes of a weight that computes.
            in_flight: see `adapter_problem`.
        """
        found = [
            self.adapter_problem(adapter, width=width, on_gpu=on_gpu, in_flight=in_flight)
            for on_gpu in (False, True)
        ]
        return found[0] if all(found) else ""

    def check_adapted(self, model_path: str, *, trust_remote_code: bool) -> None:
        """Look at the model that adapters are of, of which nothing but the settings is read.

        Args:
            model_path: its folder or Hub id.

        Raises:
            ConfigError: the engine takes no adapters of it.
        """

    def check_place(self, ranks: Ranks, *, concurrent: bool) -> None:
        """Look at the place that this rank has for it, before any work.

        Raises:
            ConfigError: it cannot work there, or what it requires is built for another place.
        """
        on_gpu, alone = ranks.device.type == "cuda", ranks.size == 1
        if problem := self.problem(on_gpu=on_gpu, concurrent=concurrent, alone=alone):
            raise ConfigError(problem)
        for requirement in self.requires():
            requirement.check_build(on_gpu=on_gpu)
        self.check_options()

    def check_running(
        self,
        model_path: str,
        adapter: LoraConfig | None,
        max_context_tokens: int,
        say: Callable[[str], None],
    ) -> None:
        """Look at what of it runs already, before any model is loaded. One rank calls.

        Args:
            model_path: the model's folder or Hub id.
            adapter: see `EngineInputs`.
            max_context_tokens: tokens of the run's longest prompt plus completion.
            say: told of what is not there yet, and waited for later.

        Raises:
            ConfigError: it is another model's, or does not let this run in.
        """

    def opening(self) -> str:
        """The work of `build`, in words."""
        return f"starting {getattr(self, 'name', 'the engine')}"

    def check_options(self) -> None:
        """Have a library that is installed look at the options that go to it as they are.

        Raises:
            ConfigError: it would refuse one.
        """

    def passed_on(self, ranks: Ranks, *, concurrent: bool) -> Mapping[str, Any]:
        """Options that go to a library as they are, by its names."""
        return {}

    def takes_turns(self, *, on_gpu: bool, concurrent: bool) -> bool:
        """True where it generates on the GPU of its training process while that does not learn.

        Args:
            on_gpu: its training process is on a GPU.
            concurrent: it generates while the policy learns.
        """
        return on_gpu and not concurrent and not self.own_gpus()

    def own_gpus(self) -> tuple[int, ...]:
        """Numbers of the GPUs of each machine on which nothing else works."""
        return ()

    def engines(self, trainers: int) -> int:
        """Engines among which a rollout is shared; one for each training process, if nothing else
        is said."""
        return trainers

    def gpus_each(self) -> int:
        """GPUs over which the model of one engine is divided."""
        return 1

    def gpus_needed(self, trainers: int) -> int:
        """GPUs of a machine that has so many training processes, and `own_gpus`."""
        own = self.own_gpus()
        return max([trainers + len(own), *(number + 1 for number in own)])

    def gpu_remedy(self, trainers: int, gpus: int) -> str:
        """The change that would give it its `own_gpus`; empty where they can be had.

        Args:
            trainers: training processes on a machine, which have its first GPUs.
            gpus: number of them on the machine.
        """
        return ""

    def memory(self, load: EngineLoad) -> EngineMemory:
        """The memory of the engine of one training process."""
        raise NotImplementedError

    def with_share(self, share: float) -> EngineConfig | None:
        """Itself with another share of a GPU's memory, `rollout.engine.gpu_memory`.

        Args:
            share: more than 0, less than 1.

        Returns:
            None where it takes as much as it needs.
        """
        return None

    def build(self, inputs: EngineInputs) -> RolloutEngine:
        """The engine of one training process, which waits for its first weights.

        Raises:
            ConfigError: its settings do not fit this machine.
            EngineError: it does not start.
        """
        raise NotImplementedError
