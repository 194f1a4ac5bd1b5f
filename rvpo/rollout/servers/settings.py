"""The settings of generation on vLLM servers."""

from __future__ import annotations

import os
import re
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from rvpo.errors import ConfigError
from rvpo.fields import Float, NonNegativeInt, PassedOn, PositiveInt, Section
from rvpo.rollout.engine_config import EngineConfig, EngineInputs
from rvpo.rollout.memory import EngineLoad, EngineMemory
from rvpo.rollout.requirement import Requirement
from rvpo.rollout.vllm.adapter_room import adapter_problem, check_model
from rvpo.rollout.vllm.options import VLLM_OPTIONS
from rvpo.rollout.vllm.requirement import VLLM
from rvpo.runtime.address import is_closed, public_addresses
from rvpo.runtime.extras import installed

if TYPE_CHECKING:
    from rvpo.rollout.engine import RolloutEngine
    from rvpo.rollout.lora_config import LoraConfig
    from rvpo.runtime.ranks import Ranks

AT_ONCE: Final = 256
"""Samples that a server generates at once, where nothing else is said."""
_GIB: Final = 2**30
_AIOHTTP: Final = Requirement(
    title="aiohttp",
    module="aiohttp",
    distributions=("aiohttp",),
    extra_cpu="judge",
    extra_gpu="judge",
)
_ELSEWHERE: Final = {
    "tensor_parallel_size": "write rollout.engine.tensor_parallel",
    "device_ids": "write rollout.engine.start.devices",
}
SERVER_OPTIONS: Final = PassedOn(
    "vLLM",
    VLLM_OPTIONS.allowed,
    MappingProxyType({**VLLM_OPTIONS.refused, **_ELSEWHERE}),
)
"""The options of `rollout.engine.options` for servers."""


def server_url(value: str) -> str:
    """The address of a server, in one spelling.

    Raises:
        ValueError: it is none, or holds more than a host, a port and a path.
    """
    try:
        parts = urlsplit(value.strip())
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:  # of the brackets of IPv6, of the port, or of a name no host can have
        known = False
    if not known or re.search(r"\s", value.strip()):
        raise ValueError("must be an address such as http://node3:8000")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(
            "must be a bare address such as http://node3:8000, without a password or a query, "
            "which would be stored with the run; name the environment variable of a key in "
            "key_variable"
        )
    if parts.hostname in ("0.0.0.0", "::"):
        raise ValueError(
            f"{parts.hostname} is no address that a server can be asked at; give the one of its "
            "machine, such as http://node3:8000"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _variable(value: str) -> str:
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):  # in other letters a key would pass for one
        raise ValueError(
            "must be the name of an environment variable in capitals, such as RVPO_SERVER_KEY, and "
            "not the key"
        )
    return value


class StartConfig(Section):
    """Servers of the run's own on this machine, started and stopped with it."""

    servers: PositiveInt = 1
    """Number of them."""
    devices: tuple[NonNegativeInt, ...] = ()
    """This machine's GPUs for the servers alone, `tensor_parallel` for each in turn, and not the
    first ones, which training has. None on a machine without GPUs."""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len(set(self.devices)) < len(self.devices):
            raise ValueError(f"devices: {list(self.devices)} must be different GPUs")
        return self


