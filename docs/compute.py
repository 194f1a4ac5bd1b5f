"""Every number and picture of rvpo.md, and the tables of choose.md.

    python -m docs.compute

replaces the tables between the pages' markers and draws soft_min.png and taylor.png beside them.
All draws are seeded, so the pages stay as they are where nothing changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from rvpo import GDPO, GRPO, RVPO, Rewards
from rvpo.advantage import Estimator, LevelMin
from rvpo.advantage.aggregate import mean_and_variance
from rvpo.advantage.group import standardise
from rvpo.advantage.pull import pulls
from rvpo.advantage.rvpo import soft_min, soft_min_weights, taylor_bound
from rvpo.report.curves import COLOURS
from rvpo.types import Advantages

HERE = Path(__file__).parent
GROUPS = 2000
SHAPES = ((4, 2), (8, 3), (16, 7), (16, 17))
"""Samples of a group, and rewards."""
KS = (0.5, 1.0, 2.0, 5.0)
PROBES = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
"""Shares of the samples that meet a probe."""
CROWDS = ((3, 0.8, 160), (17, 0.6, 48))
"""Verdicts, the share that meets each of them but the probe, and draws of these."""
PULLED: dict[str, Estimator] = {
    "`grpo`": GRPO(),
    "`gdpo`": GDPO(),
    "`rvpo`, k = 1": RVPO(k=1.0),
    "`level_min`, rarity 0": LevelMin(rarity=0.0),
    "`level_min`": LevelMin(),
}


def signed(value: float) -> str:
    """With its sign and two decimals; what rounds to zero has none, for its sign is an accident of
    the order in which a processor adds."""
    shown = f"{value:+.2f}"
    return "0.00" if float(shown) == 0 else shown


def equal(z: Tensor) -> Tensor:
    """[R, M] the same share for every reward."""
    return torch.full_like(z, 1 / z.shape[1])


def binary_z(group: int, rewards: int, seed: int = 0) -> Tensor:
    """[R, M] z-scores of coin flips, each reward with a chance of its own."""
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(GROUPS, 1, rewards, generator=generator)
    values = torch.rand(GROUPS, group, rewards, generator=generator) < chance
    scores = values.double().reshape(-1, rewards)
    return standardise(scores, torch.ones_like(scores).bool(), group, eps=1e-4).z


def reach() -> str:
    """How far from 0 a z-score can be, and what that means for the series."""
    lines = ["| samples of a group | largest z | largest range R | series converges for k below |"]
    lines.append("| --- | --- | --- | --- |")
    for group in (4, 8, 16, 32):
        largest = (group - 1) / math.sqrt(group)
        spread = 2 * largest
        lines.append(f"| {group} | {largest:.2f} | {spread:.2f} | {math.pi / spread:.2f} |")
    return "\n".join(lines)


def fidelity() -> str:
    """How well mean minus variance stands for the soft minimum."""
    lines = ["| samples, rewards | " + " | ".join(f"k = {k:g}" for k in KS) + " |"]
    lines.append("| --- |" + " --- |" * len(KS))
    for group, rewards in SHAPES:
        z = binary_z(group, rewards)
        p = equal(z)
        mean, variance = mean_and_variance(z, p)
        cells = []
        for k in KS:
            exact, series = soft_min(z, p, k), mean - k / 2 * variance
            correlation = torch.corrcoef(torch.stack([exact, series]))[0, 1]
            error = (exact - series).abs().mean()
            bound = taylor_bound(z, p, k).mean()
            cells.append(f"{correlation:.3f}, {error:.3f} of {bound:.2f}")
        lines.append(f"| {group}, {rewards} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def dead_groups() -> str:
    """Where whitening puts a group whose samples are all alike, between live ones."""
    kinds = (GDPO(), *(RVPO(k=k) for k in KS[:3]))
    names = ["GDPO", *(f"RVPO, k = {k:g}" for k in KS[:3])]
    lines = ["| samples, rewards | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for group, rewards in SHAPES:
        generator = torch.Generator().manual_seed(1)
        chance = torch.rand(GROUPS, 1, rewards, generator=generator)
        values = (torch.rand(GROUPS, group, rewards, generator=generator) < chance).float()
        values[0] = 0.0
        matrix = Rewards(
            values.reshape(-1, rewards), [str(m) for m in range(rewards)], group_size=group
        )
        cells = [signed(estimate(matrix).values[0].item()) for estimate in kinds]
        lines.append(f"| {group}, {rewards} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def dead_rewards() -> str:
    """The most that an aggregate can reach where some rewards are constant."""
    lines = ["| rewards, of them constant | " + " | ".join(f"k = {k:g}" for k in KS) + " |"]
    lines.append("| --- |" + " --- |" * len(KS))
    for rewards, dead in ((2, 1), (7, 1), (17, 1), (17, 8)):
        z = torch.full((1, rewards), 1e6, dtype=torch.float64)
        z[0, :dead] = 0.0
        cells = [f"{soft_min(z, equal(z), k).item():.2f}" for k in KS]
        lines.append(f"| {rewards}, {dead} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def example() -> str:
    """Two responses with the same mean."""
    lines = ["| z-scores | mean | " + " | ".join(f"k = {k:g}" for k in (*KS, math.inf)) + " |"]
    lines.append("| --- | --- |" + " --- |" * (len(KS) + 1))
    for row in ([0.5, 0.5, 0.5], [1.5, 1.5, -1.5]):
        z = torch.tensor([row], dtype=torch.float64)
        cells = [signed(soft_min(z, equal(z), k).item()) for k in (*KS, math.inf)]
        shown = ", ".join(f"{x:+.1f}" for x in row)
        lines.append(f"| {shown} | {signed(z.mean().item())} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def worth() -> str:
    """What meeting a criterion raises the aggregate by, against what it raises the mean by."""
    group, rewards = 16, 3
    lines = [f"| of {group} meet it | mean | " + " | ".join(f"k = {k:g}" for k in KS) + " |"]
    lines.append("| --- | --- |" + " --- |" * len(KS))
    for meeting in (1, 2, 4, 8, 12, 14, 15):
        scores = torch.zeros(group, rewards, dtype=torch.float64)
        scores[:meeting, 0] = 1.0  # the other rewards are the same for all
        z = standardise(scores, torch.ones_like(scores).bool(), group, eps=1e-4).z
        first, last = z[:1], z[-1:]  # meets it, and does not
        mean = ((first - last) / rewards).sum().item()
        p = equal(first)
        gains = [(soft_min(first, p, k) - soft_min(last, p, k)).item() for k in KS]
        cells = [f"{gain / mean:.2f}" for gain in gains]
        lines.append(f"| {meeting} | {mean:.2f} | " + " | ".join(f"× {c}" for c in cells) + " |")
    return "\n".join(lines)


def verdicts(probe: float, rewards: int, usual: float, groups: int, size: int = 16) -> Rewards:
    """Independent verdicts, the first of which is met by the share `probe`.

    The number of samples of a group that meet it goes through the quantiles of its binomial
    distribution, and who meets it through all turns of the group, so that what others do to the
    same samples cancels out.
    """
    generator = torch.Generator().manual_seed(2)
    others = torch.rand(groups, 1, size, rewards - 1, generator=generator) < usual
    chances = [math.comb(size, n) * probe**n * (1 - probe) ** (size - n) for n in range(size + 1)]
    places = (torch.arange(groups, dtype=torch.float64) + 0.5) / groups
    counts = torch.searchsorted(torch.tensor(chances, dtype=torch.float64).cumsum(0), places)
    turned = (torch.arange(size)[:, None] + torch.arange(size)) % size  # [turns, G]
    first = turned < counts[:, None, None]  # [groups, turns, G]
    values = torch.cat([first[..., None], others.expand(*first.shape, rewards - 1)], dim=3)
    names = [str(m) for m in range(rewards)]
    return Rewards(values.float().reshape(-1, rewards), names, group_size=size)


def paid(matrix: Rewards, advantages: Advantages) -> Tensor:
    """[M] what the advantages pay for meeting each verdict, on a scale of their own: the pulls
    without the standard deviations in them."""
    pull = pulls(matrix, advantages.values, advantages.trained).sum(dim=0)
    known = torch.ones_like(matrix.valid)
    groups = standardise(matrix.values, known, matrix.group_size, eps=0.0)
    return pull / groups.centred.square().mean(dim=0).sqrt()


def paid_in_all(matrix: Rewards, advantages: Advantages) -> Tensor:
    """[M] the same with the means of all samples: what a group's advantages have in common with its
    rates counts too. Where they add up to 0 in each group, that is nothing."""
    met, a = matrix.values.double(), advantages.values.double()[:, None]
    rate = met.mean(dim=0)
    return (a * (met - rate)).mean(dim=0) / (rate * (1 - rate))


def against_others(values: Tensor) -> float:
    """The first over the mean of the others."""
    return (values[0] / values[1:].mean()).item()


def pull_table(rewards: int, usual: float, groups: int) -> str:
    """What meeting a probe is paid, over what meeting another verdict is."""
    lines = [f"| {rewards} verdicts, the others met by {usual:g} | "]
    lines[0] += " | ".join(f"{probe:g}" for probe in PROBES) + " |"
    lines.append("| --- |" + " --- |" * len(PROBES))
    drawn = [verdicts(probe, rewards, usual, groups) for probe in PROBES]
    for name, estimate in PULLED.items():
        cells = [f"{against_others(paid(matrix, estimate(matrix))):.2f}" for matrix in drawn]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    cells = [f"{against_others(paid_in_all(m, RVPO(k=1.0)(m))):.2f}" for m in drawn]
    lines.append("| `rvpo`, k = 1, over all samples | " + " | ".join(cells) + " |")
    logged = [RVPO(k=1.0)(matrix).metrics for matrix in drawn]
    weights = [[each[f"advantage/weight/{m}"] for m in range(rewards)] for each in logged]
    cells = [f"{against_others(torch.tensor(each)):.2f}" for each in weights]
    lines.append("| weight of `rvpo`, which misleads | " + " | ".join(cells) + " |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "example": example,
    "reach": reach,
    "fidelity": fidelity,
    "dead groups": dead_groups,
    "dead rewards": dead_rewards,
    "worth": worth,
}
PULLS: dict[str, Callable[[], str]] = {
    f"pulls among {crowd[0]}": partial(pull_table, *crowd) for crowd in CROWDS
}
PAGES = {"rvpo.md": TABLES, "choose.md": PULLS}


def fill(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """The page with every table as it is now."""
    for name, table in tables.items():
        start, end = f"<!-- {name} -->\n", "<!-- end -->"
        before, _, rest = page.partition(start)
        _, found, after = rest.partition(end)
        assert found, name
        page = before + start + table() + "\n" + end + after
    return page


def draw_soft_min() -> Figure:
    """The aggregate and its gradient weights as one reward of three rises."""
    figure = Figure(figsize=(8, 3.2), dpi=140, layout="constrained")
    left, right = figure.subplots(1, 2)
    moving = torch.linspace(-3, 3, 241, dtype=torch.float64)
    z = torch.stack([moving, torch.zeros_like(moving), torch.zeros_like(moving)], dim=1)
    for k, colour in zip((0.0, 0.5, 1.0, 2.0, math.inf), COLOURS, strict=False):
        name = (
            "k = 0, the mean" if k == 0 else "k = ∞, the minimum" if math.isinf(k) else f"k = {k:g}"
        )
        left.plot(moving, soft_min(z, equal(z), k), color=colour, label=name)
        right.plot(moving, soft_min_weights(z, equal(z), k)[:, 0], color=colour)
    left.set_title("aggregate A", loc="left")
    right.set_title("the moving reward's weight ∂A/∂Z", loc="left")
    for axes in (left, right):
        axes.set_xlabel("z of one reward; the other two are at 0")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
    return figure


def draw_taylor() -> Figure:
    """Distance of the soft minimum from its second-order series, and the bound."""
    figure = Figure(figsize=(6, 3.4), dpi=140, layout="constrained")
    axes = figure.subplots()
    for (group, rewards), colour in zip(SHAPES, COLOURS, strict=False):
        z = binary_z(group, rewards)[:3000]
        p, k = equal(z), 1.0
        mean, variance = mean_and_variance(z, p)
        error = (soft_min(z, p, k) - (mean - k / 2 * variance)).abs()
        spread = z.amax(dim=1) - z.amin(dim=1)
        label = f"{group} samples, {rewards} rewards"
        axes.plot(spread, error, ".", color=colour, markersize=2, alpha=0.4, label=label)
    line = torch.linspace(0, 7.5, 100)
    axes.plot(line, line**3 / (36 * math.sqrt(3)), color="black", label="bound, R³ / (36 √3)")
    axes.axvline(math.pi, color="black", linestyle=":", linewidth=1)
    axes.text(math.pi + 0.05, 2.0, "kR = π", fontsize=9)
    axes.set_ylim(0, 2.5)
    axes.set_xlabel("range R of a sample's z-scores")
    axes.set_ylabel("|A − (μ − k σ²/2)|, k = 1")
    axes.legend(frameon=False, fontsize=8, markerscale=5)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    for name, tables in PAGES.items():
        page = HERE / name
        page.write_text(fill(page.read_text(encoding="utf-8"), tables), encoding="utf-8")
    draw_soft_min().savefig(HERE / "soft_min.png")
    draw_taylor().savefig(HERE / "taylor.png")


if __name__ == "__main__":
    main()
