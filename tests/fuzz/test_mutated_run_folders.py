"""A damaged run folder is read or is a sentence: no traceback, whatever happened to its files.

Each case follows from its number. RVPO_FUZZ_FOLDERS says how many there are.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rvpo.benchmarks.benchmark import BenchmarkSummary, Score
from rvpo.compare.arm import parse_arms
from rvpo.compare.benchmarks import benchmark_counts, uncovered
from rvpo.compare.comparison import Run
from rvpo.config.run import dump_config
from rvpo.errors import RvpoError
from rvpo.evaluate.results import RUN, ResultFolder
from rvpo.page.build import page_of, read_verdicts
from rvpo.page.figures import plots
from rvpo.page.history import read_arms
from rvpo.report.best import read_best
from rvpo.report.held_out import HeldOutScores
from rvpo.report.provenance import provenance
from rvpo.report.record import StepRecord
from rvpo.report.run_folder import MetricsFile, RunFolder, write_json
from rvpo.report.sample_files import SampleFiles
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.checkpoint import Checkpoints
from rvpo.trainer.resume import open_run
from rvpo.trainer.start import Start, add_start, check_inputs, read_starts
from tests.configs import tiny_config
from tests.fakes import make_prompt, make_record

CASES = int(os.environ.get("RVPO_FUZZ_FOLDERS", "150"))
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 10**30, 0.5, "", "2", "x", "\ud800", [], {}, [1], {"a": 1}),
    *([[]], [None], {"step": "2"}, "2024-99-99", 1e308),
]  # fmt: skip
TEXTS = ["", "null", "[]", "{}", "0", '"x"', "[" * 5000, "NaN", "{", "\x00", "\ufeff{}", "\n\n"]
PROMPTS = [make_prompt(f"p/{n}", f"{n}?") for n in range(2)]
STEPS = 2


class Nothing:
    """A policy without anything to save."""

    checkpoint_bytes = 0

    def save(self, folder: Path) -> None:
        (folder / "state").write_bytes(b"state")

    def load(self, folder: Path) -> None:
        assert (folder / "state").read_bytes() == b"state"


def make_run(path: Path, ranks: Ranks) -> RunFolder:
    """A run with everything that a run can have."""
    config = tiny_config(Path("model"), path, steps=STEPS, checkpoint={"every": 1})
    folder = RunFolder.create(path, dump_config(config), provenance())
    add_start(folder, Start(date="2024-01-01T10:00:00", step=0, inputs={"tokenizer": "a"}))
    policy: Any = Nothing()
    folder.checkpoints.mkdir()
    checkpoints = Checkpoints(folder.checkpoints, every=1, keep=2, ranks=ranks)
    for step in range(1, STEPS + 1):
        record: StepRecord = make_record(step, {"loss": 0.5, "rewards/a/mean": 0.1})
        MetricsFile(folder)(record)
        SampleFiles(folder, 0)(record)
        checkpoints.after(step, policy, last=False)
    for step in range(STEPS + 1):
        write_json(folder.evaluation(step), held_out().to_json())
        results = ResultFolder(folder.benchmark("gpqa", step))
        results.claim({"limit": 2, RUN: {"seed": 0}})
        results.keep(0, [{"id": p.id, "prompt": [dict(m) for m in p.messages]} for p in PROMPTS])
        score = Score(value=0.5, count=2, interval=(0.0, 1.0), coverage=0.5)
        results.conclude(
            BenchmarkSummary(scores={"acc": score}, curves=("acc",), by_question={"p": 1.0})
        )
    folder.best.mkdir()
    write_json(folder.best_of, {"metric": "eval/a", "value": 0.5, "step": 1})
    write_json(path / "verdict.json", VERDICT)
    return folder


VERDICT: dict[str, Any] = {
    "test": "a test",
    "interval": "an interval",
    "thresholds": {"a": 0.5},
    "high_mean": 0.7,
    "rows": [
        {"stage": "final", "metric": "a", "first": "x", "second": "y", "first_mean": 0.1}
        | {"second_mean": 0.2, "difference": 0.1, "interval": [0.0, 0.2], "effect_size": None}
        | {"p_value": None, "p_holm": None}
    ],
}


def held_out() -> HeldOutScores:
    values = np.full((2, 2, 2), 0.5)
    return HeldOutScores(
        reward_names=("a", "b"),
        prompt_ids=("p", "q"),
        means=values.mean(axis=1),
        failed=np.zeros(2),
        columns=("a", "b"),
        values=values,
    )


def resumed(folder: RunFolder, ranks: Ranks) -> None:
    stored = tiny_config(Path("model"), folder.path, steps=STEPS, checkpoint={"every": 1})
    open_run(stored)
    check_inputs(folder.path, read_starts(folder), {"tokenizer": "b"}, str)
    policy: Any = Nothing()
    step = Checkpoints(folder.checkpoints, every=1, keep=2, ranks=ranks).restore(policy)
    folder.rewind(step)
    add_start(folder, Start(date="2024-01-02T10:00:00", step=step, inputs={"tokenizer": "b"}))
    read_best(folder)


def compared(folder: RunFolder, ranks: Ranks) -> None:
    file = folder.path.parent / "config.yaml"
    shutil.copy(folder.config, file)
    arm, _ = parse_arms(["advantage.k=1,2"])
    held = "data.held_out={function: tests.toy:letters}"
    run = Run(arm, 0, file, (f"output={folder.path}", held, "evaluate.every=1"))
    assert run.is_begun
    _ = run.is_done
    run.evaluations()
    benchmark_counts({"arm": [folder]})
    uncovered({"arm": [folder]})


def evaluated(folder: RunFolder, ranks: Ranks) -> None:
    for step in range(STEPS + 1):
        results = ResultFolder(folder.benchmark("gpqa", step))
        results.claim({"limit": 2, RUN: {"seed": 0}})
        results.batch(0, PROMPTS)
        results.concluded()


def shown(folder: RunFolder, ranks: Ranks) -> None:
    arms = read_arms([folder.path])
    plots(arms, {})
    page_of([folder.path], arms, read_verdicts([folder.path]), ())


READERS: list[Callable[[RunFolder, Ranks], None]] = [compared, evaluated, shown, resumed]


def damage(path: Path, chance: random.Random) -> None:
    """Something that may happen to a file."""
    content = bytearray(path.read_bytes())
    match chance.randrange(9):
        case 0 if content:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            path.write_bytes(content)
        case 1:
            path.write_bytes(content[: chance.randrange(len(content) + 1)])
        case 2:
            path.write_text(chance.choice(TEXTS), encoding="utf-8")
        case 3:
            path.write_bytes(bytes(chance.randrange(256) for _ in range(20)))
        case 4:
            path.unlink()
            if chance.random() < 0.7:
                path.symlink_to("nowhere") if chance.random() < 0.5 else path.mkdir()
        case _:
            lines = content.decode().split("\n") if path.suffix == ".jsonl" else [content.decode()]
            at = chance.randrange(len(lines))
            try:
                value = mutated(json.loads(lines[at]), chance)
            except ValueError:  # no JSON
                return
            lines[at] = json.dumps(value)
            path.write_text("\n".join(lines), encoding="utf-8")


def mutated(value: Any, chance: random.Random) -> Any:
    """The value with a part of it replaced, removed or repeated."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.1:
        return chance.choice(VALUES)
    copy: Any = value.copy()
    key = chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value))
    match chance.randrange(5):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, list):
            copy.append(copy[key])
        case _:
            copy[key] = mutated(value[key], chance)
    return copy


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, ranks: Ranks) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("whole") / "run", ranks)


