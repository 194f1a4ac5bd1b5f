"""Whole runs from the command line, on the real update and the transformers engine."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rvpo.runtime.environment import rank_environment
from rvpo.runtime.port import free_port
from tests.commands.forked import ForkedRun, forker
from tests.configs import tiny_settings
from tests.fakes import timeless
from tests.processes import ranks_of

pytestmark = pytest.mark.slow

RANK_VARIABLES = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
"""Left in this process's environment by tests that form a group of one in it."""


def write_config(initial: Path, folder: Path, **sections: Any) -> Path:
    path = folder / "config.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(tiny_settings(initial, folder / "run", **sections)))
    return path


def start(config: Path, *arguments: str, terminal: str | None = None) -> ForkedRun:
    """A run under way, in a session of its own, on a terminal where one is named."""
    words = ["train", "--config", str(config), *arguments]
    kept = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    return forker().start(words, Path.cwd(), kept, terminal=terminal)


def start_anew(config: Path, *arguments: str) -> subprocess.Popen[str]:
    """The same by a Python of its own, for what its very start does."""
    return subprocess.Popen(
        [sys.executable, "-m", "rvpo", "train", "--config", str(config), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if name not in RANK_VARIABLES},
    )


def train(config: Path, *arguments: str, code: int = 0) -> str:
    process = start(config, *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


def start_ranks(config: Path, *arguments: str, count: int = 2) -> list[ForkedRun]:
    """The ranks of one run on this machine, as torchrun starts them: without a launcher of ours."""
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    words = ["train", "--config", str(config), *arguments]
    places = [rank_environment(rank, count, port) for rank in range(count)]
    return [forker().start(words, Path.cwd(), kept | place) for place in places]


def train_ranks(config: Path, *arguments: str, count: int = 2) -> None:
    ranks = start_ranks(config, *arguments, count=count)
    said = [rank.communicate(timeout=300)[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * count, said


def metrics(run: Path) -> list[dict[str, float]]:
    """What `metrics.jsonl` holds, without what depends on seconds."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [timeless(line) for line in lines]


def samples(run: Path) -> list[Any]:
    files = sorted((run / "samples").iterdir())
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def count_steps(run: Path) -> int:
    path = run / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_run_learns_and_leaves_a_complete_folder(tiny_model: Path, tmp_path: Path) -> None:
    held_out = {"function": "tests.toy:letters", "arguments": {"count": 6}}
    config = write_config(
        tiny_model,
        tmp_path,
        steps=30,
        data={"held_out": held_out},
        rollout={"samples_per_prompt": 8},
        evaluate={"samples_per_prompt": 8},
        update={"lr": 1e-2},
        advantage={"name": "rvpo", "k": {"start": 0.5, "end": 2.0}},
    )
    output = train(config)
    run = tmp_path / "run"
    rows = metrics(run)
    assert [row["step"] for row in rows] == list(range(1, 31))
    for name in ("vowels", "late"):
        before, after = (
            sum(row[f"rewards/{name}/mean"] for row in part) / 5 for part in (rows[:5], rows[-5:])
        )
        assert after > before + 0.1, name
    assert {row["policy/staleness_max"] for row in rows} == {0}
    assert [rows[0]["rvpo/k"], rows[-1]["rvpo/k"]] == [0.5, 2.0]
    assert len(samples(run)) == 30 * 16
    assert set(samples(run)[0]["scores"]) == {"vowels", "late"}
    result = json.loads((run / "held_out.json").read_text())["rewards"]
    assert result["late"]["p_value"] < 0.05
    assert "sign-flip permutation test" in " ".join(output.split())
    assert (run / "curves.png").stat().st_size > 0
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"step-000028", "step-000030"}
    assert {"config.yaml", "provenance.json"} <= {path.name for path in run.iterdir()}
    check_saved_model(run / "model", tiny_model)


def check_saved_model(folder: Path, initial: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    before: Any = AutoModelForCausalLM.from_pretrained(initial, dtype=torch.float32)
    chat = [{"role": "user", "content": "ab"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    assert not torch.allclose(model(ids).logits, before(ids).logits, atol=1e-2)
    assert model.generate(ids, max_new_tokens=4).shape[1] > ids.shape[1]


@pytest.fixture(scope="module")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a run of six steps that has ended; its folder is only read."""
    config = write_config(tiny_model, tmp_path_factory.mktemp("finished"), steps=6)
    train(config)
    return config


def test_half_a_run_and_its_resumption_elsewhere_equal_one_run_to_the_bit(
    finished: Path, tiny_model: Path, tmp_path: Path
) -> None:
    half = write_config(tiny_model, tmp_path / "half", steps=3)
    train(half)
    moved = (tmp_path / "half" / "run").rename(tmp_path / "moved")
    output = train(moved / "config.yaml", "--resume", "steps=6")
    assert "changed since" not in output
    assert [
        start["step"] for start in json.loads((moved / "provenance.json").read_text())["starts"]
    ] == [0, 3]
    expected = metrics(finished.parent / "run")
    assert len(expected) == 6
    assert metrics(moved) == expected
    assert samples(moved) == samples(finished.parent / "run")


def test_ctrl_c_finishes_the_step_saves_it_and_says_how_to_go_on(
    tiny_model: Path, tmp_path: Path
) -> None:
    config = write_config(tiny_model, tmp_path, steps=500, checkpoint={"every": 1000})
    run = tmp_path / "run"
    process = start(config)
    while count_steps(run) < 2 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"stopped; go on with: rvpo train --config {run}/config.yaml --resume" in output
    assert "Traceback" not in output
    done = count_steps(run)
    assert (run / "checkpoints" / f"step-{done:06d}").is_dir()
    train(run / "config.yaml", "--resume", f"steps={done + 1}")
    assert count_steps(run) == done + 1


def catches(number: signal.Signals, pid: int) -> bool:
    """True where a process has a handler for a signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    caught = re.search(r"^SigCgt:\s*(\w+)$", status, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


STARTS = [
    (1, signal.SIGTERM, 0.0),
    (1, signal.SIGHUP, 1.0),
    (1, signal.SIGUSR1, 4.0),
    (2, signal.SIGUSR2, 0.0),
    (2, signal.SIGXCPU, 4.0),
]


@pytest.mark.parametrize(("processes", "number", "seconds"), STARTS)
def test_a_signal_before_the_first_step_ends_the_run_with_a_sentence_and_without_a_trace(
    processes: int, number: signal.Signals, seconds: float, tiny_model: Path, tmp_path: Path
) -> None:
    slow = {"function": "tests.toy:slow_letters", "arguments": {"count": 12, "seconds": 30}}
    sections = {"data": {"train": slow}, "distributed": {"processes": processes}}
    process = start_anew(write_config(tiny_model, tmp_path, **sections))

    def ready() -> bool:
        ranks = [rank.pid for rank in ranks_of(process.pid).values()]
        pids = [process.pid] if processes == 1 else ranks
        return len(pids) == processes and all(catches(number, pid) for pid in pids)

    while not ready() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(seconds)  # at another moment of the start
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "stopped before the first step; nothing was written" in output
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


def test_a_model_that_cannot_be_saved_keeps_table_and_curves(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Its place is taken while it trains, which no rehearsal foresees."""
    config = write_config(
        tiny_model,
        tmp_path,
        steps=40,
        data={"held_out": {"function": "tests.toy:letters", "arguments": {"count": 6}}},
    )
    run = tmp_path / "run"
    process = start(config)
    while count_steps(run) < 1 and process.poll() is None:
        time.sleep(0.02)
    (run / "model.partial").write_text("in the way")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    assert "model cannot be written" in output
    assert "Traceback" not in output
    assert (run / "held_out.json").is_file()
    assert (run / "curves.png").is_file()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_terminal_that_closes_leaves_a_saved_run(
    processes: int, tiny_model: Path, tmp_path: Path
) -> None:
    sections = {"checkpoint": {"every": 1000}, "distributed": {"processes": processes}}
    config = write_config(tiny_model, tmp_path, steps=500, **sections)
    run = tmp_path / "run"
    terminal, inside = pty.openpty()
    process = start(config, terminal=os.ttyname(inside))
    while count_steps(run) < 2 and process.poll() is None:
        if select.select([terminal], [], [], 0.02)[0]:
            os.read(terminal, 2**16)
    os.close(terminal)
    os.close(inside)
    assert process.wait(timeout=60) == 130
    done = count_steps(run)
    assert (run / "checkpoints" / f"step-{done:06d}").is_dir()


def test_a_run_compiles_nothing_and_goes_on_where_nobody_reads_its_output(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = tmp_path / "extensions"
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(built))
    config = write_config(tiny_model, tmp_path, steps=4)
    process = subprocess.Popen(
        [sys.executable, "-m", "rvpo", "train", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in RANK_VARIABLES},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        process.stdout.readline()
        process.stdout.close()
        assert "nobody reads the output any more; the work goes on" in process.stderr.read()
    assert process.returncode == 0
    assert (tmp_path / "run" / "model").is_dir()
    assert not built.exists()  # a build takes a minute, and one that is killed locks out the next


def test_two_launched_ranks_give_the_rewards_of_their_shares(
    tiny_model: Path, tmp_path: Path
) -> None:
    config = write_config(tiny_model, tmp_path, distributed={"processes": 2}, update={"beta": 0.1})
    train(config)
    run = tmp_path / "run"
    rows = metrics(run)
    assert len(rows) == 4
    assert {path.name for path in (run / "samples").iterdir()} == {
        f"step-{step:06d}.rank-{rank}.jsonl" for step in range(1, 5) for rank in range(2)
    }
    first = [row for row in samples(run) if row["step"] == 1]
    assert len(first) == 8
    mean = sum(row["scores"]["late"] for row in first) / 8
    assert rows[0]["rewards/late/mean"] == pytest.approx(mean, abs=1e-6)
    assert sum(row["advantage"] for row in first) == pytest.approx(0, abs=1e-4)
    assert "kl" in rows[0]
    further = ("steps=6", "update.logits_chunk=64", "distributed.processes=1")
    output = train(config, "--resume", *further)
    assert "step-000004 was written by 2 ranks and is shared out anew among 1" in output
    assert [row["step"] for row in metrics(run)] == [1, 2, 3, 4, 5, 6]
    seen = Counter(row["prompt_id"] for row in samples(run))
    assert len(seen) == 12
    assert set(seen.values()) == {4}  # every prompt once, with its samples


def refusals(model: Path) -> Sequence[Any]:
    broken = "tests.broken_rewards"
    return [
        ({"rewards": {"x": {"function": f"{broken}:too_few"}}}, r"'x' returned \d+ scores for \d+"),
        ({"rewards": {"x": {"function": f"{broken}:endless"}}}, "number beyond every float"),
        ({"rewards": {"x": {"function": f"{broken}:raises"}}}, "ZeroDivisionError"),
        ({"rewards": {"x": {"function": "tests.nowhere:f"}}}, "no module 'tests.nowhere'"),
        ({"rollout": {"max_completion_tokens": 510}}, "prompts are too long"),
        ({"data": {"train": {"function": "tests.broken_rewards:no_rows"}}}, "data.train"),
        ({"model": {"path": "/nowhere/model"}}, "model.path: there is no folder"),
    ]


@pytest.mark.parametrize("case", range(len(refusals(Path()))))
def test_bad_input_is_one_sentence_and_exit_code_two(
    case: int, tiny_model: Path, tmp_path: Path
) -> None:
    sections, sentence = refusals(tiny_model)[case]
    output = train(write_config(tiny_model, tmp_path, **sections), code=2)
    assert "Traceback" not in output
    assert re.search(sentence, output), output


def broken_models(tiny_model: Path, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Copies of the tiny model, each with another fault, and the words that must be said."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(tiny_model, tmp_path / name))

    deeper = copy("deeper")
    settings = json.loads((deeper / "config.json").read_text())
    (deeper / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 3}))
    yield deeper, "lacks 9 weights of its config.json"
    torn = copy("torn")
    with (torn / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    yield torn, "cannot read a causal language model.*SafetensorError"
    empty = copy("empty")
    (empty / "config.json").write_text("[]")
    yield empty, "cannot read a causal language model"


def test_a_broken_model_folder_is_one_sentence_and_leaves_nothing_behind(
    tiny_model: Path, tmp_path: Path
) -> None:
    for folder, sentence in broken_models(tiny_model, tmp_path):
        output = train(write_config(folder, tmp_path), code=2)
        assert "Traceback" not in output
        assert re.search(sentence, output), output
        assert not (tmp_path / "run").exists()


def test_a_damaged_checkpoint_is_named_with_the_way_back(finished: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished.parent / "run", tmp_path / "run"))
    newest = run / "checkpoints" / "step-000006"
    (optimizer,) = newest.glob("zero3/*optim_states.pt")
    optimizer.write_bytes(optimizer.read_bytes()[:1000])
    further = ("--resume", f"output={run}", "steps=7")
    output = train(finished, *further, code=2)
    assert re.search(
        r"step-000006 is damaged .*; move it elsewhere to go on from .*step-000004", output
    )
    shutil.rmtree(newest)
    train(finished, *further)
    assert [row["step"] for row in metrics(run)] == [1, 2, 3, 4, 5, 6, 7]


def test_an_occupied_folder_is_refused_and_left_alone(finished: Path) -> None:
    before = metrics(finished.parent / "run")
    output = train(finished, code=2)
    assert "already holds a run; continue it with --resume" in " ".join(output.split())
    assert metrics(finished.parent / "run") == before
    output = train(finished, "--resume", "advantage.k=2", code=2)
    assert "other settings in advantage" in " ".join(output.split())
