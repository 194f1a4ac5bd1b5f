"""The table of metrics has every metric that is written, and no others are read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import rvpo.report.metrics as table
from rvpo.advantage import GRPO, RVPO
from rvpo.advantage.diagnostics import metrics_by_aspect
from rvpo.cli import app
from rvpo.judge.types import Answer, Usage
from rvpo.report.metrics import METRICS, entry_of
from rvpo.rewards.duels import Duels
from rvpo.rewards.metrics import reward_metrics
from rvpo.rewards.tally import Tally
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.metrics import completion_metrics
from rvpo.trainer.statistics import TokenStatistics
from rvpo.types import RolloutScores
from tests.fakes import make_rollout, make_scores
from tests.syntax import parsed

PACKAGE = Path(table.__file__).parents[1]
ROOTS = {name.partition("/")[0] for name in METRICS if "/" in name}
NAMESPACES = ("evaluate/measure.py", "report/trackers/wandb.py")
"""Of names that are no metrics of a step."""
READERS = (
    *("page/criteria.py", "page/dashboard.py", "page/figures.py", "page/reliability.py"),
    *("report/curves.py", "report/display.py"),
)


def scores() -> RolloutScores:
    found = torch.rand(8, 2, generator=torch.Generator().manual_seed(0)).tolist()
    found[0][0] = None
    return make_scores(found, group_size=4, failures={(0, 0): "timed out"})


def written(ranks: Ranks) -> Iterator[str]:
    """Names as the code that writes them makes them, of every part of a step."""
    scored = scores()
    yield from reward_metrics(scored)
    for estimator in (GRPO(), RVPO()):
        advantages = estimator(scored.rewards)
        yield from metrics_by_aspect(scored.rewards, advantages, scored.aspects)
    yield from completion_metrics(0, make_rollout(), ranks)
    usage = Usage(requests=1, latency_s=0.5, other_model=True, attempt_failures=("timed out",))
    answers = [Answer(value=1.0, usage=usage), Answer(value=None, failure="refused", usage=usage)]
    for prefix in ("judge", "judge/quality", "judges/gold"):
        yield from Tally.of(answers).metrics(prefix)
    yield from Duels.of([(1.0, 0.5)]).metrics("judge/quality")
    statistics = TokenStatistics.__init__.__globals__
    yield from (*statistics["_MEANS"], *statistics["_LARGEST"], *statistics["_SMALLEST"])
    yield from _literals()


def _literals() -> Iterator[str]:
    """What stands in the code as it is, in files that are no readers, with names put in."""
    for path in PACKAGE.rglob("*.py"):
        if str(path.relative_to(PACKAGE)) in (*READERS, *NAMESPACES, "report/metrics.py"):
            continue
        for node in ast.walk(parsed(path)):
            match node:
                case ast.Dict(keys=keys):
                    yield from filter(None, map(_name, keys))
                case ast.DictComp(key=key):
                    yield from filter(None, [_name(key)])
                case ast.Assign(targets=[ast.Subscript(slice=key), *_]):
                    yield from filter(None, [_name(key)])


def _name(node: ast.expr | None) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            found = text
        case ast.JoinedStr(values=parts):
            found = "".join(p.value if isinstance(p, ast.Constant) else "x" for p in parts)
        case _:
            return None
    return found if "/" in found and found.partition("/")[0] in ROOTS else None


def read() -> Iterator[tuple[str, str]]:
    """Paths, or their beginnings, with a pattern for what is put in."""
    for name in READERS:
        text = (PACKAGE / name).read_text(encoding="utf-8")
        for literal in re.findall(r'"([a-z_]+/[A-Za-z_{}/]+)"', text):
            if literal.partition("/")[0] in ROOTS:
                yield name, re.sub(r"\\\{\w*\\\}", "[^/]+", re.escape(literal))


def test_every_metric_that_is_written_is_in_the_table(ranks: Ranks):
    assert sorted({name for name in written(ranks) if entry_of(name) is None}) == []


def test_every_metric_of_the_table_is_written(ranks: Ranks):
    found = {entry_of(name) for name in written(ranks)}
    alone = {name for name in METRICS if "/" not in name}  # held by the run below
    assert set(METRICS) - found - alone - {"eval/{benchmark}/{score}/{part}"} == set()


def test_every_metric_that_is_read_is_written():
    found = list(read())
    assert len(found) > 30
    known = [
        (file, name) for file, name in found if any(re.match(f"{name}(/|$)", x) for x in METRICS)
    ]
    assert [each for each in found if each not in known] == []


@pytest.mark.parametrize("name", ["rewards//mean", "advantage/none", "judge", "x", "timing/a/b"])
def test_what_is_no_metric_has_no_entry(name: str):
    assert entry_of(name) is None


def test_names_of_criteria_may_hold_slashes():
    assert entry_of("rewards/quality/axis/accuracy/mean") == "rewards/{reward}/mean"
    assert entry_of("judge/quality/failures/timed_out") == "judge/{judged}/failures/{reason}"


def test_the_command_prints_names_with_sentences():
    found = CliRunner().invoke(app, ["metrics", "taylor"])
    assert found.exit_code == 0
    name = "advantage/taylor_residual"
    assert found.output.splitlines()[:2] == [name, f"    {METRICS[name]}"]
