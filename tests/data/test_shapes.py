"""Rows in the shapes of public data sets are read, or refused by a sentence that names the way out.

All content is invented. The table is printed by

    pytest tests/data/test_shapes.py -n 0 -s
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from rvpo.config.data import Source
from rvpo.data.sources import load_prompts
from rvpo.errors import DataError
from rvpo.rewards.rubric import RubricReward
from rvpo.types import Prompt

Row = Mapping[str, Any]
Turns = Sequence[tuple[str, str]]

QUESTION = "My knee hurts after a run. What helps?"
ANSWER = "Rest and ice."
USER = {"role": "user", "content": QUESTION}
TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
WRAPPED = {"type": "function", "function": TOOL}
ASKED = (("user", QUESTION),)
GOOD, BAD = "Advises rest.", "Recommends running on."
NUMBERED = f"1. {GOOD} [Hard Rule]\n2. Names ice. [Principle]"


@dataclass(frozen=True)
class Shape:
    """Rows of one public kind, and what a run makes of them."""

    name: str
    rows: Sequence[Row]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Those of the source beside its path."""
    form: str = "jsonl"
    """Ending of the file."""
    turns: Turns = ASKED
    """(role, text) of each message of the first prompt."""
    tools: Sequence[str] = ()
    """Names of its tools."""
    criteria: Sequence[tuple[str, str, float]] | None = None
    """(text, polarity, points) of its criteria; None where it brings none."""
    column: str = "rubric"
    """The column that a rubric is told to read."""
    refused: str = ""
    """Part of the sentence by which it is refused; empty where it is read."""


def chat(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in turns]


SYSTEM = (("system", "Be brief."), *ASKED)
TWO = ((GOOD, "positive", 5.0), (BAD, "negative", 3.0))
CALLED = [
    USER,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "name": "weather", "content": "Dry."},
]

