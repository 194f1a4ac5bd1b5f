"""`rvpo data --html`: one HTML page of the data of a run."""

from __future__ import annotations

from typing import Any

from rvpo.data.histogram import Bin, Lengths
from rvpo.page.template import rendered
from rvpo.plan.overview import Overview, SourceView


def data_page(found: Overview) -> str:
    """The page as HTML. It needs nothing but a browser."""
    return rendered(
        "data.html.j2",
        title="The data of a run",
        sources=[_source(source) for source in found.sources],
        criteria=found.criteria,
        in_both=found.in_both,
        problems=found.problems,
        notes=[finding for finding in found.findings if finding not in found.problems],
    )


def _source(source: SourceView) -> dict[str, Any]:
    return {
        "view": source,
        "survey": source.survey,
        "lengths": source.lengths,
        "bars": _bars(source.lengths),
    }


def _bars(lengths: Lengths) -> list[dict[str, Any]]:
    """A row for each bin of the histogram."""
    most = max(each.count for each in lengths.bins)
    return [
        {"range": _range(each), "count": each.count, "share": 100 * each.count / most}
        for each in lengths.bins
    ]


def _range(each: Bin) -> str:
    if each.end is None:
        return f"{each.start:,} and more"
    last = each.end - 1
    return f"{each.start:,}" if last == each.start else f"{each.start:,} to {last:,}"