def copied(whole: RunFolder, path: Path) -> RunFolder:
    """The run, in the place that its own settings name."""
    shutil.copytree(whole.path, path, symlinks=True)
    folder = RunFolder(path)
    folder.config.write_text(folder.config.read_text().replace(str(whole.path), str(path)))
    return folder


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_a_whole_run_is_read(
    whole: RunFolder, tmp_path: Path, ranks: Ranks, read: Callable[[RunFolder, Ranks], None]
) -> None:
    read(copied(whole, tmp_path / "run"), ranks)


def test_a_damaged_run_is_read_or_is_a_sentence(
    whole: RunFolder, tmp_path: Path, ranks: Ranks
) -> None:
    said: list[str] = []
    for case in range(CASES):
        chance = random.Random(case)
        folder = copied(whole, tmp_path / str(case) / "run")
        files = sorted(path for path in folder.path.rglob("*") if path.is_file())
        damage(chance.choice(files), chance)
        for read in READERS:
            try:
                read(folder, ranks)
            except RvpoError as error:
                said.append(str(error))
            except Exception as error:
                raise AssertionError(f"case {case}, {read.__name__}") from error
        shutil.rmtree(tmp_path / str(case))
    # Settings have a line for each problem.
    assert [text for text in said if "\n" in text and "is not a valid run" not in text] == []
    assert len(said) > CASES / 4
