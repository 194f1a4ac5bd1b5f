"""A run folder loses nothing to a kill, a resume or a full disk, and never mixes two runs."""

from __future__ import annotations

import errno
import gzip
import json
import math
import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.config.data import DataConfig, FunctionSource
from rvpo.errors import CheckpointError, ConfigError, DataError
from rvpo.report.run_folder import (
    MetricsFile,
    RunFolder,
    write_json,
    write_text,
    writing,
)
from rvpo.report.sample_files import Keeping, SampleFiles, sample_files, samples_of
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.trial.given import read_responses
from rvpo.types import Rollout
from tests.fakes import (
    FakeJudge,
    make_advantages,
    make_criteria,
    make_prompt,
    make_record,
    make_sample,
    only,
    says,
)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", "steps: 4\n", {"rvpo": "0.1.0"})


DATA = DataConfig(train=FunctionSource(function="rvpo.data.everyday:requests"))


def write_steps(folder: RunFolder, *steps: int, ranks: int = 1) -> None:
    metrics = MetricsFile(folder)
    for step in steps:
        for rank in range(ranks):
            SampleFiles(folder, rank)(make_record(step))
        metrics(make_record(step, {"loss": step / 10}))
    metrics.close()


def test_a_folder_below_a_file_is_refused_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file, in which .*/file/a/b would be, is a file"):
        RunFolder(tmp_path / "file" / "a" / "b").require_free()
    RunFolder(tmp_path / "new" / "run").require_free()
    with pytest.raises(ConfigError, match="holds files that are not a run's"):
        RunFolder(Path("/")).require_free()


def test_a_new_run_keeps_its_settings_and_their_provenance(folder: RunFolder):
    assert folder.config.read_text() == "steps: 4\n"
    assert json.loads(folder.provenance.read_text()) == {"rvpo": "0.1.0"}


def test_a_run_that_never_did_a_step_may_be_replaced(folder: RunFolder):
    folder.rewind(0)
    folder.checkpoints.mkdir()
    with folder.locked():
        pass
    RunFolder.create(folder.path, "steps: 5\n", {})
    assert folder.config.read_text() == "steps: 5\n"
    assert not folder.metrics.exists()


def test_a_config_beside_other_files_is_not_taken_for_such_a_run(tmp_path: Path):
    for name in ("config.yaml", "notes.txt"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match="already holds a run"):
        RunFolder.create(tmp_path, "", {})
    (tmp_path / "notes.txt").unlink()
    with pytest.raises(ConfigError, match="already holds a run"):
        RunFolder.create(tmp_path, "", {})
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_one_process_at_a_time_trains_in_a_folder(folder: RunFolder):
    with (
        folder.locked(),
        pytest.raises(ConfigError, match="is being trained by another process"),
        folder.locked(),
    ):
        pass
    with folder.locked():
        pass


def test_who_holds_a_folder_is_named_and_forgotten_at_its_end(folder: RunFolder) -> None:
    own = f"{os.getpid()} on {socket.gethostname()}"
    with folder.locked(), pytest.raises(ConfigError) as error, folder.locked():
        pass
    assert f"another process; it is {own}; wait for it" in str(error.value)
    assert (folder.path / "lock").read_text() == ""


def test_a_folder_that_another_machine_left_behind_is_told_of(folder: RunFolder) -> None:
    told: list[str] = []
    for left in (f"12 on {socket.gethostname()}", "", "\x00" * 400, "12 on a b", "12 on x;y"):
        (folder.path / "lock").write_text(left)
        with folder.locked(told.append):
            pass
    assert told == []
    (folder.path / "lock").write_text("12 on node-3.example\n")
    with folder.locked(told.append):
        pass
    with folder.locked(told.append):
        pass
    (said,) = told
    assert said.startswith(f"{folder.path} was not let go of in order by process 12 on node-3.ex")


def start_at_once(path: Path, number: int, ready: Any, done: Any, told: Any) -> None:
    """What a run does with its folder, between two places where all processes meet."""
    folder = RunFolder(path)
    folder.require_free()
    ready.wait()
    try:
        with folder.locked():
            RunFolder.create(path, f"steps: {number}\n", {})
            told.put((number, ""))
            done.wait()
    except ConfigError as error:
        told.put((number, str(error)))
        done.wait()


