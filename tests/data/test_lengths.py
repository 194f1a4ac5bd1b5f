"""Prompts that leave no room for a completion are dropped or cut, where the settings say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.run import RunConfig
from rvpo.data.lengths import fitting, room_for_prompts, shortened
from rvpo.data.mixture import Mixture
from rvpo.data.order import PromptStream
from rvpo.data.splits import Splits, read_splits
from rvpo.errors import DataError
from rvpo.rollout.encoder import Encoder
from tests.configs import tiny_config

LENGTHS = (1, 600, 5, 700, 9)


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    return Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": "x" * n}) for n in LENGTHS))
    return path


def settings(train: Any, too_long: str, **data: Any) -> RunConfig:
    return tiny_config(Path("model"), data={"train": train, "too_long": too_long, **data})


def lengths(prompts: Any) -> list[int]:
    return [len(prompt.messages[0]["content"]) for prompt in prompts]


def test_what_is_too_long_is_refused_unless_asked(rows: Path, encoder: Encoder) -> None:
    config = settings({"path": str(rows)}, "refuse")
    prompts = read_splits(config)
    assert fitting(config, prompts, encoder) is prompts
    assert shortened(config, encoder, prompts.every) is encoder
    with pytest.raises(DataError, match="2 of 5 prompts are too long"):
        encoder.check_lengths(prompts.every, config.rollout.max_completion_tokens)


def dropped(config: RunConfig, encoder: Encoder) -> tuple[Splits, list[str]]:
    said: list[str] = []
    return fitting(config, read_splits(config), encoder, said.append), said


def test_dropped_prompts_are_counted_and_the_others_keep_their_ids(
    rows: Path, encoder: Encoder
) -> None:
    source = {"path": str(rows)}
    found, said = dropped(settings(source, "drop", held_out=source), encoder)
    assert lengths(found.train) == lengths(found.held_out) == [1, 5, 9]
    assert [prompt.id for prompt in found.train] == ["0", "2", "4"]
    assert [line.partition(":")[2] for line in said] == [
        " left out 2 of 5 prompts, which have more than the 504 tokens that are left beside a full "
        "completion"
    ] * 2
    assert said[0].startswith(f"data.train ('{rows}')")
    encoder.check_lengths(found.every, 8)


def test_shares_stay_where_prompts_are_dropped(rows: Path, encoder: Encoder) -> None:
    sources = [{"path": str(rows), "share": share} for share in (0.2, 0.8)]
    found, _ = dropped(settings(sources, "drop"), encoder)
    assert isinstance(found.train, Mixture)
    assert found.train.shares.shares == (0.2, 0.8)
    assert lengths(found.train) == [1, 5, 9] * 2


def test_a_stream_leaves_them_out_on_its_way(rows: Path, encoder: Encoder) -> None:
    config = settings({"path": str(rows), "streaming": True}, "drop")
    found, _ = dropped(config, encoder)
    stream = PromptStream(found.train, 6, config.seed)
    assert sorted(lengths(stream.at(1))) == [1, 1, 5, 5, 9, 9]


def test_where_all_are_too_long_it_is_said(tmp_path: Path, encoder: Encoder) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": "x" * 600}))
    with pytest.raises(DataError, match="every prompt has more than the 504 tokens"):
        dropped(settings({"path": str(tmp_path / "a.jsonl")}, "drop"), encoder)


def test_cut_prompts_keep_their_last_tokens(rows: Path, encoder: Encoder) -> None:
    config = settings({"path": str(rows)}, "truncate_left")
    prompts, said = read_splits(config), list[str]()
    cutting = shortened(config, encoder, prompts.every, said.append)
    room = room_for_prompts(config, encoder)
    for prompt in prompts.every:
        assert cutting.encode(prompt) == encoder.encode(prompt)[-room:]
    assert list(cutting.encode_each(prompts.every)) == [cutting.encode(p) for p in prompts.every]
    cutting.check_lengths(prompts.every, config.rollout.max_completion_tokens)
    (told,) = said
    assert told.startswith("data.too_long: 2 of 5 prompts have more than the 504 tokens")
