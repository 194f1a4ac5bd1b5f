"""A stream's prompts follow from the step alone, however often it begins anew."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.config.data import DatasetSource
from rvpo.data.order import PromptStream
from rvpo.data.sources import load_prompts
from rvpo.data.streamed import READ_FIRST, Streamed
from rvpo.errors import DataError
from rvpo.types import Prompt


def is_odd(row: dict[str, Any]) -> bool:
    return row["n"] % 2 == 1


def never(row: dict[str, Any]) -> bool:
    return False


def doubled(row: dict[str, Any]) -> dict[str, Any]:
    row["n"] *= 2  # in place, which must not reach the next epoch
    return row


def write(path: Path, rows: Sequence[Any], packed: bool = False) -> Path:
    text = "\n".join(json.dumps(row) for row in rows).encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    return path


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{n}?", "n": n} for n in range(count)]


def stream(path: Path, said: list[str] | None = None, seed: int = 0, **more: Any) -> Streamed:
    functions = {
        name: f"tests.data.test_streamed:{function}"
        for name, function in more.items()
        if name in ("filter", "map")
    }
    source = DatasetSource(path=str(path), streaming=True, **(more | functions))
    say = None if said is None else said.append
    found = load_prompts(source, None, "data.train", say, seed=seed)
    assert isinstance(found, Streamed)
    return found


def ids(prompts: Sequence[Prompt]) -> list[str]:
    return [prompt.id for prompt in prompts]


@settings(deadline=None, max_examples=25)
@given(
    size=st.integers(1, 30),
    per_step=st.integers(1, 12),
    steps=st.lists(st.integers(0, 12), min_size=1, max_size=5),
    packed=st.booleans(),
    filtered=st.booleans(),
    buffer=st.integers(1, 12),
)
def test_a_step_alone_decides_its_prompts(
    tmp_path_factory: pytest.TempPathFactory,
    size: int,
    per_step: int,
    steps: list[int],
    packed: bool,
    filtered: bool,
    buffer: int,
) -> None:
    path = write(tmp_path_factory.mktemp("rows") / "a.jsonl", numbered(size + 1), packed)
    more = {"buffer": buffer} | ({"filter": "is_odd"} if filtered else {})
    whole = PromptStream(stream(path, **more), per_step, 0)
    visits = list(islice(whole.visits(), 13 * per_step))
    for step in steps:
        expected = visits[step * per_step : (step + 1) * per_step]
        anew = PromptStream(stream(path, **more), per_step, 0)
        assert ids(anew.at(step)) == ids(whole.at(step)) == ids(expected)
    kept = (size + 1) // 2 if filtered else size + 1
    for start in range(0, len(visits) - kept + 1, kept):
        assert len({p.columns["n"] for p in visits[start : start + kept]}) == kept


def test_a_stream_is_the_prompts_that_come_first(tmp_path: Path) -> None:
    found = stream(write(tmp_path / "a.jsonl", numbered(1000)), seed=5)
    assert len(found) == READ_FIRST
    assert ids(found) == ids(list(islice(found.visits(5, 0), READ_FIRST)))
    assert ids(found) != ids(list(islice(found.visits(6, 0), READ_FIRST)))
    assert PromptStream(found, 10, 5).epochs(50) == 0.5
    assert len(stream(write(tmp_path / "b.jsonl", numbered(3)))) == 3


def test_epochs_of_rows_that_must_be_counted_are_told_after_the_first(tmp_path: Path) -> None:
    order = PromptStream(stream(write(tmp_path / "a.jsonl", numbered(8), packed=True)), 4, 0)
    assert order.epochs(1) == 0
    for step in range(3):
        order.at(step)
    assert order.epochs(3) == 1.5


def test_rows_go_through_filter_and_map(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", numbered(6))
    found = stream(path, filter="is_odd", map="doubled")
    expected = {("1", 2), ("3", 6), ("5", 10)}
    visits = list(islice(found.visits(0, 0), 6))
    assert {(p.id, p.columns["n"]) for p in visits[:3]} == expected
    assert {(p.id, p.columns["n"]) for p in visits[3:]} == expected


def test_prompts_that_do_not_fit_are_left_out(tmp_path: Path) -> None:
    found = stream(write(tmp_path / "a.jsonl", numbered(9)))
    small = found.keeping(lambda prompt: prompt.columns["n"] < 4)
    assert sorted(ids(small)) == ["0", "1", "2", "3"]
    assert sorted(ids(list(islice(small.visits(0, 4), 4)))) == ["0", "1", "2", "3"]
    with pytest.raises(DataError, match="there are no rows that are kept"):
        found.keeping(lambda prompt: False)


def test_what_leaves_nothing_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^data.train: there are no rows that are kept"):
        stream(write(tmp_path / "a.jsonl", numbered(9)), filter="never")
    with pytest.raises(DataError, match=r"^data.train.filter: failed at row \d: KeyError: 'n'"):
        stream(write(tmp_path / "b.jsonl", [{"prompt": "a"}] * 3), filter="is_odd")


def test_among_the_first_rows_what_is_no_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row \d has no column 'prompt'"):
        stream(write(tmp_path / "a.jsonl", [{"prompt": "a"}, {"text": "b"}]))


@pytest.mark.parametrize("packed", [False, True])
def test_later_a_row_that_is_no_prompt_is_said_and_changes_no_other_visit(
    tmp_path: Path, packed: bool
) -> None:
    rows = numbered(READ_FIRST + 20)
    write(tmp_path / "good.jsonl", rows, packed)
    good = ids(list(islice(stream(tmp_path / "good.jsonl").visits(0, 0), len(rows))))
    place = READ_FIRST + 3
    number = int(good[place].rpartition("/")[2])
    rows[number]["prompt"] = None
    write(tmp_path / "bad.jsonl", rows, packed)
    said: list[str] = []
    found = ids(list(islice(stream(tmp_path / "bad.jsonl", said).visits(0, 0), len(rows))))
    assert found[:place] + found[place + 1 :] == good[:place] + good[place + 1 :]
    assert found[place] in good[:READ_FIRST]
    (told,) = (line for line in said if "left out" in line)
    assert told.startswith("data.train: left out a row that is no prompt: data.train")
    assert f"row {number}, 'prompt': is null" in told
