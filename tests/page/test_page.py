"""The page of runs: whole, offline, and readable whatever the runs went through."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rvpo.config.run import RunConfig, dump_config
from rvpo.errors import ConfigError
from rvpo.page.build import build
from rvpo.page.gold import gold_watch
from rvpo.page.history import read_arms
from rvpo.page.panels import THEMES
from rvpo.report.gold import GoldScores
from rvpo.report.held_out import HeldOutScores
from rvpo.report.run_folder import RunFolder, write_json
from tests.configs import tiny_settings
from tests.fakes import make_scores

REWARDS = [f"criterion {n}" for n in range(17)]


def make_run(
    folder: Path, *, rewards: int = 17, seed: int = 0, steps: int = 12, outage: bool = False
) -> RunFolder:
    """A run with rewards, some of them missing; during an outage nothing was judged. Each reward
    has a panel in most figures, and drawing those is what takes long."""
    names = REWARDS[:rewards]
    settings = tiny_settings(Path("model"), folder, seed=seed)
    config = RunConfig.model_validate(settings)
    run = RunFolder.create(folder, dump_config(config), {})
    chance = np.random.default_rng(seed)
    lines = []
    for step in range(1, steps + 1):
        lost = outage and 4 <= step <= 8
        row: dict[str, float] = {"step": step, "timing/step": 1.0, "timing/update": 0.5}
        row |= {"advantage/std": 1.0, "grad_norm": 2.0, "judge/failed_frac": float(lost)}
        if not lost:
            row |= {f"rewards/{name}/mean": float(chance.random()) for name in names}
            row |= {f"advantage/bottleneck/{name}": 1 / rewards for name in names}
        lines.append(json.dumps(row))
    run.metrics.write_text("".join(line + "\n" for line in lines))
    rows = [sample(n, chance, steps, names) for n in range(40)]
    run.samples.mkdir()
    path = run.samples / f"step-{steps:06d}.rank-0.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for step in (0, steps):
        write_json(run.evaluation(step), held_out(chance, names).to_json())
    return run


def sample(
    number: int, chance: np.random.Generator, step: int, names: Sequence[str] = REWARDS
) -> dict[str, Any]:
    missing = names[number % len(names)]
    z = {name: None if name == missing else float(chance.normal()) for name in names}
    return {
        "step": step,
        "prompt_id": str(number // 4),
        "prompt": [{"role": "user", "content": "<b>bold?</b> " * 3}],
        "completion": "</pre><script>alert(1)</script> " + "word " * 30,
        "scores": {name: None if x is None else 0.5 for name, x in z.items()},
        "z": z,
        "failures": {missing: "http 500"},
        "remarks": {
            names[0]: {"question": "Is it kind?", "answer": "met", "reason": "it says <so>"}
        },
        "advantage": float(chance.normal()),
        "trained": True,
    }


def held_out(chance: np.random.Generator, names: Sequence[str] = REWARDS) -> HeldOutScores:
    values = chance.random((5, 4, len(names)))
    values[0, :, -1] = np.nan
    return HeldOutScores(
        reward_names=tuple(names),
        prompt_ids=tuple("abcde"),
        means=np.nanmean(np.where(np.isfinite(values), values, 0.5), axis=1),
        failed=np.zeros(len(names)),
        columns=tuple(names),
        values=values,
    )


class Reader(HTMLParser):
    """What of a page would be fetched, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "source", "br"):
            self.open.append(tag)
        self.fetched += [
            value
            for name, value in attributes
            if name in ("src", "srcset", "href") and value and not value.startswith(("data:", "#"))
        ]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("page")
    for arm in ("grpo", "rvpo"):
        for seed in range(2):
            make_run(folder / arm / f"seed-{seed}", seed=seed, outage=arm == "rvpo")
    written, pictures = build([folder], folder / "report.html")
    assert all(picture.stat().st_size > 1000 for picture in pictures)
    return folder, written.read_text(encoding="utf-8")


def test_a_page_fetches_nothing(page: tuple[Path, str]) -> None:
    reader = Reader(page[1])
    assert reader.fetched == []
    assert reader.open == []
    assert reader.tags.count("script") == 1
    assert "@import" not in page[1]


def test_a_page_shows_what_was_written_as_text(page: tuple[Path, str]) -> None:
    assert "<script>alert" not in page[1]
    assert "&lt;script&gt;alert(1)" in page[1]
    assert "it says &lt;so&gt;" in page[1]


def test_every_figure_is_there_for_light_and_dark(page: tuple[Path, str]) -> None:
    figures = re.findall(r"<figure.*?</figure>", page[1], re.DOTALL)
    assert len(figures) == 8
    for figure in figures:
        assert figure.count("data:image/png;base64,") == 2
        caption = re.search(r"<figcaption>(.*?)</figcaption>", figure, re.DOTALL)
        assert caption is not None
        assert "2 runs an arm" in caption.group(1)
    assert sum("band: from the lowest to the highest" in figure for figure in figures) >= 4


def test_samples_can_be_sorted_by_their_worst_reward(page: tuple[Path, str]) -> None:
    worst = [float(x) for x in re.findall(r'data-worst="([^"]+)"', page[1])]
    assert len(worst) == 2 * 24
    assert min(worst) < -1
    assert "http 500" in page[1]


def test_arms_are_the_folders_of_their_seeds(page: tuple[Path, str]) -> None:
    arms = read_arms([page[0]])
    assert [(arm.name, len(arm.runs)) for arm in arms] == [("grpo", 2), ("rvpo", 2)]
    steps, values = arms[1].curve("rewards/criterion 0/mean")
    assert values.shape == (2, 12)
    assert np.isnan(values[:, 3:8]).all()  # the outage
    assert steps.tolist() == list(range(1, 13))


def test_a_single_run_of_one_step_has_a_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "alone", steps=1, rewards=3)
    written, _ = build([run.path], tmp_path / "alone.html")
    assert "1 run" in written.read_text()


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        read_arms([tmp_path])


def test_the_gap_between_two_judges_has_its_curves(tmp_path: Path) -> None:
    for seed in range(2):
        run = make_run(tmp_path / "watched" / f"seed-{seed}", seed=seed, rewards=2)
        for step, kind in ((0, 1.0), (6, 0.0), (12, None)):
            training = make_scores([[1.0, 0.0]] * 2, ["judged/kind", "judged/rude"])
            gold = make_scores([[kind, 0.0]] * 2, ["judged/kind", "judged/rude"])
            look = GoldScores.of(training, gold, ["p"], "gold")
            write_json(run.gold_scores(step), look.to_json())
    drawn = {plot.title: plot for plot in gold_watch(read_arms([tmp_path]))}
    assert list(drawn) == ["Training judge and gold judge", "The gap between the judges"]
    gap = drawn["The gap between the judges"]
    assert "training judge's mean score less that of gold" in gap.caption
    kind, _ = gap.draw(THEMES["light"]).axes
    lines = [line.get_ydata().tolist() for line in kind.get_lines()]
    assert lines[0] == [0.0, 1.0]  # no gap where nobody knows it
    assert kind.get_title(loc="left") == "judged/kind"


def test_a_run_without_a_gold_judge_has_no_such_curves(page: tuple[Path, str]) -> None:
    assert gold_watch(read_arms([page[0]])) == []
