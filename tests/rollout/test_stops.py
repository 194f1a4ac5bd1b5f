"""What ends a completion is told by a model's files and its template, or the run does not start."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from rvpo.errors import ConfigError
from rvpo.rollout.encoder import Encoder
from tests.tiny import TEMPLATE


def changed(model: Path, folder: Path, name: str, values: Mapping[str, Any]) -> Path:
    """A copy of a model with other values in one of its files; None takes one out."""
    shutil.copytree(model, folder)
    file = folder / name
    known = json.loads(file.read_text()) if file.exists() else {}
    kept = {key: value for key, value in {**known, **values}.items() if value is not None}
    file.write_text(json.dumps(kept))
    return folder


def with_template(model: Path, folder: Path, template: str, *tokens: str) -> Path:
    """A copy of a model whose tokenizer has another template, and further tokens."""
    shutil.copytree(model, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(tokens), special_tokens=True)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def read(folder: Path) -> tuple[Encoder, list[str]]:
    said: list[str] = []
    encoder = Encoder.from_model(
        str(folder), trust_remote_code=False, max_context_tokens=None, say=said.append
    )
    return encoder, said


def test_a_model_whose_files_agree_needs_no_word(tiny_model: Path) -> None:
    encoder, said = read(tiny_model)
    assert encoder.stop_ids == (encoder.tokenizer.eos_token_id,)
    assert said == []


@pytest.mark.parametrize("behind", ["<|turn_end|>", "\n<|turn_end|>\n", " <|turn_end|><|bye|>"])
def test_the_token_behind_an_answer_is_a_stop_and_said(
    behind: str, tiny_model: Path, tmp_path: Path
) -> None:
    template = TEMPLATE.replace("<|im_end|>\n", behind)
    folder = with_template(tiny_model, tmp_path / "m", template, "<|turn_end|>", "<|bye|>")
    encoder, said = read(folder)
    tokens = encoder.tokenizer.convert_ids_to_tokens(list(encoder.stop_ids))
    assert set(tokens) == {"<|im_end|>", "<|turn_end|>"}
    assert "ends a turn with '<|turn_end|>'" in said[0]


def test_a_turn_that_ends_in_words_is_said(tiny_model: Path, tmp_path: Path) -> None:
    template = TEMPLATE.replace("<|im_end|>\n", " ### END")
    _, said = read(with_template(tiny_model, tmp_path / "m", template))
    assert "ends a turn with '### END', which is no single token" in said[0]


def test_a_template_that_refuses_the_trial_or_writes_no_end_changes_nothing(
    tiny_model: Path, tmp_path: Path
) -> None:
    for number, template in enumerate(
        [TEMPLATE.replace("<|im_end|>\n", ""), "{{ raise_exception('no') }}", "{{ 1 / 0 }}"]
    ):
        encoder, said = read(with_template(tiny_model, tmp_path / str(number), template))
        assert encoder.stop_ids == (encoder.tokenizer.eos_token_id,)
        assert said == []


@pytest.mark.parametrize("stated", ["<|im_end|>", "2", ["2"], 2.5, True, {"id": 2}])
def test_end_tokens_that_are_no_ids_are_one_sentence(
    stated: Any, tiny_model: Path, tmp_path: Path
) -> None:
    folder = changed(tiny_model, tmp_path / "m", "generation_config.json", {"eos_token_id": stated})
    with pytest.raises(ConfigError, match=r"model\.path: .*generation_config\.json"):
        read(folder)


@pytest.mark.parametrize("stated", [-1, 10**6, [256, -100]])
def test_an_end_token_outside_the_vocabulary_is_left_out_with_a_word(
    stated: Any, tiny_model: Path, tmp_path: Path
) -> None:
    folder = changed(tiny_model, tmp_path / "m", "generation_config.json", {"eos_token_id": stated})
    encoder, said = read(folder)
    assert all(0 <= token < len(encoder.tokenizer) for token in encoder.stop_ids)
    assert "not in the vocabulary: left out" in said[0]


@pytest.mark.parametrize("text", ["[]", "null", "{", '{"max_new_tokens": -1}', '{"top_k": "x"}'])
def test_a_generation_config_that_cannot_be_read_is_one_sentence_or_of_no_account(
    text: str, tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "m"))
    (folder / "generation_config.json").write_text(text)
    with suppress(ConfigError):
        read(folder)


def test_a_model_that_nothing_ends_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "m"))
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"eos_token_id": None}))
    (folder / "generation_config.json").unlink()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = None
    tokenizer.chat_template = TEMPLATE.replace("<|im_end|>\n", "")
    tokenizer.save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"nothing ends a completion .* set eos_token"):
        read(folder)
