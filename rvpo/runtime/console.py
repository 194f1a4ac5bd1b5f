"""Rich's console, on which no part of a text is markup."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from rvpo.runtime.terminal import printable


class PlainConsole(Console):
    """A console on which brackets are brackets, and escapes in texts are shown and not sent.

    What is shown is no part of the work: where the reader has gone, a closed terminal or pipe, the
    rest is not shown and the work goes on.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """The text as it is shown, so that tables measure what they will hold."""
        return super().render_str(printable(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Segments of what is shown; those that steer the terminal are rich's own."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text), style)

    def on_broken_pipe(self) -> None:
        """Show nothing more, and say so once where somebody may still read it."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # Python itself writes what is left at its end
        try:
            print("rvpo: nobody reads the output any more; the work goes on", file=sys.stderr)
        except OSError:
            os.dup2(nowhere, sys.stderr.fileno())

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError as error:
            if error.errno != errno.EIO:  # of a terminal that was closed
                raise
            self.on_broken_pipe()
