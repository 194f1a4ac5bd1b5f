"""What `--vary` says."""

from __future__ import annotations

import pytest

from rvpo.compare.arm import parse_arms
from rvpo.errors import ConfigError


def test_names_of_a_section_are_its_arms() -> None:
    arms = parse_arms(["advantage=grpo,gdpo,rvpo"])
    assert [arm.name for arm in arms] == ["grpo", "gdpo", "rvpo"]
    assert arms[2].settings == ("advantage=rvpo",)


def test_numbers_and_tables_name_what_they_set() -> None:
    arms = parse_arms(["advantage={name: rvpo, k: {start: 0.5, end: 2}},gdpo"])
    assert [arm.name for arm in arms] == ["rvpo start=0.5 end=2", "gdpo"]
    assert arms[0].folder == "rvpo_start=0.5_end=2"
    assert parse_arms(["advantage.k=0.5,.inf"])[1].name == "k=inf"


def test_words_are_told_apart_by_what_they_set() -> None:
    masks = "{name: rvpo, dead_groups: mask}, {name: rvpo, dead_channels: mask}"
    names = [arm.name for arm in parse_arms([f"advantage={masks}"])]
    assert names == ["rvpo dead_groups=mask", "rvpo dead_channels=mask"]


def test_several_make_every_combination() -> None:
    arms = parse_arms(["advantage.k=1,2", "update.lr=1e-5,1e-6"])
    assert [arm.folder for arm in arms] == [
        "k=1_lr=1e-05",
        "k=1_lr=1e-06",
        "k=2_lr=1e-05",
        "k=2_lr=1e-06",
    ]


@pytest.mark.parametrize(
    ("vary", "words"),
    [
        ([], "nothing given does not make two"),
        (["advantage=rvpo"], "does not make two different arms"),
        (["advantage=rvpo,rvpo"], "does not make two different arms"),
        (["advantage"], "cannot be read"),
        (["advantage="], "cannot be read"),
        (["advantage=[1"], "cannot be read"),
        (["update.lr=0,1", "update.lr=2,3"], "given twice"),
        (["seed=0,1"], "seeds are counted by --seeds"),
        (["output=a,b"], "sets that itself"),
        (["report.arm=a,b"], "sets that itself"),
        (["advantage.k=1,2", "advantage=grpo,rvpo"], "would replace it"),
        (["advantage=grpo,rvpo", "advantage.k=1,2"], "would replace it"),
    ],
)
def test_what_makes_no_comparison_is_refused(vary: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_arms(vary)
