"""The memory of judges that are served."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rvpo.config.judge import ServeConfig
from rvpo.config.judges import place_of
from rvpo.config.run import RunConfig
from rvpo.fields import WEIGHT_BYTES
from rvpo.plan.machine import Finding
from rvpo.plan.memory import GIB
from rvpo.plan.shape import ModelShape

Shapes = Mapping[str, ModelShape | None]
"""Sizes of served judges by name, None where one is not known."""


def shares_of_trainers(config: RunConfig, judges: Shapes, memory: float) -> list[float]:
    """Bytes of a trainer's GPU that each judge takes which has no GPUs of its own.

    Args:
        memory: bytes of a GPU.
    """
    return [
        _share(served, judges[name], memory)
        for name, served in _served(config, judges)
        if not served.devices
    ]


def taken_of_host(config: RunConfig, judges: Shapes) -> float:
    """Bytes that the judges take where they are served on CPUs."""
    return sum(
        2.0 * shape.parameters + served.cpu_kv_cache_gib * GIB
        for name, served in _served(config, judges)
        if (shape := judges[name]) is not None
    )


def served_findings(
    config: RunConfig, judges: Shapes, gpus: int, memory: float
) -> Iterator[Finding]:
    """Everything that judges served on GPUs lack.

    Args:
        gpus: number of them on the machine.
        memory: bytes of each.
    """
    processes = config.distributed.processes
    for name, served in _served(config, judges):
        where = place_of(name)
        apart = all(processes <= number < gpus for number in served.devices)
        if not apart or served.gpus > gpus:
            on = f"GPUs {list(served.devices)}" if served.devices else f"{served.gpus} GPUs"
            yield _lacks(
                where,
                f"it is to have {on} of {gpus}, of which the first {processes} train",
                f"{where}.serve.devices that are there and do not train, or none, to share",
            )
        share, shape = _share(served, judges[name], memory), judges[name]
        needed = _weights(served, shape) / served.gpus
        if needed > share:
            yield _lacks(
                where,
                f"its share of {share / GIB:.1f} GiB does not hold its {needed / GIB:.1f} GiB",
                f"raise {where}.serve.gpu_memory, or serve a smaller judge",
            )
        elif share > memory:
            yield _lacks(
                where,
                f"it takes {share / GIB:.1f} GiB of a GPU's {memory / GIB:.1f}",
                f"lower {where}.serve.kv_cache_gib, or serve a smaller judge",
            )


def _served(config: RunConfig, judges: Shapes) -> Iterator[tuple[str, ServeConfig]]:
    for name, judge in config.every_judge.items():
        if judge.serve is not None and name in judges:
            yield name, judge.serve


def _lacks(where: str, found: str, remedy: str) -> Finding:
    return Finding(f"served {where}", "missing", found, remedy)


def _share(served: ServeConfig, judge: ModelShape | None, device: float) -> float:
    """Bytes that a served judge takes of each of its GPUs."""
    return served.share(device, _weights(served, judge))


def _weights(served: ServeConfig, judge: ModelShape | None) -> float:
    """Bytes of all weights of a served judge."""
    return WEIGHT_BYTES[served.precision] * judge.parameters if judge is not None else 0
