"""The end of a run: its curves, and the table of what training changed."""

from __future__ import annotations

from rich.console import Console

from rvpo.commands.context import RunContext
from rvpo.commands.inputs import Inputs
from rvpo.report.curves import draw_curves
from rvpo.report.held_out import compare, comparisons_json, render_table
from rvpo.report.run_folder import write_json
from rvpo.trainer.evaluation import HeldOut


def conclude(run: RunContext, inputs: Inputs, held_out: HeldOut, console: Console) -> None:
    """Draw the curves, and compare held-out scores before and after; on the main rank alone."""
    if not run.ranks.is_main:
        return
    folder, last = run.folder, run.config.steps
    draw_curves(folder.metrics, inputs.score.aspects, folder.curves, title=folder.path.name)
    lost = [s for s in (0, last) if not folder.evaluation(s).exists()]
    if inputs.prompts.held_out and lost:
        named = " and ".join(str(folder.evaluation(step)) for step in lost)
        console.print(
            f"{named} is missing: no table of held-out scores", markup=False, highlight=False
        )
    elif inputs.prompts.held_out:
        comparisons = compare(held_out.at(0), held_out.at(last), run.config.seed)
        write_json(folder.held_out, comparisons_json(comparisons))
        console.print(render_table(comparisons))
    console.print(f"curves  {folder.curves}\nmetrics {folder.metrics}")
