"""Prompts are packed, made when asked for, and read as tokens where a run may visit them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.config.data import DatasetSource
from rvpo.data.order import PromptStream
from rvpo.data.packed import Joined, Prompts
from rvpo.data.sources import load_prompts
from rvpo.data.splits import Splits
from rvpo.data.visited import visited
from rvpo.rollout.encoder import Encoder
from rvpo.trainer.digest import TokenDigest
from rvpo.types import Prompt
from tests.configs import tiny_config
from tests.fakes import make_prompt

VALUES = st.one_of(
    *(st.none(), st.text(), st.integers(), st.floats(allow_nan=False), st.binary()),
    *(st.dates(), st.decimals(allow_nan=False), st.lists(st.dictionaries(st.text(), st.text()))),
)
ROWS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "id2"]), VALUES), max_size=40)


def prompts_of(rows: Sequence[dict[str, Any]]) -> list[Prompt]:
    text = ({"role": "user", "content": "hi"},)
    return [Prompt(id=str(n), messages=text, columns=row) for n, row in enumerate(rows)]


@settings(deadline=None, max_examples=60)
@given(ROWS, st.booleans(), st.slices(40))
def test_packed_prompts_are_those_that_went_in(
    rows: list[dict[str, Any]], packed: bool, part: slice
) -> None:
    names = dict.fromkeys(name for row in rows for name in row)
    whole = prompts_of([{name: row.get(name) for name in names} for row in rows])
    found = Prompts.of(prompts_of(rows), packed=packed)
    assert (len(found), list(found)) == (len(whole), whole)
    assert [found[place] for place in range(-len(whole), len(whole))] == [*whole, *whole]
    assert found[part] == tuple(whole)[part]
    assert found == whole
    assert Joined((found, (), found))[part] == (*whole, *whole)[part]


def test_what_nests_too_deep_to_be_packed_stays_as_it_is() -> None:
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    (found,) = Prompts.of(prompts_of([{"deep": deep}]))
    assert found.columns["deep"] is deep


def test_a_packed_row_takes_little_more_than_its_text(tmp_path: Path) -> None:
    rows = [{"prompt": f"{n}? ".ljust(300, "x"), "answer": n} for n in range(1000)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = load_prompts(DatasetSource(path=str(path)), None, "data.train")
    blocks = [block for block in found.blocks if isinstance(block, bytes)]
    assert sum(map(len, blocks)) < 1.2 * path.stat().st_size


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(1, 60),
    steps=st.integers(1, 12),
    per_step=st.integers(1, 9),
    many=st.integers(1, 40),
)
def test_every_prompt_that_a_step_visits_is_read_before_it(
    size: int, steps: int, per_step: int, many: int
) -> None:
    train, held_out = prompts_of([{}] * size), (make_prompt("held", "out"),)
    splits = Splits(train=train, held_out=held_out)
    config = tiny_config(Path("model"), Path("run"))
    rollout = config.rollout.model_copy(update={"prompts_per_step": per_step})
    config = config.model_copy(update={"rollout": rollout, "steps": steps})
    read = visited(config, splits, many)
    ids = [prompt.id for prompt in read.every]
    stream = PromptStream(train, per_step, config.seed)
    assert {p.id for step in range(steps) for p in stream.at(step)} | {"held"} <= set(ids)
    assert len(ids) == len(set(ids)) == min(size, max(many, steps * per_step)) + 1 or size <= many
    longer = visited(config.model_copy(update={"steps": steps + 3}), splits, many)
    assert read.fixed == longer.fixed
    assert ids[: read.fixed] == [prompt.id for prompt in longer.every][: read.fixed]
    assert read.fixed is None or len(ids) <= size + 1


def test_many_prompts_are_the_same_tokens_as_each_alone(tiny_model: Path) -> None:
    encoder = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    prompts = [make_prompt(str(n), "é" * n) for n in range(300)]
    assert list(encoder.encode_each(prompts)) == [encoder.encode(prompt) for prompt in prompts]


def test_a_digest_of_the_first_prompts_does_not_know_the_others() -> None:
    digests = [TokenDigest(2), TokenDigest(2), TokenDigest(2), TokenDigest()]
    for digest, rows in zip(digests, ["abc", "abd", "ba", "abc"], strict=True):
        for row in rows:
            digest.add([ord(row)])
    first, alike, other, whole = map(str, digests)
    assert first == alike
    assert len({first, other, whole}) == 3
    assert digests[0].name != digests[3].name


def test_files_with_types_of_their_own_keep_them_packed(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = {"prompt": "1?", "day": date(2024, 2, 29), "price": Decimal("1.50"), "raw": b"\x00"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    (found,) = load_prompts(DatasetSource(path=str(tmp_path / "rows.parquet")), None, "data.train")
    assert found.columns == {name: row[name] for name in ("day", "price", "raw")}
