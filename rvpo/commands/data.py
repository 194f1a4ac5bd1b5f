"""Show the data of a run as it reads them: counts, lengths, examples, criteria, overlaps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rvpo.commands.needs import of_data
from rvpo.config.run import RunConfig
from rvpo.data.histogram import Lengths
from rvpo.data.survey import Pairs
from rvpo.errors import ConfigError
from rvpo.plan.overview import CriteriaCount, Example, Overview, SourceView, overview
from rvpo.report.run_folder import write_text
from rvpo.runtime.extras import Need, require
from rvpo.runtime.ignore import ignore

_BAR: Final = 40
"""Characters of the longest bar of a histogram."""


def look(config: RunConfig, examples: int, html: Path | None) -> tuple[list[str], bool]:
    """Read the data of a run, and write a page of them if asked for.

    Args:
        examples: prompts of each source that are shown.
        html: file of the page.

    Returns:
        The lines to be printed, and True where a run with these data can start.

    Raises:
        ConfigError: packages are not installed that read the data or write the page.
        CheckpointError: the page cannot be written.
    """
    require("rvpo data", *of_data(config), *([] if html is None else [Need("report")]))
    if html is not None and html.is_dir():
        raise ConfigError(f"--html: {html} is a folder; name a file, such as {html / 'data.html'}")
    found = overview(config, examples, ignore)
    lines = list(_lines(found))
    if html is not None:
        from rvpo.page.data import data_page

        write_text(html, data_page(found), "with another --html FILE")
        lines.append(f"page {html}")
    return lines, not found.problems


def _lines(found: Overview) -> Iterator[str]:
    for source in found.sources:
        yield from _source(source)
        yield ""
    for criteria in found.criteria:
        yield from _criteria(criteria)
    if found.in_both is not None:
        yield f"held out and trained on: {_pairs(found.in_both, 'is')}"
    for finding in found.findings:
        tail = f" | {finding.remedy}" if finding.remedy else ""
        yield f"{finding.state:<8}{finding.part}: {finding.found}{tail}"
    if found.problems:
        yield "A run cannot start with these data."


def _source(source: SourceView) -> Iterator[str]:
    survey = source.survey
    yield f"{source.setting}  {source.path}"
    first = " read first of a stream" if source.is_stream else ""
    yield f"  prompts   {survey.prompts:,}{first}, of which {_pairs(survey.repeated, 'asks')}"
    roles = ", ".join(f"{count:,} {role}" for role, count in survey.roles.items())
    yield (
        f"  messages  {roles}; {survey.several_turns:,} prompts of several turns, "
        f"{survey.with_tools:,} with tools"
    )
    yield from _lengths(source.lengths, survey.prompts)
    for column in survey.columns:
        yield (
            f"  column    {column.name}: {' or '.join(column.types) or 'nothing'} in "
            f"{column.filled:,} rows, such as {column.example}"
        )
    for example in source.examples:
        yield from _example(example, source.lengths.unit)


def _pairs(pairs: Pairs, verb: str) -> str:
    """Words on prompts that ask the same."""
    if not pairs.count:
        return "none asks what another one asks" if verb == "asks" else "none"
    named = ", ".join(f"{one!r} as {other!r}" for one, other in pairs.named)
    more = ", ..." if pairs.count > len(pairs.named) else ""
    what = "ask what an earlier one asks: " if verb == "asks" else ""
    return f"{pairs.count:,} {what}({named}{more})"


def _lengths(lengths: Lengths, prompts: int) -> Iterator[str]:
    some = f" of {lengths.counted:,} of them" if lengths.counted < prompts else ""
    yield (
        f"  {lengths.unit:<9} {lengths.shortest:,} to {lengths.longest:,}{some}, median "
        f"{lengths.median:,.0f}, mean {lengths.mean:,.0f}, 95 % up to {lengths.most:,}"
    )
    most = max(each.count for each in lengths.bins)
    for each in lengths.bins:
        end = "on" if each.end is None else f"to {each.end - 1:,}"
        bar = "#" * -(-_BAR * each.count // most)
        yield f"            {each.start:>7,} {end:<10} {each.count:>9,} {bar}"


def _example(example: Example, unit: str) -> Iterator[str]:
    yield f"  --- prompt {example.id!r}, {example.length:,} {unit}"
    yield from _indented("".join(span.text for span in example.spans))
    for name, value in example.columns.items():
        yield f"      {name} = {value}"
    for reward, criteria in example.criteria.items():
        for each in criteria:
            sign = "+" if each.polarity == "positive" else "-"
            kind = ", ".join(filter(None, (each.label, f"{each.points:g} points", each.axis)))
            yield f"      {reward} {sign} {each.text} ({kind})"


def _indented(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        yield f"  | {line}"


def _criteria(count: CriteriaCount) -> Iterator[str]:
    kinds = [count.polarities, count.classes, count.axes]
    told = "; ".join(
        ", ".join(f"{n:,} {kind}" for kind, n in each.items()) for each in kinds if each
    )
    yield f"rewards.{count.reward}: criteria in {count.prompts:,} prompts: {told or 'none'}"
