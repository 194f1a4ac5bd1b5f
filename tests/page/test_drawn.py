"""Pictures of a page's figures."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from rvpo.page.drawn import Drawn
from rvpo.page.panels import DPI, THEMES, Plot, Theme


def draw(theme: Theme) -> Figure:
    figure = Figure(figsize=(2, 1), dpi=DPI)
    figure.subplots().plot([0, 1], color=theme.black)
    return figure


def test_a_file_has_the_light_figure_as_matplotlib_draws_it_on_white(tmp_path: Path) -> None:
    Drawn.of(Plot("Line", "", draw)).save_on_white(tmp_path / "line.png")
    light, buffer = THEMES["light"], io.BytesIO()
    with matplotlib.rc_context(light.rc(**{"savefig.facecolor": "white"})):
        draw(light).savefig(buffer, format="png")
    buffer.seek(0)
    expected, found = imread(buffer), imread(tmp_path / "line.png")
    assert found.shape == expected.shape
    assert (found[..., 3] == 1).all()
    assert np.abs(found - expected).max() < 2 / 255
    assert expected[..., :3].min() < 0.2
