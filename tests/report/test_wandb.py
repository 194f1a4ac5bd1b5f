"""What W&B has of a run is what `metrics.jsonl` has of it, without a network."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

from rvpo.errors import ConfigError
from rvpo.plan.machine import examine
from rvpo.report.record import Report
from rvpo.report.run_folder import MetricsFile, RunFolder
from rvpo.report.trackers import Wandb
from rvpo.report.trackers.wandb import upload
from tests.fakes import make_record, tracked

KEY = "0123456789" * 4


@pytest.fixture(autouse=True)
def _no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without W&B's settings, on which each test starts W&B afresh."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    yield
    wandb.teardown()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", "", {})


def report_on(folder: RunFolder, said: list[str] | None = None) -> Report:
    return Wandb(table_every=2).open(tracked(folder, said if said is not None else []))


def metrics_of(step: int) -> dict[str, float]:
    return {
        "rewards/correct/mean": 0.1 * step,
        "rewards/brief/std": 1 / 3,
        "timing/update": 1e-7 * step,
        "kl": float("nan") if step == 2 else 0.5,
    }


def records(run: Path) -> Iterator[Record]:
    """The records of an offline run: LevelDB's log format in blocks of 32 KiB."""
    (path,) = run.glob("*.wandb")
    data, at, record = path.read_bytes(), 7, b""
    while at < len(data):
        if 32768 - at % 32768 < 7:  # too short for a header: padding
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield Record.FromString(record)
            record = b""


def history(run: Path) -> list[dict[str, Any]]:
    """The logged metrics of each step, without W&B's own and the table's."""
    steps = []
    wandb.teardown()  # its service may still be writing when a run has finished
    for record in records(run):
        if record.WhichOneof("record_type") == "history":
            items = {"/".join(i.nested_key) or i.key: i.value_json for i in record.history.item}
            steps.append(
                {"step": json.loads(items["_step"])}
                | {
                    key: json.loads(value)
                    for key, value in items.items()
                    if not key.startswith(("_", "completions"))
                }
            )
    return steps


def offline_runs(folder: RunFolder) -> list[Path]:
    return sorted((folder.path / "wandb").glob("offline-run-*"))


def test_without_a_key_the_history_is_kept_offline_and_equals_metrics_jsonl(
    folder: RunFolder, capfd: pytest.CaptureFixture[str]
):
    said: list[str] = []
    report, metrics = report_on(folder, said), MetricsFile(folder)
    for step in range(1, 6):
        record = make_record(step, metrics_of(step))
        report(record)
        metrics(record)
    report.close()
    metrics.close()
    (run,) = offline_runs(folder)
    assert history(run) == folder.read_metrics()
    assert said == [f"W&B was offline; send this run with: wandb sync {run}"]
    assert capfd.readouterr() == ("", "")


def test_the_table_holds_each_reward_of_the_steps_it_was_due(folder: RunFolder):
    report = report_on(folder)
    for step in range(1, 4):
        report(make_record(step))
    report.close()
    (run,) = offline_runs(folder)
    rows = [
        dict(zip(table["columns"], row, strict=True))
        for table in (json.loads(f.read_text()) for f in run.rglob("*.table.json"))
        for row in table["data"]
    ]
    assert sorted(row["step"] for row in rows) == [1] * 4 + [3] * 4
    lost = next(row for row in rows if row["failures"])
    assert lost["rewards/correct"] is None
    assert lost["rewards/brief"] == 0.5
    assert lost["failures"] == "correct: timed out"


def test_a_resumed_run_goes_on_under_the_same_id(folder: RunFolder):
    said: list[str] = []
    for step in (1, 2):
        report = report_on(folder, said)
        report(make_record(step))
        report.close()
    wandb.teardown()
    runs = [
        next(r.run for r in records(run) if r.WhichOneof("record_type") == "run")
        for run in offline_runs(folder)
    ]
    assert len({run.run_id for run in runs}) == 1
    assert {run.run_group for run in runs} == {"quick"}
    assert all(str(part) in said[-1] for part in offline_runs(folder))


def test_neither_key_nor_environment_nor_host_is_written(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("JUDGE_API_KEY", "not-for-any-log")
    report = report_on(folder)
    report(make_record(1))
    report.close()
    wandb.teardown()
    written = b"".join(f.read_bytes() for f in folder.path.rglob("*") if f.is_file())
    for secret in (KEY, "not-for-any-log", f'"host":"{os.uname().nodename}"'):
        assert secret.encode() not in written
    (run,) = offline_runs(folder)
    hosts = {r.run.host for r in records(run) if r.WhichOneof("record_type") == "run"}
    assert hosts == {"-"}


def test_wandb_mode_disabled_writes_no_run(folder: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    said: list[str] = []
    report = report_on(folder, said)
    report(make_record(1))
    report.close()
    assert (offline_runs(folder), said) == ([], [])


@pytest.mark.parametrize(
    ("environment", "answer"),
    [
        ({}, "no key"),
        ({"WANDB_API_KEY": KEY}, "online"),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, "offline"),
        ({"WANDB_BASE_URL": "https://wandb.example.org", "NETRC": "netrc"}, "online"),
        ({"WANDB_BASE_URL": "https://other.example.org", "NETRC": "netrc"}, "no key"),
    ],
)
def test_the_doctor_and_a_run_agree_on_what_is_uploaded(
    environment: dict[str, str], answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine wandb.example.org login user password {KEY}\n")
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("netrc", str(netrc)))
    assert upload() == examine().wandb == answer


def test_a_setting_that_wandb_cannot_use_is_named_and_not_repeated(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", f"no address {KEY}")
    with pytest.raises(ConfigError, match=r"base_url.*WANDB_BASE_URL") as caught:
        report_on(folder)
    assert KEY not in str(caught.value)
    wandb.teardown()  # which keeps what it could read
    assert examine().wandb == str(caught.value)


def test_online_without_a_key_is_one_clear_sentence(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(ConfigError, match=r"report\.trackers: wandb: .*WANDB_MODE=offline"):
        report_on(folder)
