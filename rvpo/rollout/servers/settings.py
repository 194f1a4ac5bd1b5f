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
from rvpo.rollout.servers.memory import servers_memory
from rvpo.rollout.vllm.adapter_room import MERGED, adapter_problem, check_model
from rvpo.rollout.vllm.options import VLLM_OPTIONS
from rvpo.rollout.vllm.request import support_problem
from rvpo.rollout.vllm.requirement import VLLM
from rvpo.runtime.address import CLOSED, addresses_of, is_closed, public_addresses
from rvpo.runtime.extras import installed
from rvpo.runtime.port import hold_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from rvpo.rollout.engine import RolloutEngine
    from rvpo.rollout.lora_config import LoraConfig
    from rvpo.runtime.ranks import Ranks
    from rvpo.sampling import Sampling

AT_ONCE: Final = 256
"""Samples that a server generates at once, where nothing else is said."""
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
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{_port(value.strip())}{parts.path.rstrip('/')}"


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or {"http": 80, "https": 443}[parts.scheme]


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
    ends_thoughts: ClassVar[bool] = True
    goes_on: ClassVar[bool] = True

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
        for url in () if self.public_addresses else self.urls:
            if not is_closed(host := urlsplit(url).hostname or ""):
                yield _is_public(url, host)
        if self.address and not self.public_addresses and not is_closed(self.address):
            yield _is_open(self.address, self.address)

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

    def sampling_problem(self, sampling: Sampling, *, in_training: bool) -> str:
        """See `EngineConfig.sampling_problem`."""
        return support_problem(sampling) if in_training else ""

    def adapter_problem(
        self, adapter: LoraConfig, *, width: int, on_gpu: bool, in_flight: bool
    ) -> str:
        """See `rvpo.rollout.vllm.adapter_room`; servers elsewhere are on GPUs where training is."""
        if in_flight:
            return (
                "rollout.in_flight: a server ends a sample with the adapter that it began with; "
                f"write rollout.in_flight=false, or {MERGED}"
            )
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
        if self.weights != "gloo" and ranks.device.type == "cuda":
            VLLM.check()  # which has the sender's side of NCCL too
        for url in () if self.public_addresses else self.urls:
            if public := public_addresses(urlsplit(url).hostname or ""):
                raise ConfigError(f"rollout.engine.{_is_public(url, public[0])}")
        self._check_different()
        own = "" if self.public_addresses else self.address or ""
        if own and (public := public_addresses(own)):
            raise ConfigError(f"rollout.engine.{_is_open(own, public[0])}")
        if self.address is not None and ranks.is_main:
            _check_own(self.address)
        if self.own_gpus():
            self._check_gpus()

    def _check_different(self) -> None:
        """Refuse two names of one server, which would be given all weights twice at once."""
        known: dict[tuple[str, int, str], str] = {}
        for url in self.urls if len(self.urls) > 1 else ():
            parts = urlsplit(url)
            for address in addresses_of(parts.hostname or ""):
                other = known.setdefault((address, _port(url), parts.path), url)
                if other != url:
                    raise ConfigError(
                        f"rollout.engine.urls: {other} and {url} are both at {address}, and so one "
                        "server; name it once"
                    )

    def check_running(
        self,
        model_path: str,
        adapter: LoraConfig | None,
        max_context_tokens: int,
        say: Callable[[str], None],
    ) -> None:
        """See `EngineConfig.check_running`; servers of `urls` that answer are looked at."""
        from rvpo.rollout.servers.command import Served
        from rvpo.rollout.servers.first_look import first_look

        if self.urls:
            served = Served(path=model_path, adapter=adapter)
            first_look(self.urls, self.key(), served, max_context_tokens, say)

    def opening(self) -> str:
        """Servers of `urls` are waited for."""
        return "waiting for servers" if self.urls else super().opening()

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

    def engines(self, trainers: int) -> int:
        """The servers, whatever the number of training processes."""
        return self.count

    def gpus_each(self) -> int:
        """`tensor_parallel`."""
        return self.tensor_parallel

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
        """See `rvpo.rollout.servers.memory`."""
        return servers_memory(self, load)

    def with_share(self, share: float) -> ServersConfig:
        """See `EngineConfig.with_share`."""
        return self.model_copy(update={"gpu_memory": share})

    def build(self, inputs: EngineInputs) -> RolloutEngine:
        """This rank's side of the servers."""
        from rvpo.rollout.servers.opening import open_servers
        from rvpo.rollout.servers.ways import weight_sync

        return open_servers(self, inputs, weight_sync)


def _is_public(url: str, address: str) -> str:
    return (
        f"urls: {url} is at {address}, which is of no closed network, and whoever reaches a server "
        f"can replace its weights; give {CLOSED}, or write public_addresses: true"
    )


def _check_own(address: str) -> None:
    """
    Raises:
        ConfigError: nobody can listen there on this machine.
    """
    try:
        hold_port(address).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"rollout.engine.address: {address} is no address of rank 0's machine ({reason}); give "
            "one of its own that the servers reach, or leave it out"
        ) from error


def _is_open(host: str, address: str) -> str:
    named = host if host == address else f"{host} is {address}, which"
    return (
        f"address: {named} is of no closed network, and whoever reaches it "
        f"while weights are sent can take part; give {CLOSED}, or write public_addresses: true"
    )
