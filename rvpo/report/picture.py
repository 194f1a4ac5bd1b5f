"""Pictures whose texts are drawn as they are."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib

from rvpo.runtime.terminal import printable


@contextmanager
def plain_texts() -> Iterator[None]:
    """Take no text for a formula while a picture is drawn and saved.

    A character that the font lacks is drawn as a box, which nobody need be warned of.
    """
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ ", category=UserWarning)
        yield


def label(text: str) -> str:
    """A text for a picture; matplotlib leaves out of legends what begins with `_`."""
    shown = printable(text)
    return f" {shown}" if shown.startswith("_") else shown
