"""`rvpo report`: one HTML page of runs, and the same figures as pictures."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rvpo.page.compared import compared, compared_by
from rvpo.page.conversation import conversation
from rvpo.page.criteria import WINDOW, criteria_tables
from rvpo.page.drawn import Drawn
from rvpo.page.figures import notes, plots
from rvpo.page.history import PageArm, read_arms
from rvpo.page.template import rendered
from rvpo.report.record import STEP_TIME
from rvpo.report.run_folder import write_text, writing
from rvpo.report.stored import Number, Pair, Stored, Text, checked, read_json

SHOWN_SAMPLES = 24
"""Samples of each arm: half of them those whose worst reward is worst, half at regular
distances."""
_ELSEWHERE = "with another --output FILE"


class _Row(Stored):
    stage: Text
    metric: Text
    first: Text
    second: Text
    first_mean: Number | None
    second_mean: Number | None
    difference: Number | None
    interval: Pair | None
    effect_size: Number | None
    p_holm: Number | None


class _VerdictFile(Stored):
    test: Text
    interval: Text
    thresholds: dict[Text, Number | None]
    high_mean: Number
    rows: list[_Row]


def build(paths: Sequence[Path], output: Path) -> tuple[Path, list[Path]]:
    """Write the page, and beside it a folder of its figures.

    Args:
        paths: see `read_arms`. The folder of a comparison brings its `verdict.json`.
        output: the HTML file.

    Returns:
        The page and the pictures.

    Raises:
        ConfigError: a folder holds no run.
        CheckpointError: something cannot be written, or what is read is damaged.
    """
    arms, verdicts = read_arms(paths), read_verdicts(paths)
    drawn = [Drawn.of(plot) for plot in plots(arms, thresholds_of(verdicts))]
    write_text(output, page_of(paths, arms, verdicts, drawn), _ELSEWHERE)
    return output, _pictures(drawn, output.with_suffix(""))


def thresholds_of(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Scores from which on rewards are satisfied, as the only verdict has them; NaN where it does
    not know. Of several nothing is taken."""
    found = verdicts[0]["thresholds"] if len(verdicts) == 1 else {}
    return {name: math.nan if at is None else at for name, at in found.items()}


def page_of(
    paths: Sequence[Path],
    arms: Sequence[PageArm],
    verdicts: Sequence[Mapping[str, Any]],
    drawn: Sequence[Drawn],
    *,
    live: bool = False,
    remarks: Sequence[str] = (),
) -> str:
    """The page as HTML.

    Args:
        paths: folders of runs and of comparisons.
        live: it asks its server for what is new.
        remarks: sentences above everything else.

    Raises:
        CheckpointError: what is read is damaged.
    """
    return rendered(
        "page.html.j2",
        title=", ".join(path.resolve().name for path in paths),
        arms=arms,
        summary=[_summary(arm) for arm in arms],
        verdicts=verdicts,
        notes=[*remarks, *notes(arms)],
        criteria=criteria_tables(arms),
        window=WINDOW,
        live=live,
        plots=drawn,
        compared=compared_by(arms),
        samples=[row for arm in arms for row in _samples(arm)],
    )


def read_verdicts(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Verdicts of the comparisons among the folders.

    Raises:
        CheckpointError: a file is damaged.
    """
    return [
        checked(_VerdictFile, read_json(file), file, "; give rvpo compare again").model_dump()
        for file in (path / "verdict.json" for path in paths)
        if file.exists()
    ]


def _pictures(drawn: Sequence[Drawn], folder: Path) -> list[Path]:
    found = []
    with writing(folder, _ELSEWHERE):
        folder.mkdir(parents=True, exist_ok=True)
        for plot in drawn:
            path = folder / (plot.title.lower().replace(" ", "_").replace(",", "") + ".png")
            plot.save_on_white(path)
            found.append(path)
    return found


def _summary(arm: PageArm) -> dict[str, Any]:
    config = arm.runs[0].config
    seconds = [row[STEP_TIME] for run in arm.runs for row in run.metrics if STEP_TIME in row]
    return {
        "name": arm.name,
        "runs": len(arm.runs),
        "seeds": ", ".join(str(run.config.seed) for run in arm.runs),
        "steps": ", ".join(sorted({str(len(run.metrics)) for run in arm.runs})),
        "advantage": config.advantage.name,
        "model": config.model.path,
        "step_s": sorted(seconds)[len(seconds) // 2] if seconds else None,
        "folder": str(arm.runs[0].folder.path.parent),
    }


def _samples(arm: PageArm) -> list[dict[str, Any]]:
    """Samples of the last step of the arm's first run."""
    first = arm.runs[0]
    word = compared(first.config.advantage)
    rows = [_readable(arm.name, row) | {"compared": word} for row in first.samples(1)]
    half = SHOWN_SAMPLES // 2
    if len(rows) <= SHOWN_SAMPLES:
        return rows
    worst = heapq.nsmallest(half, range(len(rows)), key=lambda n: rows[n]["worst_z"])
    others = [n for n in range(len(rows)) if n not in worst]
    regular = [others[n * len(others) // half] for n in range(half)]
    return [rows[n] for n in sorted((*worst, *regular))]


def _said(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls")
    called = [json.dumps(calls, ensure_ascii=False)] if calls else []
    return f"{message['role']}: " + "\n".join(filter(None, [message["content"], *called]))


def _readable(arm: str, row: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: z for name, z in row["z"].items() if z is not None}
    worst = min(known, key=known.__getitem__) if known else None
    return {
        "arm": arm,
        "prompt": "\n".join(map(_said, row["prompt"])),
        "completion": row["completion"],
        "episode": conversation(row.get("episode")),
        "scores": {name: score for name, score in row["scores"].items() if name in known},
        "failures": row["failures"],
        "remarks": {name: _remark(value) for name, value in row["remarks"].items()},
        "extras": [
            (f"{name}, {column}", value if isinstance(value, str) else json.dumps(value))
            for name, columns in row.get("extras", {}).items()
            for column, value in columns.items()
        ],
        "worst": worst or "",
        "worst_z": known[worst] if worst else math.inf,
        "advantage": row["advantage"],
    }


def _remark(value: Mapping[str, Any]) -> list[str]:
    """A line for each criterion."""
    criteria = value.get("criteria") or [value]
    return [
        f"{each['question']} — {each['answer']}" + (f": {each['reason']}" if each["reason"] else "")
        for each in criteria
    ]