@pytest.mark.parametrize("before", ["nothing", "an ended run"])
def test_of_many_starts_at_once_exactly_one_has_the_folder(tmp_path: Path, before: str) -> None:
    count, context = 8, multiprocessing.get_context("fork")
    for attempt in range(5):
        path = tmp_path / str(attempt)
        if before == "an ended run":
            RunFolder.create(path, "steps: 99\n", {})
        ready, done = (context.Barrier(count, timeout=60) for _ in range(2))
        told = context.Queue()
        processes = [
            context.Process(target=start_at_once, args=(path, number, ready, done, told))
            for number in range(count)
        ]
        for process in processes:
            process.start()
        answers = dict(told.get(timeout=60) for _ in range(count))
        for process in processes:
            process.join()
        (winner,) = [number for number, said in answers.items() if not said]
        assert (path / "config.yaml").read_text() == f"steps: {winner}\n"
        assert {
            said.partition("; ")[0] for number, said in answers.items() if number != winner
        } == {f"{path} is being trained by another process"}


def test_a_start_after_the_end_of_another_does_not_replace_it(folder: RunFolder) -> None:
    write_steps(folder, 1)
    with folder.locked(), pytest.raises(ConfigError, match="already holds a run"):
        RunFolder.create(folder.path, "", {})


def test_a_folder_that_may_not_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CheckpointError, match=r"lock cannot be written \(Not a directory\)"),
        RunFolder(tmp_path / "file" / "run").locked(),
    ):
        pass


def strays(folder: RunFolder) -> None:
    """What people and programs leave in folders."""
    for place in (folder.samples, folder.evaluations, folder.models, folder.benchmarks / "gpqa"):
        place.mkdir(parents=True, exist_ok=True)
        for name in (
            ".DS_Store",
            "step-",
            "step-x.json",
            "step-000009",
            "step-000009.bak",
            "notes",
        ):
            (place / name).write_text("")
        for name in ("step-old", "step-000008.json", "step-000008.rank-0.jsonl", "step-2.json"):
            (place / name).mkdir()
        (place / "step-000007.json").symlink_to("nowhere")
        (place / "step-000010.jsonl.tmp").mkdir()
        (place / "step-000001").symlink_to(place / "step-old")


def test_strays_are_left_alone_unless_they_stand_for_a_later_step(folder: RunFolder) -> None:
    write_steps(folder, 1, 2, 3)
    strays(folder)
    folder.rewind(2)
    kept = {".DS_Store", "step-", "step-x.json", "notes", "step-old", "step-2.json", "step-000001"}
    assert {path.name for path in folder.models.iterdir()} == kept
    assert {path.name for path in (folder.benchmarks / "gpqa").iterdir()} == kept
    assert {path.name for path in folder.samples.iterdir()} == kept | {
        f"step-00000{step}.rank-0.jsonl" for step in (1, 2)
    }
    assert folder.evaluated() == []
    assert folder.benchmarked("gpqa") == []


def test_a_second_run_in_the_same_folder_is_refused(folder: RunFolder):
    write_steps(folder, 1)
    with pytest.raises(ConfigError) as error:
        RunFolder.create(folder.path, "", {})
    assert str(error.value) == (
        f"{folder.path} already holds a run; continue it with --resume, "
        "or write elsewhere: output=runs/NAME"
    )
    assert folder.config.read_text() == "steps: 4\n"


def test_a_folder_of_other_files_and_a_file_are_refused(tmp_path: Path):
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    with pytest.raises(ConfigError, match="holds files that are not a run's"):
        RunFolder.create(tmp_path, "", {})
    with pytest.raises(ConfigError, match="is a file"):
        RunFolder.create(notes, "", {})
    assert notes.read_text() == "mine"


def test_resuming_what_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="holds no run to continue"):
        RunFolder.open(tmp_path)


def test_metrics_are_readable_while_the_run_goes_on(folder: RunFolder):
    metrics = MetricsFile(folder)
    metrics(make_record(1, {"loss": 0.5, "kl": math.nan, "timing/update": 2.0}))
    assert folder.metrics.read_text() == '{"step": 1, "loss": 0.5, "timing/update": 2.0}\n'
    metrics.close()


