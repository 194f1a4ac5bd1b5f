"""A figure drawn for a page: once in each of its themes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import matplotlib
from matplotlib.image import imread, imsave

from rvpo.page.panels import DPI, THEMES, Plot, Theme
from rvpo.report.picture import plain_texts


@dataclass(frozen=True)
class Drawn:
    """A figure as pictures in PNG, whose ground lets the page through."""

    title: str
    caption: str
    pictures: dict[str, bytes]
    """PNG of each theme, by its name."""

    @classmethod
    def of(cls, plot: Plot) -> Self:
        pictures = {name: _png(plot, theme) for name, theme in THEMES.items()}
        return cls(plot.title, plot.caption, pictures)

    @property
    def light(self) -> str:
        """A URL that holds the picture for a light page."""
        return self._url("light")

    @property
    def dark(self) -> str:
        """A URL that holds the picture for a dark page."""
        return self._url("dark")

    def _url(self, theme: str) -> str:
        return "data:image/png;base64," + base64.b64encode(self.pictures[theme]).decode()

    def save_on_white(self, path: Path) -> None:
        """Write the picture for a light page, on a white ground."""
        pixels = imread(io.BytesIO(self.pictures["light"]), format="png")  # [rows, columns, RGBA]
        opaque = pixels[..., 3:]
        imsave(path, pixels[..., :3] * opaque + (1 - opaque), format="png", dpi=DPI)


def _png(plot: Plot, theme: Theme) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context(theme.rc()), plain_texts():
        plot.draw(theme).savefig(buffer, format="png")
    return buffer.getvalue()
