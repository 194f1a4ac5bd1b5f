"""The settings of vLLM as a rollout engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from rvpo.fields import Float, NonNegativeInt, PositiveInt, by_name
from rvpo.rollout.engine_config import EngineConfig, EngineInputs
from rvpo.rollout.memory import EngineLoad, EngineMemory
from rvpo.rollout.requirement import Requirement
from rvpo.rollout.vllm.adapter_room import MERGED, adapter_problem, check_model
from rvpo.rollout.vllm.memory import vllm_memory
from rvpo.rollout.vllm.options import VLLM_OPTIONS, passed_on
from rvpo.rollout.vllm.request import support_problem
from rvpo.rollout.vllm.requirement import VLLM
from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.transports import AnyTransport, usual_transport
from rvpo.runtime.extras import installed

if TYPE_CHECKING:
    from rvpo.rollout.engine import RolloutEngine
    from rvpo.rollout.lora_config import LoraConfig
    from rvpo.runtime.ranks import Ranks
    from rvpo.sampling import Sampling


class VllmConfig(EngineConfig):
    """vLLM, one engine for each training process.

    On a GPU that it shares with training it sleeps while that works; with a `rollout.staleness` it
    stays awake in a process of its own, and so it does on GPUs of its own."""

    name: Literal["vllm"] = "vllm"
    gpu_memory: Annotated[Float, Field(gt=0, lt=1)] = 0.4
    """Share of its GPU's memory that vLLM may take while it is awake."""
    devices: tuple[NonNegativeInt, ...] = ()
    """GPUs of each machine for engines alone, one for each training process there; training has the
    first ones. None: engines and training share."""
    cpu_kv_cache_gib: PositiveInt = 1
    """Memory for the KV cache on a CPU, in GiB."""
    max_context_tokens: PositiveInt | None = None
    """Tokens of the longest prompt plus completion; the model's own limit if left out."""
    transport: (
        Annotated[AnyTransport, Field(discriminator="name"), BeforeValidator(by_name)] | None
    ) = None
    """The way of new weights to the engine, by its name alone or with its settings; the usual one
    for the place of the engine if left out."""
    options: Annotated[dict[str, Any], AfterValidator(VLLM_OPTIONS.checked)] = Field(
        default_factory=dict
    )
    """Arguments of vLLM's own, by its names, such as {max_num_seqs: 128, kv_cache_dtype: fp8};
    null leaves one to vLLM. Not those that rvpo decides, or that would part the engine from the
    model that learns: these are refused with the reason."""

    concurrent: ClassVar[bool] = True
    in_flight: ClassVar[bool] = True
    ends_thoughts: ClassVar[bool] = True
    goes_on: ClassVar[bool] = True

    def requires(self) -> tuple[Requirement, ...]:
        """vLLM, of which there are builds for GPUs and for CPUs."""
        return (VLLM,)

    def problem(self, *, on_gpu: bool, concurrent: bool, alone: bool) -> str:
        """`devices` need GPUs; `transport` has to lead to the engine."""
        if self.devices and not on_gpu:
            return "rollout.engine.devices: this machine has no GPU; leave it out here"
        site = self.site(on_gpu=on_gpu, concurrent=concurrent, alone=alone)
        if self.transport is None or self.transport.reaches(site):
            return ""
        return (
            f"rollout.engine.transport: {self.transport.name} does not lead to an engine {site}; "
            f"write transport: {usual_transport(site).name}, or leave it out"
        )

    def sampling_problem(self, sampling: Sampling, *, in_training: bool) -> str:
        """See `EngineConfig.sampling_problem`."""
        return support_problem(sampling) if in_training else ""

    def adapter_problem(
        self, adapter: LoraConfig, *, width: int, on_gpu: bool, in_flight: bool
    ) -> str:
        """See `rvpo.rollout.vllm.adapter_room`; an adapter has a way of its own."""
        if self.transport is not None:
            return (
                f"rollout.engine.transport: {self.transport.name} is a way of whole weights, and "
                f"an adapter goes to vLLM as a folder in shared memory; leave it out, or {MERGED}"
            )
        return adapter_problem(adapter, width=width, on_gpu=on_gpu)

    def check_adapted(self, model_path: str, *, trust_remote_code: bool) -> None:
        """See `EngineConfig.check_adapted`; the classes of `model_impl` are vLLM's to know."""
        if self.options.get("model_impl") is None:
            check_model(model_path, trust_remote_code=trust_remote_code)

    def check_place(self, ranks: Ranks, *, concurrent: bool) -> None:
        """See `EngineConfig.check_place`; `devices` must be there, apart from the trainers'."""
        from rvpo.rollout.vllm.placement import place

        super().check_place(ranks, concurrent=concurrent)
        place(self, ranks, concurrent=concurrent)
        self.check_options()

    def check_options(self) -> None:
        """See `EngineConfig.check_options`; vLLM is imported only where it is given some."""
        from rvpo.rollout.vllm.arguments import check_arguments

        if installed("vllm"):
            check_arguments(self.options)

    def passed_on(self, ranks: Ranks, *, concurrent: bool) -> Mapping[str, Any]:
        """`options`, and rvpo's own defaults beside a trainer."""
        on_gpu, alone = ranks.device.type == "cuda", ranks.size == 1
        site = self.site(on_gpu=on_gpu, concurrent=concurrent, alone=alone)
        return passed_on(self.options, site)

    def own_gpus(self) -> tuple[int, ...]:
        """`devices`."""
        return self.devices

    def gpu_remedy(self, trainers: int, gpus: int) -> str:
        """Each training process needs a GPU for its engine, and no engine has a trainer's."""
        if not self.devices or self.has_devices(trainers, gpus):
            return ""
        return (
            f"at least {self.gpus_needed(trainers)} GPUs, and rollout.engine.devices that name "
            f"{trainers} of them, from number {trainers} on"
        )

    def has_devices(self, trainers: int, gpus: int) -> bool:
        """True where a machine has all `devices`, apart from those of its trainers."""
        there = all(trainers <= number < gpus for number in self.devices)
        different = len(set(self.devices)) == len(self.devices)
        return there and different and len(self.devices) >= trainers

    def site(self, *, on_gpu: bool, concurrent: bool, alone: bool) -> Site:
        """The site of the engine of a training process.

        On CPUs: in process where rollouts are made in turn, by one rank or by several whose
        `transport` leads there; else in a process of its own, for an engine that ends takes the
        trainer's process group along, and one that works meanwhile its interpreter. On GPUs: in
        process, asleep while the policy learns; in a process of its own where the next rollout is
        made meanwhile; on a GPU of its own where `devices` names one.

        Args:
            on_gpu: the training process is on a GPU.
            concurrent: the engine generates while the policy learns.
            alone: there is one training process.
        """
        if not on_gpu:
            inside = Site("none", in_process=True)
            asked = self.transport is not None and self.transport.reaches(inside)
            return inside if (alone or asked) and not concurrent else Site("none", in_process=False)
        if self.devices:
            return Site("own", in_process=False)
        return Site("shared", in_process=not concurrent)

    def memory(self, load: EngineLoad) -> EngineMemory:
        """See `rvpo.rollout.vllm.memory`."""
        return vllm_memory(self, load)

    def with_share(self, share: float) -> VllmConfig:
        """See `EngineConfig.with_share`."""
        return self.model_copy(update={"gpu_memory": share})

    def build(self, inputs: EngineInputs) -> RolloutEngine:
        """vLLM's engine of this rank."""
        from rvpo.rollout.vllm.engine import VllmEngine
        from rvpo.rollout.vllm.placement import place
        from rvpo.runtime.seed import derived_seed

        return VllmEngine(
            inputs.model_path,
            inputs.encoder,
            self,
            dtype=inputs.dtype,
            sampling=inputs.sampling,
            seed=derived_seed(inputs.seed, "engine", inputs.ranks.rank),
            placement=place(
                self, inputs.ranks, concurrent=inputs.concurrent, adapter=inputs.adapter
            ),
            trust_remote_code=inputs.trust_remote_code,
            in_flight=inputs.in_flight,
        )