def test_samples_are_one_json_line_each_in_a_file_per_step_and_rank(folder: RunFolder):
    write_steps(folder, 1, ranks=2)
    assert sorted(f.name for f in folder.samples.iterdir()) == [
        "step-000001.rank-0.jsonl",
        "step-000001.rank-1.jsonl",
    ]
    with (folder.samples / "step-000001.rank-0.jsonl").open(encoding="utf-8") as file:
        assert [json.loads(line)["completion"] for line in file] == ["0.0", "0.1", "1.0", "1.1"]


def test_a_mean_over_criteria_can_be_made_again_from_the_samples(folder: RunFolder):
    prompts = [make_prompt(rubric=make_criteria("a", "!b", label="essential", axis="accuracy"))]
    reward = RubricReward(name="mean", form="explicit")
    suite = RewardSuite([reward]).fitted(prompts).judged_by(only(FakeJudge(says)))
    samples = tuple(make_sample(prompts[0], text) for text in ("ab", "x"))
    scored = suite(Rollout(samples=samples, group_size=2))
    record = replace(
        make_record(1),
        rollout=Rollout(samples=samples, group_size=2),
        scored=scored,
        advantages=make_advantages(scored.rewards),
    )
    SampleFiles(folder, 0)(record)
    (file,) = folder.samples.iterdir()
    for row in map(json.loads, file.read_text().splitlines()):
        parts = row["remarks"]["mean"]["criteria"]
        assert [(p["label"], p["axis"]) for p in parts] == [("essential", "accuracy")] * 2
        good = [(p["answer"] == "met") == (p["polarity"] == "positive") for p in parts]
        assert (
            sum(p["share"] for p, well in zip(parts, good, strict=True) if well)
            == (row["scores"]["mean"])
        )


def test_long_files_of_samples_are_compressed_and_read_alike(folder: RunFolder) -> None:
    for rank, limit in enumerate([0.0, float("inf")]):
        SampleFiles(folder, rank, Keeping(zip_from=limit))(make_record(1))
    (folder.samples / "step-000001.rank-0.jsonl.tmp").write_text("{")
    long, short = sample_files(folder)
    assert [path.suffix for path in (long, short)] == [".gz", ".jsonl"]
    assert long.read_bytes().startswith(b"\x1f\x8b")
    assert gzip.decompress(long.read_bytes()) == short.read_bytes()
    rows = samples_of(folder, 1)
    half = len(rows) // 2
    assert rows[:half] == rows[half:] != []
    lines = read_responses(short, (), DATA)
    assert read_responses(long, (), DATA) == lines
    long.write_bytes(long.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"rank-0.jsonl.gz is damaged \("):
        samples_of(folder, 1)
    with pytest.raises(DataError, match=r"rank-0.jsonl.gz is damaged \("):
        read_responses(long, (), DATA)


def test_only_the_samples_stay_that_are_asked_for(folder: RunFolder) -> None:
    keeping = Keeping(newest=2, every=4)
    for step in range(1, 12):
        for rank in (1, 0):
            SampleFiles(folder, rank, keeping)(make_record(step))
    kept = sample_files(folder)
    assert sorted(set(kept.values())) == [1, 4, 8, 10, 11]
    assert len(kept) == 10


def test_rewinding_forgets_later_steps_of_every_rank(folder: RunFolder):
    write_steps(folder, 1, 2, 3, ranks=2)
    (folder.samples / "step-000004.rank-0.jsonl.tmp").write_text("{")
    folder.rewind(2)
    assert [line["step"] for line in folder.read_metrics()] == [1, 2]
    assert {f.name[:11] for f in folder.samples.iterdir()} == {"step-000001", "step-000002"}


def test_train_resume_train_leaves_the_metrics_of_an_unbroken_run(folder: RunFolder, tmp_path):
    unbroken = RunFolder.create(tmp_path / "unbroken", "", {})
    write_steps(unbroken, 1, 2, 3, 4)
    write_steps(folder, 1, 2, 3)
    resumed = RunFolder.open(folder.path)
    resumed.rewind(2)
    write_steps(resumed, 3, 4)
    assert resumed.metrics.read_bytes() == unbroken.metrics.read_bytes()


