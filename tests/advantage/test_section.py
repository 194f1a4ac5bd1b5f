"""An estimator is its own section of the configuration, and needs nothing but torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError

import rvpo
from rvpo.advantage import GRPO, RVPO, Estimator, Ramp

section: TypeAdapter[Any] = TypeAdapter(Annotated[Estimator, Field(discriminator="name")])


def modules_added_by(statement: str, after: str = "pass") -> set[str]:
    """Top-level third-party packages."""
    code = (
        f"import sys; {after}; before = {{m.split('.')[0] for m in sys.modules}}; {statement}; "
        "print(*{m.split('.')[0] for m in sys.modules} - before - sys.stdlib_module_names)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_library_needs_nothing_but_torch() -> None:
    statement = "from rvpo import RVPO, Rewards; RVPO()"
    assert modules_added_by(statement, after="import torch") == {"rvpo"}


def test_importing_rvpo_alone_imports_nothing() -> None:
    assert modules_added_by("import rvpo") == {"rvpo"}


@pytest.mark.parametrize("name", rvpo.__all__)
def test_public_names_resolve(name: str) -> None:
    assert getattr(rvpo, name).__name__ == name
    assert name in dir(rvpo)


def test_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'rvpo' has no attribute 'RPVO'"):
        rvpo.RPVO  # noqa: B018


def test_section_becomes_the_estimator() -> None:
    ramp = {"start": 0.5, "end": 2}
    assert section.validate_python({"name": "rvpo", "k": ramp}) == RVPO(k=Ramp(start=0.5, end=2.0))
    assert section.validate_python({"name": "rvpo", "k": "1e-6"}) == RVPO(k=1e-6)
    assert section.validate_python({"name": "grpo"}) == GRPO()


@pytest.mark.parametrize(
    ("settings", "where", "message"),
    [
        ({"name": "rvpo", "k": -1}, ("rvpo",), "k must be at least 0, got -1"),
        ({"name": "gdpo", "k": 1}, ("gdpo", "k"), "Unexpected keyword argument"),
        ({"name": "hard_min", "epz": 1}, ("hard_min", "epz"), "Unexpected keyword argument"),
        ({"name": "grpo", "eps": 0}, ("grpo",), "eps must be a finite number above 0, got 0"),
        ({"name": "rvpo", "k": {"start": 1, "stop": 2}}, ("rvpo", "k", "Ramp", "stop"), "Unexp"),
    ],
)
def test_bad_setting_is_one_error_in_its_place(
    settings: dict[str, object], where: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        section.validate_python(settings)
    assert any(e["loc"] == where and message in e["msg"] for e in caught.value.errors())