class ServersConfig(EngineConfig):
    """vLLM servers, which are asked over HTTP: any number of them, of any number of GPUs each, on
    any machines. They are apart from training, and stay awake."""

    name: Literal["servers"] = "servers"
    urls: tuple[Annotated[str, AfterValidator(server_url)], ...] = ()
    """Addresses of servers that run already, such as http://node3:8000; `rvpo serve` starts
    them."""
    start: StartConfig | None = None
    """Servers of the run's own on this machine, in place of `urls`."""
    tensor_parallel: PositiveInt = 1
    """GPUs over which the layers of a server's model are divided."""
    least: PositiveInt = 1
    """Servers that must be there: with fewer the run stops."""
    key_variable: Annotated[str, AfterValidator(_variable)] | None = None
    """The environment variable with the key that the servers ask for, where there is one. It guards
    generation, and not the routes of weights: these need a closed network."""
    public_addresses: bool = False
    """Ask servers at addresses that are of no private network. Whoever reaches one can replace its
    weights and end it."""
    concurrency: PositiveInt | None = None
    """Samples that a server is asked for at once, over all ranks; the others wait for the server
    that is free first. As many as it generates at once if left out: options.max_num_seqs, or
    256."""
    weights: Literal["nccl", "gloo"] | None = None
    """The way of new weights to the servers: from GPU to GPU, or by the machine's own memory. NCCL
    where training is on GPUs, if left out."""
    address: str | None = None
    """The address under which servers reach rank 0 for the weights; that of the network by which it
    reaches the first one, if left out."""
    max_context_tokens: PositiveInt | None = None
    """Tokens of the longest prompt plus completion; the model's own limit if left out."""
    gpu_memory: Annotated[Float, Field(gt=0, lt=1)] = 0.9
    """Share of the memory of each of its GPUs that a server takes."""
    cpu_kv_cache_gib: PositiveInt = 1
    """Memory for the KV cache of a server on a CPU, in GiB."""
    options: Annotated[dict[str, Any], AfterValidator(SERVER_OPTIONS.checked)] = Field(
        default_factory=dict
    )
    """Arguments of vLLM's own, by its names, for servers that rvpo starts; see `rollout.engine`
    vllm."""

    concurrent: ClassVar[bool] = True
    in_flight: ClassVar[bool] = True

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if problems := list(self._disagreements()):
            raise ValueError("\n".join(problems))
        return self

    def _disagreements(self) -> Any:
        if self.urls and self.start is not None:
            yield "urls and start are both given; give the servers that run, or start some"
        twice = [url for url, times in Counter(self.urls).items() if times > 1]
        if twice:
            yield f"urls: {twice[0]} is named twice; name each server once"
        if self.count and self.least > self.count:
            yield f"least: {self.least} is more than the {self.count} servers; make it smaller"
        devices = () if self.start is None else self.start.devices
        if devices and len(devices) != self.count * self.tensor_parallel:
            yield (
                f"start.devices: {len(devices)} GPUs cannot be shared out as {self.count} servers "
                f"of {self.tensor_parallel}; name {self.count * self.tensor_parallel}"
            )
        if not self.public_addresses:
            for url in self.urls:
                if not is_closed(urlsplit(url).hostname or ""):
                    yield _is_public(url)

    @property
    def count(self) -> int:
        """Number of servers; 0 where none is named."""
        return len(self.urls) if self.start is None else self.start.servers

    @property
    def at_once(self) -> int:
        """Samples that a server is asked for at once, over all ranks."""
        return self.concurrency or self.options.get("max_num_seqs") or AT_ONCE

    def requires(self) -> tuple[Requirement, ...]:
        """aiohttp, and vLLM where servers are started here."""
        return (_AIOHTTP,) if self.start is None else (_AIOHTTP, VLLM)

    def problem(self, *, on_gpu: bool, concurrent: bool, alone: bool) -> str:
        """There must be servers; those of the run's own need GPUs where training has some."""
        if not self.count:
            return (
                "rollout.engine: name servers has neither urls nor start; give urls: "
                "[http://HOST:8000], as `rvpo serve` prints them, or start: {servers: 1}"
            )
        if self.start is not None and bool(self.start.devices) != on_gpu:
            if on_gpu:
                return (
                    "rollout.engine.start.devices: name the GPUs of the servers, which are not "
                    f"those of training; {self.count * self.tensor_parallel} are needed"
                )
            return "rollout.engine.start.devices: this machine has no GPU; leave it out here"
        if self.weights == "nccl" and not on_gpu:
            return "rollout.engine.weights: nccl needs GPUs; write gloo, or leave it out"
        return ""

    def adapter_problem(self, adapter: LoraConfig, *, width: int, on_gpu: bool) -> str:
        """See `rvpo.rollout.vllm.adapter_room`; servers elsewhere are on GPUs where training is."""
        return adapter_problem(adapter, width=width, on_gpu=on_gpu)

    def check_adapted(self, model_path: str, *, trust_remote_code: bool) -> None:
        """See `EngineConfig.check_adapted`; known where vLLM is installed here, too."""
        if installed("vllm") and self.options.get("model_impl") is None:
            check_model(model_path, trust_remote_code=trust_remote_code)

    def check_place(self, ranks: Ranks, *, concurrent: bool) -> None:
        """See `EngineConfig.check_place`; the key must be there, the addresses of closed
        networks, and `start.devices` apart from the trainers'."""
        super().check_place(ranks, concurrent=concurrent)
        self.key()
        for url in () if self.public_addresses else self.urls:
            if public_addresses(urlsplit(url).hostname or ""):
                raise ConfigError(f"rollout.engine.{_is_public(url)}")
        if self.own_gpus():
            self._check_gpus()

    def _check_gpus(self) -> None:
        import torch

        trainers, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
        if remedy := self.gpu_remedy(trainers, gpus):
            raise ConfigError(
                f"rollout.engine.start.devices: {list(self.own_gpus())} must be GPUs of this "
                f"machine's {gpus}, and not the first {trainers}, on which it trains; give {remedy}"
            )

    def key(self) -> str | None:
        """The key that the servers ask for, from the environment.

        Raises:
            ConfigError: the variable holds none.
        """
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if re.fullmatch(r"[\x21-\x7e]+", key) is None:  # a header holds nothing else
            raise ConfigError(
                f"rollout.engine.key_variable: {self.key_variable} holds no key in the "
                f"environment; write `export {self.key_variable}=...` before the run, or leave "
                "key_variable out for servers that ask for none"
            )
        return key

    def check_options(self) -> None:
        """See `EngineConfig.check_options`; vLLM is imported only where it is given some."""
        from rvpo.rollout.vllm.arguments import check_arguments

        if installed("vllm"):
            check_arguments(self.options)

    def takes_turns(self, *, on_gpu: bool, concurrent: bool) -> bool:
        """Never: servers have other GPUs than training."""
        return False

    def own_gpus(self) -> tuple[int, ...]:
        """`start.devices`."""
        return () if self.start is None else self.start.devices

    def gpu_remedy(self, trainers: int, gpus: int) -> str:
        """No server has a trainer's GPU."""
        own = self.own_gpus()
        if all(trainers <= number < gpus for number in own):
            return ""
        return (
            f"at least {self.gpus_needed(trainers)} GPUs, and rollout.engine.start.devices that "
            f"name {len(own)} of them, from number {trainers} on"
        )

    def memory(self, load: EngineLoad) -> EngineMemory:
        """None of a training process's device, but on a CPU, which servers started here share."""
        if load.device is not None or self.start is None:
            return EngineMemory(awake=0.0, resting=0.0, about="vLLM servers of their own")
        taken = self.count * (load.weights + self.cpu_kv_cache_gib * _GIB)
        return EngineMemory(awake=taken, resting=taken, about=f"{self.count} vLLM servers")

    def with_share(self, share: float) -> ServersConfig:
        """See `EngineConfig.with_share`."""
        return self.model_copy(update={"gpu_memory": share})

    def build(self, inputs: EngineInputs) -> RolloutEngine:
        """This rank's side of the servers."""
        from rvpo.rollout.servers.opening import open_servers
        from rvpo.rollout.servers.ways import weight_sync

        return open_servers(self, inputs, weight_sync)


def _is_public(url: str) -> str:
    return (
        f"urls: {url} is of no private network, and whoever reaches a server can replace its "
        "weights; give an address of a closed network, or write public_addresses: true"
    )