@pytest.mark.parametrize("torn", [b"{", b'{"step": 3, "lo', '{"é'.encode()[:3], b'{"step": 3}'])
def test_a_line_torn_by_a_kill_is_dropped(folder: RunFolder, torn: bytes):
    write_steps(folder, 1, 2)
    with folder.metrics.open("ab") as file:
        file.write(torn)
    folder.rewind(2)
    assert folder.metrics.read_text() == '{"step": 1, "loss": 0.1}\n{"step": 2, "loss": 0.2}\n'


def test_damage_elsewhere_is_named(folder: RunFolder):
    folder.metrics.write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    said = r"metrics\.jsonl, line 2 is damaged .*a line \{\"step\": 2\} stands for a step without"
    with pytest.raises(CheckpointError, match=said):
        folder.read_metrics()
    assert folder.rewind(3) == [2]
    assert folder.read_metrics() == [{"step": 1}, {"step": 2}, {"step": 3}]


JUNK = st.binary(max_size=20).filter(lambda text: b"\n" not in text) | st.sampled_from(
    [b"junk", b"[]", b"null", b'{"step": "2"}', b'{"step": 0}', b'{"step": 1e2}', b'{"loss": 1}']
)
EDIT = st.tuples(st.sampled_from(["cut", "junk", "repeat", "swap"]), st.integers(0, 9), JUNK)


def edited(lines: list[bytes], edit: tuple[str, int, bytes]) -> list[bytes]:
    """What a full disk, an editor or a copy from elsewhere makes of a file's lines."""
    kind, place, junk = edit
    at = place % (len(lines) + 1)
    match kind:
        case "cut":
            return lines[:at]
        case "junk":
            return [*lines[:at], junk, *lines[at + place % 2 :]]
        case "repeat":
            return [*lines, *lines[at : at + 1]]
    return [*lines[at:], *lines[:at]]


@given(st.integers(0, 6), st.integers(0, 6), st.lists(EDIT, max_size=4), st.binary(max_size=9))
def test_metrics_that_do_not_fit_the_checkpoint_lose_nothing_that_is_left(
    written: int, checkpoint: int, edits: list[tuple[str, int, bytes]], torn: bytes
) -> None:
    with TemporaryDirectory() as temporary:
        folder = RunFolder.create(Path(temporary) / "run", "", {})
        rows = {step: {"step": step, "loss": step / 10} for step in range(1, written + 1)}
        lines = [json.dumps(row).encode() for row in rows.values()]
        for edit in edits:
            lines = edited(lines, edit)
        before = b"".join(line + b"\n" for line in lines) + torn.replace(b"\n", b"")
        folder.metrics.write_bytes(before)
        left = {step: row for step, row in rows.items() if json.dumps(row).encode() in lines}
        lost = folder.rewind(checkpoint)
        steps = range(1, checkpoint + 1)
        assert lost == [step for step in steps if step not in left]
        assert folder.read_metrics() == [left.get(step, {"step": step}) for step in steps]
        if lost:
            assert folder.damaged_metrics(checkpoint).read_bytes() == before
        assert folder.rewind(checkpoint) == []


def test_rewinding_a_run_without_steps_is_harmless(folder: RunFolder):
    folder.rewind(0)
    assert folder.read_metrics() == []


def test_text_that_utf8_cannot_hold_survives_as_json(tmp_path: Path):
    write_json(tmp_path / "x.json", {"text": "a\udc80b"})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"text": "a\udc80b"}


def test_a_failed_write_keeps_the_previous_file(tmp_path: Path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": math.nan})
    assert json.loads(path.read_text()) == {"a": 1}


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "no space left on the disk; free some, then go on: training with --resume"),
        (errno.EROFS, "cannot be written (Read-only file system)"),
    ],
)
def test_a_failed_write_is_one_clear_sentence(code: int, sentence: str):
    with pytest.raises(CheckpointError) as error, writing(Path("runs/x")):
        raise OSError(code, "Read-only file system")
    assert sentence in str(error.value)
    assert str(error.value).startswith("runs/x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_stops_the_run_with_its_sentence(folder: RunFolder):
    folder.metrics.symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match="no space left on the disk"):
        MetricsFile(folder)(make_record(1))


def test_a_folder_in_the_way_is_one_clear_sentence(tmp_path: Path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(CheckpointError, match=r"x\.json cannot be written"):
        write_text(tmp_path / "x.json", "")
