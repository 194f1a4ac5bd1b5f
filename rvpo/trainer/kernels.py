"""Fused kernels for the layers of a model, tried against its own before they are trusted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

from rvpo.config.update import UpdateConfig
from rvpo.errors import ConfigError
from rvpo.runtime.ranks import Ranks, is_of_ranks
from rvpo.trainer.packing import Yardstick, score_alone

Patch = Callable[[Any], None]
"""Puts kernels into a model of transformers', in place."""
Undo = Callable[[], object]

_INSTALL: Final = "pip install liger-kernel"


def check_kernels(update: UpdateConfig, *, on_gpu: bool) -> None:
    """Refuse kernels that were asked for by name and cannot be had here.

    Raises:
        ConfigError: they cannot.
    """
    if update.kernels != "liger":
        return
    if not on_gpu:
        raise ConfigError(
            "update.kernels: liger's kernels are for GPUs, and this run has none; write "
            "update.kernels=plain, or auto"
        )
    if find_spec("liger_kernel") is None:
        raise ConfigError(
            f"update.kernels: liger needs liger-kernel, which is not installed; {_INSTALL}, or "
            "write update.kernels=auto"
        )


def liger(model: Any) -> None:
    """Liger's norms, gated layers and rotary positions. Its losses are left out: this update needs
    the log-probability of each token, and has a head of its own for it."""
    from liger_kernel.transformers import (  # type: ignore[import-not-found]
        _apply_liger_kernel_to_instance,
    )

    _apply_liger_kernel_to_instance(
        model=model,
        rope=True,
        rms_norm=True,
        swiglu=True,
        geglu=True,
        layer_norm=True,
        cross_entropy=False,
        fused_linear_cross_entropy=False,
    )


def choose_kernels(
    update: UpdateConfig,
    engines: list[Any],
    ranks: Ranks,
    expected: Yardstick,
    *,
    installed: bool | None = None,
    patch: Patch = liger,
) -> str:
    """Put kernels into models where they are to be had and give what the models themselves give.

    Args:
        engines: DeepSpeed engines around a `Scorer`, the trained one first. Every rank must call.
        expected: the trained one's, measured without kernels.
        installed: True where `patch` can be imported on a device that it is for; found out if left
            out.

    Returns:
        The kernels that were chosen, and why, as a log has it.
    """
    if update.kernels == "plain":
        return "transformers' own layers"
    if installed is None:
        if ranks.device.type != "cuda":
            return "transformers' own layers"
        installed = find_spec("liger_kernel") is not None
    if not all(ranks.gather_objects(installed)):
        return f"transformers' own layers, liger-kernel is not installed: {_INSTALL}"
    undo: list[Undo] = []
    try:
        for engine in engines:
            _patch(engine.module.model, patch, undo)
        reason = "" if undo else "it has none for this model"
    except Exception as error:  # of a version that knows other models than this transformers has
        reason = f"{type(error).__name__}: {error}"
    reason = next(filter(None, ranks.gather_objects(reason)), "")
    reason = reason or _fault(engines[0], ranks, expected)
    if not reason:
        return "liger's kernels"
    for step in reversed(undo):
        step()
    return f"transformers' own layers, not liger's: {reason}"


def _fault(engine: Any, ranks: Ranks, expected: Yardstick) -> str:
    """Reason that the patched model cannot be trusted; empty where it can."""
    reason = ""
    try:
        distance = expected.distance(score_alone(engine, ranks))
    except Exception as error:  # foreign kernels raise anything, also where they are compiled
        if is_of_ranks(error):  # which the kernels have no part in
            raise
        reason = f"{type(error).__name__}: {error}"
    else:
        if not distance <= expected.limit:
            reason = f"log-probabilities would be off by {distance:.2g} in the mean"
    return next(filter(None, ranks.gather_objects(reason)), "")


def _patch(model: Any, patch: Patch, undo: list[Undo]) -> None:
    """Patch a model, and note the steps back, of which the last is to be taken first. Patches
    replace methods of its modules, and functions in the module of Python that its class is from."""
    places = [sys.modules[type(model).__module__], *model.modules()]
    before = [dict(vars(place)) for place in places]
    try:
        patch(model)
    finally:
        for place, known in zip(places, before, strict=True):
            undo += _steps_back(vars(place), known)


def _steps_back(attributes: dict[str, Any], known: Mapping[str, Any]) -> Iterator[Undo]:
    for name in attributes.keys() - known.keys():
        yield partial(attributes.pop, name)
    for name, value in known.items():
        if attributes.get(name) is not value:
            yield partial(attributes.__setitem__, name, value)
