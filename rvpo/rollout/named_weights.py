"""The weights of a model by their names, as its checkpoints have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def named_weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All that a checkpoint of a module holds: its parameters, a tied one under each of its names,
    then the constants that were learned or set before and no optimizer moves, its persistent
    buffers."""
    yield from module.named_parameters(remove_duplicate=False)
    for path, part in module.named_modules():
        for name, buffer in part.named_buffers(recurse=False):
            if name not in part._non_persistent_buffers_set:
                yield f"{path}.{name}" if path else name, buffer
