"""The memory of a judge that is served on GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from rvpo.config.judge import ServeConfig
from rvpo.config.run import RunConfig
from rvpo.plan.machine import Finding
from rvpo.plan.memory import GIB
from rvpo.plan.shape import ModelShape


def share_of_trainers(config: RunConfig, judge: ModelShape | None, memory: float) -> float:
    """Bytes of each trainer's GPU that a served judge takes; none where it has GPUs of its own.

    Args:
        judge: its size.
        memory: bytes of a GPU.
    """
    served = config.judge.serve if config.judge else None
    return 0.0 if served is None or served.devices else _share(served, judge, memory)


def served_findings(
    config: RunConfig, judge: ModelShape | None, gpus: int, memory: float
) -> Iterator[Finding]:
    """Everything that a judge served on GPUs lacks.

    Args:
        judge: its size.
        gpus: number of them on the machine.
        memory: bytes of each.
    """
    served = config.judge.serve if config.judge else None
    if served is None:
        return
    processes = config.distributed.processes
    apart = all(processes <= number < gpus for number in served.devices)
    if not apart or served.gpus > gpus:
        on = f"GPUs {list(served.devices)}" if served.devices else f"{served.gpus} GPUs"
        yield Finding(
            "served judge",
            "missing",
            f"it is to have {on} of {gpus}, of which the first {processes} train",
            "judge.serve.devices that are there and do not train, or none, to share",
        )
    share = _share(served, judge, memory)
    needed = 2 * judge.parameters / served.gpus if judge is not None else 0
    if needed > share:
        yield Finding(
            "served judge",
            "missing",
            f"its share of {share / GIB:.1f} GiB does not hold its {needed / GIB:.1f} GiB",
            "raise judge.serve.gpu_memory, or serve a smaller judge",
        )
    elif share > memory:
        yield Finding(
            "served judge",
            "missing",
            f"it takes {share / GIB:.1f} GiB of a GPU's {memory / GIB:.1f}",
            "lower judge.serve.kv_cache_gib, or serve a smaller judge",
        )


def _share(served: ServeConfig, judge: ModelShape | None, device: float) -> float:
    """Bytes that a served judge takes of each of its GPUs."""
    return served.share(device, 2 * judge.parameters if judge is not None else 0)