PROMPTS = [
    Shape("GSM8K", [{"question": QUESTION, "answer": "2 #### 2"}], {"prompt_column": "question"}),
    Shape(
        "GSM8K, prompt column not named",
        [{"question": QUESTION, "answer": "2 #### 2"}],
        refused="has no column 'prompt', it has question, answer",
    ),
    Shape(
        "verl",
        [
            {
                "data_source": "x",
                "prompt": [USER],
                "ability": "care",
                "reward_model": {"style": "rule", "ground_truth": ANSWER},
                "extra_info": {"split": "train", "index": 0},
            }
        ],
        form="parquet",
    ),
    Shape("TRL, prompt-only", [{"prompt": QUESTION}]),
    Shape("TRL, conversational", [{"prompt": [USER]}]),
    Shape("OpenRLHF", [{"input": QUESTION, "label": ANSWER}], {"prompt_column": "input"}),
    Shape(
        "OpenRLHF, messages",
        [{"context_messages": [USER], "label": ANSWER}],
        {"prompt_column": "context_messages"},
    ),
    Shape(
        "verifiers",
        [{"question": QUESTION, "answer": ANSWER, "info": "{}"}],
        {"prompt_column": "question"},
    ),
    Shape(
        "open-instruct RLVR",
        [{"messages": [USER], "ground_truth": ANSWER, "dataset": "care"}],
        {"prompt_column": "messages"},
    ),
    Shape(
        "ms-swift",
        [{"messages": chat(*SYSTEM), "solution": ANSWER}],
        {"prompt_column": "messages"},
        turns=SYSTEM,
    ),
    Shape(
        "SFT, ends with the answer",
        [{"messages": [USER, {"role": "assistant", "content": ANSWER}]}],
        {"prompt_column": "messages"},
        refused="answer_turn=drop to cut the last turn off",
    ),
    Shape(
        "SFT, answer cut off",
        [{"messages": [USER, {"role": "assistant", "content": ANSWER}]}],
        {"prompt_column": "messages", "answer_turn": "drop"},
    ),
    Shape(
        "alpaca",
        [{"instruction": "Answer in one word.", "input": QUESTION, "output": ANSWER}],
        {"prompt_column": ["instruction", "input"]},
        turns=(("user", f"Answer in one word.\n\n{QUESTION}"),),
    ),
    Shape(
        "API-Bank",
        [{"system": "Be brief.", "user": QUESTION, "answer": ANSWER}],
        {"prompt_column": "user", "system_column": "system"},
        turns=SYSTEM,
    ),
    Shape(
        "ShareGPT",
        [{"conversations": [{"from": "human", "value": QUESTION}]}],
        {"prompt_column": "conversations"},
    ),
    Shape(
        "ShareGPT with tools (glaive, hermes)",
        [
            {
                "conversations": [
                    {"from": "system", "value": "Be brief."},
                    {"from": "human", "value": QUESTION},
                    {"from": "function_call", "value": '{"name": "weather", "arguments": {}}'},
                    {"from": "observation", "value": "Dry."},
                ],
                "tools": json.dumps([TOOL]),
            }
        ],
        {"prompt_column": "conversations"},
        turns=(
            *SYSTEM,
            (
                "assistant",
                json.dumps([WRAPPED | {"function": {"name": "weather", "arguments": {}}}]),
            ),
            ("tool", "Dry."),
        ),
        tools=["weather"],
    ),
    Shape(
        "content parts",
        [{"prompt": [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]}],
    ),
    Shape(
        "content parts with an image",
        [{"prompt": [{"role": "user", "content": [{"type": "image", "url": "x.png"}]}]}],
        refused="parts must be text",
    ),
    Shape(
        "NeMo-Gym",
        [
            {
                "responses_create_params": {
                    "input": [USER],
                    "tools": [{"type": "function", **TOOL}],
                },
                "expected_answer": ANSWER,
            }
        ],
        {"prompt_column": "responses_create_params"},
        tools=["weather"],
    ),
    Shape(
        "BFCL",
        [{"id": "simple_0", "question": [[USER]], "function": [TOOL]}],
        {"prompt_column": "question", "tools_column": "function"},
        tools=["weather"],
    ),
    Shape(
        "BFCL, several turns",
        [{"id": "multi_0", "question": [[USER], [USER]], "function": [TOOL]}],
        {"prompt_column": "question"},
        refused="is 2 turns, of which each waits for an answer",
    ),
    Shape(
        "xLAM",
        [{"query": QUESTION, "answers": "[]", "tools": json.dumps([TOOL])}],
        {"prompt_column": "query"},
        tools=["weather"],
    ),
    Shape("tools column", [{"prompt": QUESTION, "tools": [WRAPPED]}], tools=["weather"]),
    Shape(
        "tool turns, content null",
        [{"prompt": CALLED}],
        turns=(
            *ASKED,
            (
                "assistant",
                json.dumps(
                    [
                        {
                            "type": "function",
                            "id": "c1",
                            "function": {"name": "weather", "arguments": {}},
                        }
                    ]
                ),
            ),
            ("tool", "Dry."),
        ),
    ),
    Shape("messages as JSON text, csv", [{"prompt": json.dumps([USER])}], form="csv"),
    Shape("messages as JSON text, parquet", [{"prompt": json.dumps([USER])}], form="parquet"),
    Shape("messages as Python prints them", [{"prompt": repr([USER])}]),
    Shape("jsonl.gz", [{"prompt": QUESTION}], form="jsonl.gz"),
    Shape("tsv", [{"prompt": QUESTION, "answer": "007"}], form="tsv"),
    Shape("json", [{"prompt": QUESTION}], form="json"),
    Shape("ids twice", [{"id": "a", "prompt": QUESTION}, {"id": "a", "prompt": "And ice?"}]),
    Shape("ids of pandas", [{"id": 1.0, "prompt": QUESTION}, {"id": None, "prompt": "And ice?"}]),
]


