"""The run as its terminal shows it: a live panel, or one plain line a step where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from rvpo.episode import BROKEN
from rvpo.report.record import StepRecord, timing

MISSING = "episodes/missing"
"""Start of the metrics that count episodes without a score by their reasons."""
SPARKLINE_WIDTH = 24
ETA_STEPS = 10
"""Steps whose median time is taken for the ones to come."""


class Display:
    """A report on the terminal.

    Args:
        total_steps: steps of the whole run, those before a resume included.
        console: the one to print on. On a terminal it gets the live panel; output printed meanwhile
            to stdout or stderr appears above it.
    """

    def __init__(self, total_steps: int, console: Console) -> None:
        self._total_steps = total_steps
        self._console = console
        self._step = 0
        self._means: dict[str, list[float]] = {}  # of each reward and part of a rubric
        self._step_seconds: list[float] = []
        self._timing: dict[str, float] = {}
        self._warning = ""
        self._said: set[str] = set()
        self._phase: tuple[str, float, Spinner] | None = None  # text, start, its moving dots
        self._live: Live | None = None

    def phase(self, text: str) -> None:
        """Say what is going on outside of steps, such as "loading the model".

        The panel shows it with its running time until the next phase or step.
        """
        if self._is_live():
            self._phase = (text, monotonic(), Spinner("dots"))
            self._refresh()
        else:
            self._console.print(f"{text} ...", markup=False, highlight=False)

    def say(self, text: str) -> None:
        """Print a message that stays, above the live panel where there is one."""
        # Not wrapped: a command printed here must survive being copied.
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __call__(self, record: StepRecord) -> None:
        self._step = record.step
        self._timing = timing(record.metrics)
        self._warning = "; ".join(filter(None, (_left_out(record), _without_scores(record))))
        if "step" in self._timing:
            self._step_seconds.append(self._timing["step"])
        for name in record.scored.aspects:
            history = self._means.setdefault(name, [])
            history.append(record.metrics.get(f"rewards/{name}/mean", math.nan))
        self._phase = None
        if self._is_live():
            self._refresh()
        else:
            self._console.print(self._line(), markup=False, highlight=False, soft_wrap=True)

    def say_once(self, text: str) -> None:
        """`say` a sentence that was not said so before."""
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def close(self) -> None:
        """Leave the last state of the panel standing and give the terminal back."""
        self._phase = None
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _is_live(self) -> bool:
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def _refresh(self) -> None:
        if self._live is None:
            self._live = Live(
                get_renderable=self._panel, console=self._console, refresh_per_second=4
            )
            self._live.start()
        self._live.refresh()

    def _line(self) -> str:
        rewards = "  ".join(f"{name} {_number(h)}" for name, h in self._means.items())
        times = "  ".join(f"{phase} {s:.1f} s" for phase, s in self._timing.items())
        line = f"step {self._step}/{self._total_steps}  {rewards}  | {times}"
        return f"{line}  | {self._warning}" if self._warning else line

    def _panel(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._step:
            parts += [self._progress(), self._times()]
        if self._warning:
            parts.append(Text(f"  {self._warning}", style="yellow"))
        if self._phase is not None:
            text, began, spinner = self._phase
            spinner.update(text=Text(f"{text}  {monotonic() - began:.0f} s"))
            parts.append(spinner)
        if self._step:
            parts.append(self._rewards())  # last: a low terminal cuts off the end
        return Group(*parts)

    def _progress(self) -> RenderableType:
        left = self._total_steps - self._step
        eta = _clock(left * median(self._step_seconds[-ETA_STEPS:])) if self._step_seconds else "?"
        row = Table.grid(padding=(0, 2))
        row.add_row(
            Text(f"step {self._step}/{self._total_steps}", style="bold"),
            ProgressBar(total=self._total_steps, completed=self._step, width=40),
            Text(f"{eta} left" if left else "done", style="dim"),
        )
        return row

    def _rewards(self) -> RenderableType:
        ascii_only = self._console.options.ascii_only
        rows = Table.grid(padding=(0, 2))
        rows.add_column(max_width=32, no_wrap=True)
        rows.add_column(justify="right", no_wrap=True)
        rows.add_column(no_wrap=True, style="cyan")
        for name, history in self._means.items():
            rows.add_row(Text(f"  {name}"), _number(history), sparkline(history, ascii_only))
        return rows

    def _times(self) -> RenderableType:
        times = "   ".join(f"{phase} {seconds:.1f} s" for phase, seconds in self._timing.items())
        return Text(f"  {times}", style="dim", no_wrap=True, overflow="ellipsis")


def sparkline(history: Sequence[float], ascii_only: bool = False) -> str:
    """A whole history in at most 24 characters, from its own lowest value to its highest.

    Longer histories are averaged over equal stretches; a stretch without values is a blank.
    """
    levels = ".:-=+*#@" if ascii_only else "▁▂▃▄▅▆▇█"
    width = min(len(history), SPARKLINE_WIDTH)
    means: list[float | None] = []
    for i in range(width):
        stretch = history[i * len(history) // width : (i + 1) * len(history) // width]
        values = [value for value in stretch if math.isfinite(value)]
        means.append(fmean(values) if values else None)
    present = [mean for mean in means if mean is not None]
    low, span = min(present, default=0.0), max(present, default=0.0) - min(present, default=0.0)
    return "".join(
        " " if mean is None else levels[round((mean - low) / span * 7) if span else 0]
        for mean in means
    )


def _left_out(record: StepRecord) -> str:
    """Count of the groups that the judge's budget refused; empty where it refused none."""
    skipped = int(record.metrics.get("judge/skipped_groups", 0))
    groups = len(record.advantages.values) // record.rollout.group_size
    return f"{skipped} of {groups} groups left out: too many missing verdicts" if skipped else ""


def _without_scores(record: StepRecord) -> str:
    """Count of the episodes, on all ranks, that have no score, and the most frequent reason; empty
    where there is none."""
    reasons = {
        name.removeprefix(f"{MISSING}/"): count
        for name, count in record.metrics.items()
        if name.startswith(f"{MISSING}/")
    }
    if not reasons:
        return ""
    share = sum(record.metrics.get(f"episodes/ended/{ending}", 0.0) for ending in BROKEN)
    samples = len(record.advantages.values)
    most = max(reasons, key=reasons.__getitem__)
    lead = "" if len(reasons) == 1 else "most often for "
    return f"{round(share * samples)} of {samples} episodes without a score: {lead}{most}"


def _number(history: Sequence[float]) -> str:
    return f"{history[-1]:.2f}" if history and math.isfinite(history[-1]) else "-"


def _clock(duration: float) -> str:
    minutes, seconds = divmod(round(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
