"""Time of one step of each optimizer over a shard in CPU memory, where an offloaded one works.

    python -m performance.optimizer_step

torch's plain loop, its fused kernel, DeepSpeed's CPUAdam, which is compiled at its first use, and
bitsandbytes' AdamW of 8 bits, which on a CPU unpacks its moments each time. In turn: medians of
several steps. With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from performance.published import add_save_option, publish
from rvpo.config.update import UpdateConfig
from rvpo.trainer.optimizers import OPTIMIZERS

UPDATE = UpdateConfig(lr=1e-6, weight_decay=0.01)


def plain(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=UPDATE.lr, weight_decay=UPDATE.weight_decay, fused=False)


def built(name: str) -> Callable[[Any], torch.optim.Optimizer]:
    """The optimizer that a run would have."""
    return lambda groups: OPTIMIZERS[name].build(groups, UPDATE)


KINDS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "plain loop": plain,
    "adamw": built("adamw"),
    "cpu_adam": built("cpu_adam"),
    "adamw_8bit": built("adamw_8bit"),
}


def seconds(step: torch.optim.Optimizer) -> float:
    started = time.perf_counter()
    step.step()
    return time.perf_counter() - started


def shard(start: torch.Tensor, build: Any) -> tuple[torch.Tensor, torch.optim.Optimizer]:
    """A flat fp32 shard with a gradient, and its optimizer after the step that makes its state."""
    weights = torch.nn.Parameter(start.clone())
    weights.grad = torch.sin(torch.arange(len(start), dtype=torch.float32))
    optimizer = build([{"params": [weights], "weight_decay": UPDATE.weight_decay}])
    optimizer.step()
    return weights, optimizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=int, default=50, help="weights of the shard")
    parser.add_argument("--repeats", type=int, default=7)
    add_save_option(parser)
    options = parser.parse_args()
    torch.manual_seed(0)
    start = torch.randn(options.millions * 10**6)
    shards = {name: shard(start, build) for name, build in KINDS.items()}
    times: dict[str, list[float]] = {name: [] for name in shards}
    for _ in range(options.repeats):
        for name, (_, optimizer) in shards.items():
            times[name].append(seconds(optimizer))
    fused = shards["adamw"][0].detach()
    lines = [
        f"One step over {options.millions} million fp32 weights, {torch.get_num_threads()} "
        "threads.",
        "",
        "| optimizer | step | largest difference of a weight from adamw |",
        "| --- | --- | --- |",
    ]
    for name, (weights, _) in shards.items():
        difference = float((weights.detach() - fused).abs().max())
        lines.append(f"| {name} | {median(times[name]):.3f} s | {difference:.1e} |")
    publish("optimizer_step.md", "\n".join(lines), options)


if __name__ == "__main__":
    main()
