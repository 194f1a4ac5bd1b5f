"""The settings of rubric formats: each has its own, and what is wrong with them is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from rvpo.config.run import load_config
from rvpo.errors import ConfigError, DataError
from rvpo.rubrics import HealthBenchSource, RarSource, RubricFormat, RubricSource

RUN = Path(__file__).parents[2] / "experiments" / "quickstart.yaml"


def source(**settings: Any) -> Any:
    return load_config(RUN, [f"data.train={json.dumps({'rubrics': 'x', **settings})}"]).data.train


def test_the_format_chooses_the_class() -> None:
    assert isinstance(source(format="rar", domain="science"), RarSource)
    assert isinstance(source(format="healthbench"), HealthBenchSource)


@pytest.mark.parametrize("each", get_args(RubricFormat))
def test_a_format_has_a_word_and_the_columns_it_needs(each: type[RubricSource]) -> None:
    assert len(get_args(each.model_fields["format"].annotation)) == 1
    assert each.columns


def test_a_setting_of_another_format_may_be_null_and_nothing_else() -> None:
    assert source(format="healthbench", domain=None) == source(format="healthbench")
    with pytest.raises(ConfigError, match="healthbench' has no such setting \\(rar has\\)"):
        source(format="healthbench", domain="medicine")
    with pytest.raises(ConfigError, match=r"data\.train\.nonsense: no such setting"):
        source(format="healthbench", nonsense=None)
    with pytest.raises(ConfigError, match=r"data\.train\.split: must be text, got nothing"):
        source(format="healthbench", split=None)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "data.train.format: required and not given; choose from rar, healthbench"),
        ({"format": "rarr"}, "data.train.format: 'rarr' is not available; did you mean 'rar'?"),
        ({"format": True}, "data.train.format: true is not available; choose from"),
        ({"format": ["rar"]}, "data.train.format: ['rar'] is not available; "),
        ({"format": "rar"}, "data.train.domain: required and not given: the data set, medicine or"),
        ({"format": "rar", "domain": "law"}, "data.train.domain: 'law' is not available; choose"),
        ({"format": "rar", "domain": 3}, "data.train.domain: 3 is not available; choose from"),
        ({"format": "healthbench", "spilt": "a"}, "data.train.spilt: no such setting; did you"),
    ],
)
def test_what_is_wrong_is_said_with_the_path_that_was_written(
    settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError) as error:
        source(**settings)
    assert sentence in str(error.value)


def test_rows_of_another_format_are_told_which_columns_are_missed(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "Why?", "rubric": []}\n', encoding="utf-8")
    given = HealthBenchSource(rubrics=str(file), format="healthbench")
    with pytest.raises(DataError) as error:
        given.rows("data.train")
    assert str(error.value).endswith(
        "Rows of format healthbench have the columns prompt and rubrics; the first one here has "
        "question, rubric. Give other data, or their data.train.format"
    )
