"""Engines on GPUs of their own: their memory, and whether a model can be divided among them."""

from __future__ import annotations

from collections.abc import Iterator

from rvpo.config.run import RunConfig
from rvpo.plan.machine import Finding, State
from rvpo.plan.memory import GIB, RESERVE, Place, engine_memory
from rvpo.plan.shape import ModelShape


def engine_findings(config: RunConfig, shape: ModelShape, place: Place) -> Iterator[Finding]:
    """The memory that an engine takes of each GPU of its own, and a number of GPUs that cannot be;
    nothing where it has a trainer's."""
    assert place.device is not None
    each, engine = config.rollout.engine.gpus_each(), engine_memory(config, shape, place)
    if not engine.own:
        return
    state: State = "ok" if engine.own + RESERVE * place.device <= place.device else "missing"
    found = f"{engine.own / GIB:.1f} GiB of each GPU of theirs, of {place.device / GIB:.1f}"
    remedy = "" if state == "ok" else "lower rollout.engine.gpu_memory"
    yield Finding("engines", state, f"{found}: {engine.about}", remedy)
    if divides(shape, each):
        return
    yield Finding(
        "engines",
        "missing",
        f"rollout.engine.tensor_parallel: a model of {shape.heads} heads, {shape.kv_heads} of them "
        f"with keys and values, cannot be divided among {each} GPUs",
        f"rollout.engine.tensor_parallel={largest_part(shape, each)}",
    )


def divides(shape: ModelShape, gpus: int) -> bool:
    """True where an engine can divide a model's heads among so many GPUs: each has as many, and
    the heads with keys and values are divided too, or each has one whole."""
    keys = shape.kv_heads % gpus == 0 or gpus % shape.kv_heads == 0
    return shape.heads % gpus == 0 and keys


def largest_part(shape: ModelShape, most: int) -> int:
    """The largest number of GPUs, up to `most`, among which the heads can be divided."""
    return max(number for number in range(1, most + 1) if divides(shape, number))
