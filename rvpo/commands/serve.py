"""`rvpo serve`: the servers that one machine has for a run, until somebody stops them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from rvpo.config.judge import is_this_machine
from rvpo.config.run import RunConfig
from rvpo.data.encoder import encoder_of
from rvpo.errors import ConfigError
from rvpo.model_files import resolve_model
from rvpo.rollout.servers.command import Served, model_name, server_start
from rvpo.rollout.servers.own import OwnServers
from rvpo.rollout.servers.place import ServerPlace, ServerPlaces
from rvpo.rollout.servers.settings import ServersConfig
from rvpo.rollout.vllm.requirement import VLLM
from rvpo.runtime.address import CLOSED, addresses_of, is_closed
from rvpo.runtime.extras import Need, require
from rvpo.runtime.interface import address_to
from rvpo.runtime.network import is_any
from rvpo.runtime.vllm_server import PROGRAM

WHO: Final = "rvpo serve"
PUBLIC: Final = "rollout.engine.public_addresses=true"
"""The setting that lets servers listen where others than a closed network reach them."""
_ELSEWHERE: Final = "192.0.2.1"
"""No machine has this address (RFC 5737): the way to it is the way out of this one."""
_LONG_S: Final = 3600.0


def serve(
    config: RunConfig,
    *,
    servers: int | None,
    host: str,
    port: int,
    logs: Path | None,
    say: Callable[[str], None],
    program: Sequence[str] = PROGRAM,
    gpus: int | None = None,
) -> None:
    """Start this machine's servers of a run, and keep them until a signal stops this process.

    Args:
        servers: number of them; as many as the GPUs take if left out, or one on CPUs.
        host: address, or name, of this machine that they listen on.
        port: the first one's; the others have the next ones.
        logs: folder for all that they print; beside the run's if left out.
        say: prints a line.
        program: the command that serves.
        gpus: number of them on this machine, if not those that torch sees.

    Raises:
        ConfigError: the run has another engine, or the place is none where servers can be.
        EngineError: a server does not come up at first.
        KeyboardInterrupt: somebody stopped this process; the servers are gone.
    """
    engine = _engine(config)
    require(WHO, Need("cpu"))
    engine.check_options()
    address = listening_address(host, engine)
    key = engine.key()
    count = _gpus() if gpus is None else gpus
    VLLM.check_build(on_gpu=count > 0, asked=WHO, instead="start it on another machine")
    number = number_of_servers(servers, engine, count)
    used = range(number * engine.tensor_parallel) if count else ()
    served = _served(config)
    where = f"{WHO} --host"
    with closing(ServerPlaces(address, number, used, first_port=port, where=where)) as places:
        folder = _log_folder(logs or Path(f"{config.output}-servers"))
        starts = []
        for place in places.all:
            log = folder / f"{socket.gethostname()}-{place.port}.log"
            said = f"{WHO}, {place.url}"
            starts.append(
                server_start(engine, served, place, where=said, key=key, log=log, program=program)
            )
            say(f"{place.url}  log {log}")
        say(f"starting {model_name(served)}, which takes a minute and more; Ctrl-C ends all")
        with closing(OwnServers(starts, restarts=None, say=say)) as own:
            own.ready(said=lambda which: say(f"{places.all[which].url}  answers"))
            for line in _announcement(places.all, engine):
                say(line)
            while True:
                time.sleep(_LONG_S)


def _served(config: RunConfig) -> Served:
    model, budget = config.model, None
    path = resolve_model(model.path)
    if config.rollout.max_thought_tokens is not None:
        budget = encoder_of(model, config.rollout, path).thought_budget
    adapts = model.lora is not None and model.lora.sync == "adapter"
    return Served(
        path=path,
        dtype=str(model.dtype).removeprefix("torch."),
        trust_remote_code=model.trust_remote_code,
        seed=config.seed,
        adapter=model.lora if adapts else None,
        thought_budget=budget,
    )


def _engine(config: RunConfig) -> ServersConfig:
    engine = config.rollout.engine
    if isinstance(engine, ServersConfig):
        if engine.start is not None:
            raise ConfigError(
                "rollout.engine.start: this run starts servers itself; write urls in its place, "
                f"and give {WHO} rollout.engine.start=null until they are known"
            )
        return engine
    raise ConfigError(
        f"rollout.engine.name: {engine.name} generates in the run itself, and {WHO} starts the "
        "servers of a run with rollout.engine: {name: servers}; write that, or give "
        "rollout.engine.name=servers to both commands"
    )


def listening_address(host: str, engine: ServersConfig) -> str:
    """The address that servers listen on, of a host's.

    Raises:
        ConfigError: nobody knows it, no other machine reaches it, or too many do.
    """
    found = addresses_of(host)
    if not found:
        raise ConfigError(f"--host: nobody knows {host!r}; give an address of this machine")
    address = found[0]
    if ip_address(address).is_loopback and not is_this_machine(host):
        raise ConfigError(
            f"--host: {host} is {address} on this machine, which no other one reaches; give an "
            f"address that they reach{_such_as(address_to(_ELSEWHERE))}"
        )
    if not is_closed(address) and not engine.public_addresses:
        named = address if address == host else f"{host} is {address}, which"
        raise ConfigError(
            f"--host: {named} is of no closed network, and whoever reaches a server can give it "
            f"other weights or end it, without any password; give {CLOSED}, or write {PUBLIC}"
        )
    return address


def _such_as(address: str | None) -> str:
    return f", such as {address}" if address is not None and is_closed(address) else ""


def number_of_servers(servers: int | None, engine: ServersConfig, gpus: int) -> int:
    """The number of servers on this machine.

    Args:
        servers: a wish; without one, the GPUs decide.
        gpus: number of them on this machine.

    Raises:
        ConfigError: its GPUs are too few, or none where weights come by NCCL.
    """
    if not gpus:
        if engine.weights == "nccl":
            raise ConfigError(
                "rollout.engine.weights: nccl needs GPUs, and this machine has none; write gloo, "
                "or leave it out"
            )
        return servers or 1
    room = gpus // engine.tensor_parallel
    if (servers or 1) <= room:
        return servers or room
    asked = "a server" if servers is None else f"{servers} servers"
    raise ConfigError(
        f"rollout.engine.tensor_parallel: {asked} of {engine.tensor_parallel} GPUs need more than "
        f"this machine's {gpus}; make it smaller" + (f", or give --servers {room}" if room else "")
    )


def _gpus() -> int:
    from rvpo.lazy import torch

    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0


def _log_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ConfigError(
            f"--logs: {folder} cannot be written ({error.strerror}); give another folder"
        ) from error
    return folder


def _announcement(places: Sequence[ServerPlace], engine: ServersConfig) -> list[str]:
    urls = [
        ServerPlace(socket.gethostname(), each.port).url if is_any(each.host) else each.url
        for each in places
    ]
    lines = [f"rollout.engine.urls=[{','.join(urls)}]"]
    if not all(map(is_this_machine, [place.host for place in places])):
        ports = f"{places[0].port} to {places[-1].port}" if len(places) > 1 else places[0].port
        lines.append(
            f"whoever reaches port {ports} can give these servers other weights: keep it closed to "
            "all but the machines of the run"
        )
    missing = sorted(set(urls) - set(engine.urls))
    if engine.urls and missing:
        lines.append(f"rollout.engine.urls of the file does not name {', '.join(missing)}")
    return lines
