"""The end of a run: its curves, and the table of what training changed."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from rvpo.commands.context import RunContext
from rvpo.commands.inputs import Inputs
from rvpo.report.at_k_table import at_k_changes, at_k_json, render_at_k
from rvpo.report.curves import draw_curves
from rvpo.report.gold_table import gold_changes, gold_json, render_gold, warnings_of
from rvpo.report.held_out import compare, comparisons_json, render_table
from rvpo.report.run_folder import write_json
from rvpo.trainer.evaluation import HeldOut
from rvpo.trainer.gold import GoldWatch


def conclude(
    run: RunContext, inputs: Inputs, held_out: HeldOut, last: int, console: Console
) -> None:
    """Draw the curves, and compare held-out scores before and after; on the main rank alone.

    Args:
        last: steps done.
    """
    if not run.ranks.is_main:
        return
    folder = run.folder
    draw_curves(folder.metrics, inputs.score.aspects, folder.curves, title=folder.path.name)
    lost = [s for s in (0, last) if not folder.evaluation(s).exists()]
    if inputs.prompts.held_out and lost:
        named = " and ".join(str(folder.evaluation(step)) for step in lost)
        console.print(
            f"{named} is missing: no table of held-out scores", markup=False, highlight=False
        )
    elif inputs.prompts.held_out:
        seed = run.config.seed
        comparisons = compare(held_out.at(0), held_out.at(last), seed)
        console.print(render_table(comparisons))
        further = _with_k(held_out, last, seed, console)
        further |= _by_both(held_out.watch, last, seed, console)
        write_json(folder.held_out, comparisons_json(comparisons) | further)
    console.print(f"curves  {folder.curves}\nmetrics {folder.metrics}")


def _with_k(held_out: HeldOut, last: int, seed: int, console: Console) -> dict[str, Any]:
    """Show the change of success with k answers, and give what `held_out.json` has of it."""
    changes = at_k_changes(held_out.at(0), held_out.at(last), seed)
    if not changes:
        return {}
    rewards = held_out.score.aspects
    satisfied = {name: held_out.at_k.threshold(name) for name in rewards}
    console.print(render_at_k(changes, satisfied))
    return {"at_k": at_k_json(changes)}


def _by_both(watch: GoldWatch | None, last: int, seed: int, console: Console) -> dict[str, Any]:
    """Show what both judges say of the change, and give what `held_out.json` has of it."""
    if watch is None or not (watch.knows(0) and watch.knows(last)):
        return {}
    changes = gold_changes(watch.at(0), watch.at(last), seed)
    console.print(render_gold(changes, watch.judge))
    for text in warnings_of(changes, watch.judge):
        console.print(text, markup=False, highlight=False, style="yellow")
    return {"gold": gold_json(changes, watch.judge)}