def rubric(name: str, row: Row, criteria: Sequence[tuple[str, str, float]], **more: Any) -> Shape:
    """Rows of a format that `rubrics` reads."""
    settings = {"format": more.pop("format", name), **more.pop("settings", {})}
    return Shape(name, [row], settings, criteria=criteria, **more)


CHECKED = [{"criterion": GOOD, "points": 5}, {"criterion": BAD, "points": -3}]
TITLED = [
    {"title": "Rest", "description": f"Essential Criteria: {GOOD}", "weight": 5},
    {"title": "Harm", "description": f"Pitfall Criteria: {BAD}", "weight": -3},
]
FORMATS = [
    rubric(
        "healthbench",
        {
            "prompt": [USER],
            "prompt_id": "h",
            "rubrics": [c | {"tags": ["axis:care"]} for c in CHECKED],
        },
        TWO,
    ),
    rubric("rar", {"question": QUESTION, "rubric": TITLED}, TWO, settings={"domain": "medicine"}),
    rubric(
        "rar, under items",
        {"question": QUESTION, "rubric": {"items": TITLED}},
        TWO,
        format="rar",
        settings={"domain": "medicine"},
    ),
    rubric("rubrichub", {"question": QUESTION, "rubrics": CHECKED}, TWO),
    rubric(
        "rubrichub, RuRL",
        {"prompt": [USER], "reward_model": {"rubrics": CHECKED, "style": "rubric"}},
        TWO,
        format="rubrichub",
        form="parquet",
    ),
    rubric(
        "dr_tulu",
        {
            "messages": [USER],
            "ground_truth": json.dumps(
                {
                    "query": QUESTION,
                    "rubrics": [
                        {"title": "Rest", "description": GOOD, "weight": 5},
                        {"title": "Harm", "description": BAD, "weight": -3},
                    ],
                }
            ),
        },
        TWO,
    ),
    rubric(
        "research_rubrics",
        {
            "prompt": QUESTION,
            "sample_id": "r",
            "rubrics": [
                {"criterion": GOOD, "weight": 5.0, "axis": "care"},
                {"criterion": BAD, "weight": -3.0, "axis": "care"},
            ],
        },
        TWO,
    ),
    rubric(
        "prbench",
        {
            "task": "p",
            "prompt_0": QUESTION,
            "rubric": [
                {
                    "id": "1",
                    "title": GOOD,
                    "annotations": {
                        "weight_class": "critically important",
                        "critically_important_weight": 5,
                    },
                },
                {
                    "id": "2",
                    "title": BAD,
                    "annotations": {"weight_class": "detrimental", "detrimental_weight": -3},
                },
            ],
        },
        TWO,
    ),
    rubric(
        "wildchecklists",
        {"prompt": QUESTION, "requirements": f"1) {GOOD} (importance: 80/100)"},
        ((GOOD, "positive", 80.0),),
    ),
    rubric(
        "openrubrics",
        {"instruction": QUESTION, "rubric": NUMBERED},
        ((GOOD, "positive", 1.0), ("Names ice.", "positive", 1.0)),
    ),
    rubric(
        "nemo_gym",
        {
            "responses_create_params": {"input": [USER]},
            "rubric": [{"question": GOOD, "pass_criteria": "YES"}],
        },
        ((GOOD, "positive", 1.0),),
    ),
    rubric(
        "healthbench_professional",
        {
            "id": "p",
            "conversation": {"messages": [USER]},
            "rubric_items": [
                {"criterion_text": GOOD, "points": 5},
                {"criterion_text": BAD, "points": -3},
            ],
        },
        TWO,
    ),
    rubric(
        "healthbench rows as another format",
        {"prompt": [USER]},
        (),
        format="healthbench",
        refused="nothing in",
    ),
]
COLUMNS = [
    Shape(
        "HealthBench through path",
        [{"prompt": [USER], "rubrics": CHECKED}],
        criteria=TWO,
        column="rubrics",
    ),
    Shape(
        "own, criterion and weight",
        [{"prompt": QUESTION, "rubric": [{"criterion": GOOD, "weight": 5}]}],
        criteria=TWO[:1],
    ),
    Shape(
        "own, texts", [{"prompt": QUESTION, "rubric": [GOOD]}], criteria=((GOOD, "positive", 1.0),)
    ),
    Shape(
        "own, points below 0",
        [{"prompt": QUESTION, "rubric": [{"text": BAD, "points": -3}]}],
        criteria=TWO[1:],
    ),
    Shape(
        "verl, inside a column",
        [{"prompt": [USER], "reward_model": {"rubrics": CHECKED}}],
        criteria=TWO,
        column="reward_model.rubrics",
        form="parquet",
    ),
    Shape(
        "inside JSON text",
        [{"prompt": QUESTION, "ground_truth": json.dumps({"rubrics": CHECKED})}],
        criteria=TWO,
        column="ground_truth.rubrics",
    ),
    Shape(
        "JSON text in csv",
        [{"prompt": QUESTION, "rubric": json.dumps(CHECKED)}],
        criteria=TWO,
        form="csv",
    ),
    Shape(
        "numbered text",
        [{"prompt": QUESTION, "rubric": NUMBERED}],
        criteria=((GOOD, "positive", 1.0), ("Names ice.", "positive", 1.0)),
    ),
]
SHAPES = [*PROMPTS, *FORMATS, *COLUMNS]


