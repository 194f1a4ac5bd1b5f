"""The settings of what a run keeps and sends: checkpoints, curves and samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from rvpo.config.sample_files import SampleFilesConfig
from rvpo.fields import NonNegativeInt, PositiveInt, Section, by_name
from rvpo.report.trackers import AnyTracker, Wandb


class CheckpointConfig(Section):
    every: PositiveInt = 50
    """Steps between checkpoints; one is always written at the end."""
    keep: PositiveInt = 2
    """Newest checkpoints to keep."""
    models_every: NonNegativeInt = 0
    """Steps between models saved for transformers and vLLM, all of which stay; 0 saves the last."""
    best: str | None = None
    """A metric of evaluation such as eval/rewards/correct/mean or eval/bfcl/accuracy: the model
    that had most of it is kept beside the last one."""


class ReportConfig(Section):
    trackers: tuple[
        Annotated[AnyTracker, Field(discriminator="name"), BeforeValidator(by_name)], ...
    ] = (Wandb(),)
    """Trackers that get the curves, beside the run folder: one or a list of them, [] for none. Each
    by its name alone, or with its settings."""
    project: str = "rvpo"
    """The project that trackers file the run under."""
    group: str | None = None
    """The comparison that a run belongs to; W&B's and Trackio's group."""
    arm: str | None = None
    """Name that distinguishes a run from others of its group; W&B's job type."""
    samples: SampleFilesConfig = SampleFilesConfig()
    """The files of all samples."""

    @field_validator("trackers", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str | Mapping) else value

    @field_validator("trackers")
    @classmethod
    def _differ(cls, trackers: tuple[AnyTracker, ...]) -> tuple[AnyTracker, ...]:
        names = [tracker.name for tracker in trackers]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"names {twice} twice; name each tracker once")
        return trackers

    @model_validator(mode="before")
    @classmethod
    def _wandb_alone(cls, data: Any) -> Any:
        """`wandb: true` and `wandb: false`, a shorter way to say with or without it."""
        if not isinstance(data, dict) or not isinstance(data.get("wandb"), bool):
            return data
        data = dict(data)
        wanted = data.pop("wandb")
        if "trackers" not in data:
            return {"trackers": ["wandb"] if wanted else [], **data}
        listed = data["trackers"]
        names = [_name_of(each) for each in (listed if isinstance(listed, list) else [listed])]
        if wanted != ("wandb" in names):
            raise ValueError(
                f"wandb: {str(wanted).lower()} is given, and trackers "
                f"{'without' if wanted else 'with'} it; leave wandb out, and list in trackers "
                "what is wanted, [] for none"
            )
        return data


def _name_of(tracker: Any) -> Any:
    return tracker.get("name") if isinstance(tracker, Mapping) else tracker
