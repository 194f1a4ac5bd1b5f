"""The settings of a classifier whose scores are rewards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from rvpo.config.judge import AskedConfig, JudgeConfig, ServeConfig
from rvpo.fields import NonNegativeInt, PathText, PositiveInt, Section

ScoreRoute = Literal["classify", "score"]
"""Route of a server that gives scores: of a text or a chat, or of a pair of texts."""

_ROUTES: Final = ("classify", "score", "pooling", "rerank")
_BATCH_ON_GPU: Final = 16
_FEWEST_IN_FLIGHT: Final = 4  # so that an input is there when a pass ends


class ClassifierServeConfig(Section):
    """A classifier served on this machine by a process of the run, with transformers."""

    model: PathText
    """A folder or a Hub id of a model that AutoModelForSequenceClassification loads. Code that
    comes with a model is never run."""
    devices: Annotated[tuple[NonNegativeInt, ...], Field(max_length=1)] = ()
    """GPU of rank 0's machine for the classifier, as in [3], and not one of the first, which
    training has. None: it computes on the CPU."""
    precision: Literal["bf16", "fp32"] = "fp32"
    """Number format of its weights and of its arithmetic."""
    batch: PositiveInt | None = None
    """Inputs of a forward pass, or as many as wait; 1 on a CPU and 16 on a GPU if left out. With 1
    a score is the same to the last digit, whatever else is asked for."""
    max_input_tokens: PositiveInt | None = None
    """Tokens of the longest input, the model's own limit if left out. A longer one has no score:
    nothing is ever cut off."""
    allow_pickle: bool = False
    """Load weights that are not in safetensors files. A pickle can run code: only for sources you
    trust."""

    @property
    def inputs(self) -> int:
        """Inputs of a forward pass, at most."""
        return self.batch or (_BATCH_ON_GPU if self.devices else 1)


class ClassifierJudge(JudgeConfig):
    """A classifier as those know it who ask judges: one that answers with its scores."""

    route: ScoreRoute
    own: ClassifierServeConfig | None = None
    """Settings of the process that serves it; None for endpoints."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:  # the classifier's own settings have been checked
        return self

    @property
    def needs_vllm(self) -> bool:
        """False: a process of the run serves it."""
        return False


def _served(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


class ClassifierConfig(AskedConfig):
    """A sequence classifier or reward model, with its patience and its limits."""

    model: str | None = None
    """The classifier's name at its endpoints, part of what scores are filed under; the served model
    if left out with `serve`."""
    serve: Annotated[ClassifierServeConfig | None, BeforeValidator(_served)] = None
    """Serve a model on this machine instead of naming endpoints: a folder or Hub id, or a table
    with `model`."""
    labels: tuple[str, ...] = ()
    """Names of its scores in their order, where its own settings do not name them or are not here,
    as those of a model at an endpoint."""

    @field_validator("endpoints", mode="before")
    @classmethod
    def _base_addresses(cls, value: Any) -> Any:
        """Refuse the address of a route, to which the route would be added once more."""
        for index, endpoint in enumerate(value if isinstance(value, list | tuple) else ()):
            url = endpoint.get("url") if isinstance(endpoint, Mapping) else None
            last = url.rstrip("/").rpartition("/")[2] if isinstance(url, str) else ""
            if last in _ROUTES:
                raise ValueError(
                    f"[{index}].url must be the base address, without /{last}, such as "
                    "http://localhost:8000"
                )
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.endpoints) == (self.serve is not None):
            raise ValueError(
                "a classifier needs either `serve` (a model for a process of the run), or "
                "`endpoints` (a list of tables with a url), and not both"
            )
        if self.endpoints and self.model is None:
            raise ValueError("`model` is required with `endpoints`: the name of the classifier")
        self._check_dollars(("input_price",), self.serve is not None)
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels: {', '.join(self.labels)} must differ")
        return self

    def identity(self) -> list[Any]:
        """The settings that scores depend on; the others say how to get them."""
        own = None if self.serve is None else [self.serve.model, self.serve.precision]
        return [own, self.model, self.revision, list(self.labels)]

    def as_judge(self, route: ScoreRoute) -> ClassifierJudge:
        """The same for those who ask judges."""
        own, shared = self.serve, {name: getattr(self, name) for name in AskedConfig.model_fields}
        served: dict[str, Any] = {}
        if own is not None:
            concurrency = max(_FEWEST_IN_FLIGHT, 2 * own.inputs)
            serve = ServeConfig(model=own.model, devices=own.devices, concurrency=concurrency)
            revision = " ".join(filter(None, (self.revision, own.precision)))
            served = {"serve": serve, "own": own, "revision": revision}
        told = {"route": route, "structured": False, "reasons": False}
        return ClassifierJudge.model_validate(shared | told | served)


def judge_of(settings: Mapping[str, Any]) -> JudgeConfig:
    """The judge, or the classifier, whose settings came as JSON."""
    kind = ClassifierJudge if "route" in settings else JudgeConfig
    return kind.model_validate(settings)