def written(folder: Path, shape: Shape) -> Path:
    path = folder / f"rows.{shape.form}"
    rows = [dict(row) for row in shape.rows]
    if shape.form == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if shape.form in ("csv", "tsv"):
        text = io.StringIO()
        table = csv.DictWriter(text, list(rows[0]), delimiter="\t" if shape.form == "tsv" else ",")
        table.writeheader()
        table.writerows(rows)
        path.write_text(text.getvalue())
        return path
    if shape.form == "json":
        path.write_text(json.dumps(rows))
        return path
    raw = "\n".join(map(json.dumps, rows)).encode()
    path.write_bytes(gzip.compress(raw) if shape.form.endswith(".gz") else raw)
    return path


def read(folder: Path, shape: Shape) -> Sequence[Prompt]:
    key = "rubrics" if "format" in shape.settings else "path"
    settings = {key: str(written(folder, shape)), **shape.settings}
    return load_prompts(TypeAdapter(Source).validate_python(settings), None, "data.train")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_public_shape_is_read_or_refused_by_name(shape: Shape, tmp_path: Path) -> None:
    print(f"\n{shape.name:40} {'refused by name' if shape.refused else 'read'}", end="")
    if shape.refused:
        with pytest.raises(DataError) as error:
            read(tmp_path, shape)
        assert shape.refused in str(error.value)
        return
    prompts = read(tmp_path, shape)
    assert len(prompts) == len(shape.rows)
    assert len({prompt.id for prompt in prompts}) == len(prompts)
    assert prompts[0].turns == tuple(shape.turns)
    assert [tool["function"]["name"] for tool in prompts[0].tools] == list(shape.tools)
    if shape.criteria is not None:
        found = RubricReward(name="r", form="explicit", column=shape.column).criteria(prompts[0])
        assert [(c.text, c.polarity, c.points) for c in found] == list(shape.criteria)


@pytest.mark.parametrize("pattern", ["", "/*.jsonl", "/part-*.jsonl"])
def test_shards_of_a_folder_are_one_source(pattern: str, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"part-{number}.jsonl").write_text(json.dumps({"prompt": f"{number}?"}))
    source = TypeAdapter(Source).validate_python({"path": f"{tmp_path}{pattern}"})
    texts = [prompt.turns[0][1] for prompt in load_prompts(source, None, "data.train")]
    assert texts == ["0?", "1?", "2?"]
