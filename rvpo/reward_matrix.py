"""The checks of a reward matrix: shapes, names, weights and scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rvpo.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def problems(
    values: Tensor,
    names: Sequence[str],
    group_size: int,
    weights: Tensor,
    valid: Tensor,
    prompts: Sequence[str] | None,
) -> Iterator[str]:
    """The problems of a reward matrix, see `rvpo.types.Rewards`; only the first is sure to be one.

    Args:
        values: [N, M] scores.
        names: [M] names of the rewards.
        group_size: G.
        weights: [M] or [N, M].
        valid: [N, M] bool.
        prompts: [P] ids; None where nobody says.
    """
    shape = list(values.shape)
    if values.ndim != 2 or values.shape[1] != len(names):
        yield (
            f"values has shape {shape}; expected [samples, {len(names)}], "
            f"a column for each of {list(names)}"
        )
    if not names:
        yield "at least one reward is needed"
    if len(set(names)) != len(names):
        yield f"reward names repeat: {list(names)}"
    if group_size < 1 or len(values) % group_size:
        yield f"{len(values)} samples do not divide into groups of {group_size}"
    if valid.shape != values.shape or valid.dtype != torch.bool:
        yield f"valid must be a bool tensor of shape {shape}"
    if weights.shape not in (values.shape, values.shape[1:]):
        yield f"weights has shape {list(weights.shape)}; expected {[len(names)]} or {shape}"
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
        yield "weights must be finite and at least 0"
    broken = (valid & ~torch.isfinite(values)).any(dim=0).tolist()
    for name in (name for name, is_broken in zip(names, broken, strict=True) if is_broken):
        yield f"reward '{name}' holds NaN or infinity; mark a missing score in `valid` instead"
    groups = len(values) // group_size
    if prompts is not None and len(prompts) != groups:
        yield f"prompts names {len(prompts)} prompts; expected {groups}, one for each group"


def problems_of_reliability(values: Tensor, reliability: Tensor) -> Iterator[str]:
    """The same of its reliability.

    Args:
        values: [N, M] scores.
        reliability: [M] or [N, M].
    """
    shape = list(values.shape)
    if reliability.shape not in (values.shape, values.shape[1:]):
        yield f"reliability has shape {list(reliability.shape)}; expected {shape[1:]} or {shape}"
    if not bool(((reliability >= 0) & (reliability <= 1)).all()):
        yield "reliability must lie between 0 and 1"
