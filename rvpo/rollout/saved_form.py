"""Weights in the form in which a model is saved.

transformers computes with some weights in another form than their checkpoints have, under other
names: the experts of a layer are one tensor there and three each in the files. Whoever reads
checkpoints, as vLLM does, knows the latter alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rvpo.errors import EngineError
from rvpo.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from rvpo.rollout.engine import Weights


def saved_form(weights: Weights, model: Any) -> Weights:
    """The weights as `save_pretrained` would write them; the very same where that is no other form.

    Args:
        model: the one that they are of, as transformers knows it; its own weights are not read.

    Raises:
        EngineError: a saved weight is made of several of the model's, which are not all there at
            the same time.
    """
    own = {name: (dtype, tuple(shape)) for name, dtype, shape in weights.layout()}
    saved = _layout(model, own)
    if saved == own:
        return weights
    apart: dict[str, Any] = {}
    for name, about in own.items():
        apart |= _layout(model, {name: about})
    if apart != saved:
        other = next(name for name in {**saved, **apart} if saved.get(name) != apart.get(name))
        raise EngineError(
            f"{other!r} of a saved {type(model).__name__} is made of several weights, so engines "
            "that read checkpoints cannot be given its weights one by one; set "
            "rollout.engine.name=transformers"
        )
    return SavedForm(weights, model, [(name, *about) for name, about in apart.items()])


class SavedForm:
    """Implements `Weights`: each of the model's weights as the saved ones that it is made of."""

    def __init__(
        self, weights: Weights, model: Any, layout: Sequence[tuple[str, torch.dtype, Any]]
    ) -> None:
        self._weights = weights
        self._model = model
        self._layout = layout

    def layout(self) -> Sequence[tuple[str, torch.dtype, tuple[int, ...]]]:
        """See `Weights.layout`."""
        return self._layout

    def as_saved(self) -> Weights:
        """See `Weights.as_saved`."""
        return self

    def walk(self) -> None:
        """See `Weights.walk`."""
        self._weights.walk()

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """See `Weights.__iter__`."""
        for name, tensor in self._weights:
            for saved, part in _converted(self._model, {name: tensor}).items():
                yield saved, part.contiguous()


def _layout(model: Any, own: dict[str, Any]) -> dict[str, Any]:
    """Types and shapes of the saved weights, in order, of those of the model."""
    empty = {
        name: torch.empty(shape, dtype=dtype, device="meta") for name, (dtype, shape) in own.items()
    }
    converted = _converted(model, empty)
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in converted.items()}


def _converted(model: Any, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    from transformers.core_model_loading import revert_weight_conversion  # as `save_pretrained`

    converted: dict[str, Tensor] = revert_weight_conversion(model, weights)
    return converted
