"""The settings of `rvpo evaluate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, PlainSerializer, model_validator

from rvpo.benchmarks import listed
from rvpo.config import document
from rvpo.config.benchmarks import BenchmarksConfig
from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import JudgeName, named, served_problems
from rvpo.config.model import ModelConfig
from rvpo.config.rollout import RolloutConfig, sampling_problems
from rvpo.config.run import DistributedConfig
from rvpo.config.secret import without_secrets
from rvpo.config.sentences import validated
from rvpo.fields import FilePath, NonNegativeInt, Section

_OF_A_RUN = ("seed", "model", "rollout", "judge", "judges", "distributed")
"""Settings that an evaluation takes from the file of a run, beside `evaluate.benchmarks`."""


class EvaluationConfig(Section):
    """Everything that scores depend on."""

    output: Annotated[FilePath, PlainSerializer(str)] = Path("runs/evaluate")
    """Folder of the results, with one for each benchmark and model."""
    seed: NonNegativeInt = 0
    model: ModelConfig
    """Model to evaluate; `--model` names others in its place."""
    rollout: RolloutConfig = RolloutConfig()
    """Rollout settings of the engine; a benchmark has temperature and length of its own."""
    judge: JudgeConfig | None = None
    """Judge that grades for the benchmarks that need one."""
    judges: dict[JudgeName, JudgeConfig] = Field(default_factory=dict)
    """Further judges by name; a benchmark names the one that grades it."""
    benchmarks: BenchmarksConfig
    distributed: DistributedConfig = DistributedConfig()

    _no_secrets = model_validator(mode="before")(without_secrets)

    @property
    def every_judge(self) -> dict[str, JudgeConfig]:
        """The judges by name, the one of the section `judge` first."""
        return named(self.judge, self.judges)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        if not self.benchmarks.chosen():
            yield f"benchmarks: none is named; give --benchmark {listed()}"
        if self.model.lora is not None:
            yield (
                "model.lora: nothing is trained in an evaluation; leave it out, and give the model "
                "that a run has saved, which has its adapters in its weights"
            )
        yield from sampling_problems(self.rollout.engine, self.benchmarks.drawn("benchmarks"))
        yield from served_problems(self.every_judge, self.rollout.engine.own_gpus())
        yield from self.benchmarks.problems(
            self.every_judge,
            "benchmarks",
            "add judge.serve=MODEL, or a file with judge: {model: NAME, endpoints: "
            "[{url: https://...}]}",
        )


def load_evaluation(
    path: Path | None,
    benchmarks: Sequence[str],
    model: str | None,
    overrides: Sequence[str],
) -> EvaluationConfig:
    """The evaluation that a file and a command line describe.

    Args:
        path: settings of an evaluation, or of a run, whose `evaluate.benchmarks`, model, engine
            and judge are taken.
        benchmarks: those to run, with the settings they have or their usual ones; all that have
            settings if none is named.
        model: takes the place of the file's.
        overrides: `section.key=value` each, applied in order; values are YAML.

    Raises:
        ConfigError: these are not the settings of an evaluation. Every problem is listed.
    """
    given = {} if path is None else document.read_document(path)
    if "steps" in given:
        kept = {name: given[name] for name in _OF_A_RUN if name in given}
        if "model" in kept:  # one that was saved has the adapters in its weights
            kept["model"] = _without_lora(kept["model"])
        given = kept | {"benchmarks": _table(given.get("evaluate")).get("benchmarks", {})}
    given = document.override({"benchmarks": {}, **given}, overrides)
    known = given["benchmarks"]
    if isinstance(known, dict):
        given["benchmarks"] = known | {name: known.get(name) or {} for name in benchmarks}
    if model is not None:
        given["model"] = {**_table(given.get("model")), "path": model}
    where = "the settings" if path is None else str(path)
    config = validated(EvaluationConfig, given, f"{where}: not a valid evaluation")
    others = [n for n in config.benchmarks.chosen() if benchmarks and n not in benchmarks]
    chosen = config.benchmarks.model_copy(update=dict.fromkeys(others))
    return config.model_copy(update={"benchmarks": chosen})


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _without_lora(model: Any) -> Any:
    return {k: v for k, v in model.items() if k != "lora"} if isinstance(model, dict) else model
