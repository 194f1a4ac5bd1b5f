"""Time of one AdamW step over a shard in CPU memory, where an offloaded optimizer works.

    python -m performance.optimizer_step

torch's fused kernel against its plain loop, in turn: medians of several steps.
With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from performance.published import add_save_option, publish


def seconds(step: torch.optim.AdamW) -> float:
    started = time.perf_counter()
    step.step()
    return time.perf_counter() - started


def shard(start: torch.Tensor, *, fused: bool) -> tuple[torch.Tensor, torch.optim.AdamW]:
    """A flat fp32 shard with a gradient, and its optimizer after the step that makes its state."""
    weights = torch.nn.Parameter(start.clone())
    weights.grad = torch.sin(torch.arange(len(start), dtype=torch.float32))
    optimizer = torch.optim.AdamW([weights], lr=1e-6, weight_decay=0.01, fused=fused)
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
    (one, plain), (other, fused) = shard(start, fused=False), shard(start, fused=True)
    times = [(seconds(plain), seconds(fused)) for _ in range(options.repeats)]
    slow, quick = (median(each) for each in zip(*times, strict=True))
    difference = float((one - other).detach().abs().max())
    lines = [
        f"One step of AdamW over {options.millions} million fp32 weights, "
        f"{torch.get_num_threads()} threads.",
        "",
        "| plain loop | fused | ratio | largest difference of a weight |",
        "| --- | --- | --- | --- |",
        f"| {slow:.3f} s | {quick:.3f} s | {slow / quick:.1f} | {difference:.1e} |",
    ]
    publish("optimizer_step.md", "\n".join(lines), options)


if __name__ == "__main__":
    main()
