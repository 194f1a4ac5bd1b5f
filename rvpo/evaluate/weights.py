"""The weights of a saved model, for an engine that is to take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rvpo.model_files import reading_model
from rvpo.rollout.engine import Weights
from rvpo.rollout.named_weights import named_weights
from rvpo.rollout.saved_form import saved_form


class SavedWeights:
    """A model as transformers reads it, weight by weight; see `rvpo.rollout.engine.Weights`.

    Args:
        path: a folder or a Hub id.
        dtype: the engine's.

    Raises:
        ConfigError: there is no such model.
    """

    def __init__(self, path: str, dtype: torch.dtype, *, trust_remote_code: bool) -> None:
        from transformers import AutoModelForCausalLM

        with reading_model(path):
            self._model: Any = AutoModelForCausalLM.from_pretrained(
                path, dtype=dtype, trust_remote_code=trust_remote_code
            )

    def layout(self) -> Sequence[tuple[str, torch.dtype, tuple[int, ...]]]:
        """See `Weights.layout`."""
        return [(name, weight.dtype, tuple(weight.shape)) for name, weight in self]

    def as_saved(self) -> Weights:
        """See `Weights.as_saved`."""
        return saved_form(self, self._model)

    def walk(self) -> None:
        """See `Weights.walk`: each rank has a model of its own, and gathers nothing."""

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name, weight in named_weights(self._model):
            yield name, weight.detach()
