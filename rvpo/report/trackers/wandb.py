"""The run in Weights & Biases, online or written to the run folder for a later sync."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from rvpo.errors import ConfigError
from rvpo.fields import PositiveInt, Section
from rvpo.report.record import Report, StepRecord, finite, sample_rows
from rvpo.report.run_folder import RunFolder, write_text
from rvpo.report.trackers.tracker import TrackedRun, require

if TYPE_CHECKING:
    import wandb

SUMMARIES = {
    "rewards/*": "last,max",
    "timing/*": "mean",
    "tokens_per_second/*": "mean",
    "mfu/*": "mean",
    "memory/*": "max",
    "kv_cache/*": "max",
}
"""Summaries of a metric that W&B keeps beside its curve: a reward's peak matters as much as its
end."""
TABLE_ROWS = 64
_OF_EPISODES: list[str | int] = [
    "episode",
    "turns",
    "ending",
    "ending_reason",
    "calls",
    "failed_calls",
]


class Wandb(Section):
    """Weights & Biases: online, or kept in the run folder where no key is configured."""

    name: Literal["wandb"] = "wandb"
    table_every: PositiveInt = 10
    """Steps between additions to the table `completions`, the first one included."""

    def check(self) -> None:
        """Raises ConfigError where `wandb` is not installed."""
        require(self.name, "wandb")

    def open(self, run: TrackedRun) -> Report:
        """The run in `report.project`, under `report.group` and, as its job type, `report.arm`."""
        return WandbReport(run, self.table_every)


class WandbReport:
    """A report to Weights & Biases: every metric of every step, and a table of completions.

    `WANDB_MODE` decides whether it goes online. Where that is unset and no key is configured, the
    run is kept offline in its folder, and `close` says how to sync it. A resumed run goes on
    under the same W&B id; steps that W&B already has stay as they were first logged. Neither
    code, environment nor host name is sent.

    Args:
        run: the run; W&B's files go into `wandb/` of its folder.
        table_every: steps between additions to the table `completions`, the first one included.

    Raises:
        ConfigError: W&B cannot be reached or refuses the run.
    """

    def __init__(self, run: TrackedRun, table_every: int = 10) -> None:
        import wandb

        self._files = run.folder.path / "wandb"
        os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")  # advertises itself on the terminal
        # wandb stages a table's rows under the user's home unless told otherwise; an offline run
        # is complete only if they are in the run folder too.
        os.environ.setdefault("WANDB_DATA_DIR", str(self._files.resolve()))
        self._say = run.say
        self._table_every = table_every
        self._table: wandb.Table | None = None
        try:
            self._run = wandb.init(
                project=run.project,
                group=run.group,
                job_type=run.arm,
                name=run.name,
                id=_run_id(run.folder),
                resume="allow",
                dir=run.folder.path,
                config=dict(run.config),
                mode=_mode(),
                settings=_quiet_settings(),
            )
        except wandb.Error as error:
            raise ConfigError(
                f"report.trackers: wandb: {error}; set WANDB_MODE=offline to log into the run "
                "folder, or take wandb out of the list"
            ) from error
        for metrics, summary in SUMMARIES.items():
            self._run.define_metric(metrics, summary=summary)

    def __call__(self, record: StepRecord) -> None:
        logged: dict[str, Any] = finite(record.metrics)
        if (record.step - 1) % self._table_every == 0:
            logged["completions"] = self._add_completions(record)
        self._run.log(logged, step=record.step)

    def close(self) -> None:
        """Finish the run; an offline one says how to send all its parts later."""
        offline = self._run.offline and not self._run.disabled
        self._run.finish()
        if offline:
            parts = " ".join(
                shlex.quote(str(part)) for part in sorted(self._files.glob("offline-run-*"))
            )
            self._say(f"W&B was offline; send this run with: wandb sync {parts}")

    def _add_completions(self, record: StepRecord) -> wandb.Table:
        """Add the record's first whole groups; W&B appends what is new to the rows it has."""
        import wandb

        names = record.scored.rewards.names
        in_world = any(sample.episode is not None for sample in record.rollout.samples)
        if self._table is None:
            columns = _columns(names) + (_OF_EPISODES if in_world else [])
            self._table = wandb.Table(columns=columns, log_mode="INCREMENTAL")
        size = record.rollout.group_size
        shown = max(1, TABLE_ROWS // size) * size
        for row, _ in zip(sample_rows(record), range(shown), strict=False):
            self._table.add_data(
                row["step"],
                row["policy_version"],
                row["prompt_id"],
                json.dumps(row["prompt"], ensure_ascii=False),
                row["completion"],
                *(row["scores"][name] for name in names),
                *(row["z"][name] for name in names),
                row["advantage"],
                row["trained"],
                row["finish_reason"],
                row["completion_tokens"],
                "; ".join(f"{name}: {reason}" for name, reason in row["failures"].items()),
                json.dumps(row["extras"], ensure_ascii=False) if row["extras"] else "",
                *(_of_episode(row["episode"]) if in_world else ()),
            )
        return self._table


def _columns(names: tuple[str, ...]) -> list[str | int]:
    return [
        *("step", "policy_version", "prompt_id", "prompt", "completion"),
        *(f"rewards/{name}" for name in names),
        *(f"z/{name}" for name in names),
        *("advantage", "trained", "finish_reason", "completion_tokens", "failures", "extras"),
    ]


def _of_episode(episode: Mapping[str, Any]) -> tuple[str | int, ...]:
    """Values of the columns in `_OF_EPISODES`."""
    said = [message for turn in episode["turns"] for message in turn["messages"]]
    failures = "; ".join(episode["failures"])
    turns = sum(turn["by"] == "policy" for turn in episode["turns"])
    told = json.dumps(said, ensure_ascii=False)
    return told, turns, episode["ending"], episode["reason"], episode["calls"], failures


def upload() -> str:
    """Ask wandb's own settings whether a run of this machine is uploaded: "online", "no key" where
    there is none to go online with, or another mode that the user asked for.

    Raises:
        ConfigError: wandb is not installed, or cannot read its settings.
    """
    require("wandb", "wandb")
    from pydantic import ValidationError
    from wandb.sdk import wandb_setup
    from wandb.sdk.lib.wbauth import read_netrc_auth

    try:
        settings = wandb_setup.singleton().settings  # which starts no process
    except ValidationError as error:  # whose own words repeat what was given, which may be a key
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise ConfigError(
            f"report.trackers: wandb: its setting {name} cannot be used ({first['msg']}); mend "
            f"WANDB_{name.upper()} or wandb's settings file, or take wandb out of the list"
        ) from None
    if "WANDB_MODE" in os.environ:
        return os.environ["WANDB_MODE"]
    if settings.mode != "online":  # `wandb offline` was called once
        return str(settings.mode)
    key = os.environ.get("WANDB_API_KEY") or settings.api_key
    has_key = key or settings.identity_token_file or read_netrc_auth(host=settings.base_url)
    return "online" if has_key else "no key"


def _mode() -> Any:
    asked = upload()
    return "offline" if asked == "no key" else asked


def _quiet_settings() -> wandb.Settings:
    """Nothing printed, nothing captured from the terminal, nothing told about the machine."""
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_save_requirements=False,  # provenance.json has the versions
        host="-",
    )


def _run_id(folder: RunFolder) -> str:
    """The W&B id of the run, drawn once and kept in its folder."""
    path = folder.path / "wandb" / "run_id"
    if not path.exists():
        write_text(path, secrets.token_hex(8))
    return path.read_text(encoding="utf-8")
