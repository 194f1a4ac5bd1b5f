"""Settings that sources of rows have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rvpo.fields import Float, ImportPath, Section


class SourceSection(Section):
    """A source among others."""

    share: Annotated[Float, Field(gt=0, le=1)] | None = None
    """Share of the prompts of each step that come from this one of several sources to train on. All
    of them have one, or none: then each prompt counts the same, whichever source it is from."""


class StoredSection(SourceSection):
    """A source of rows that lie in files, here or on the Hub."""

    split: str = "train"
    """Split of a Hub dataset; files have one only."""
    subset: str | None = None
    """Configuration of a Hub dataset that has several, as its page calls them."""
    revision: str | None = None
    """Commit, branch or tag of a Hub dataset; its newest state if left out. The commit that was
    read is kept in the run's provenance."""
    filter: ImportPath | None = None
    """`module:function` that is given each row and returns true for those to be kept."""
    map: ImportPath | None = None
    """`module:function` that is given each row that the filter keeps and returns the row to be
    used, a dict."""
