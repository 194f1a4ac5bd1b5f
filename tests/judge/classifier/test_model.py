"""A classifier reads an input whole, or refuses it, and gives transformers' own scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    RobertaConfig,
)

from rvpo.errors import ConfigError
from rvpo.judge.classifier.model import Classifier, InputRefused, Loading
from tests.classifiers import save_tiny_classifier
from tests.tiny import save_tiny_model

CHAT = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}]
PAD = "<|pad|>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_classifier(tmp_path_factory.mktemp("guard"), pad_token=PAD)


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Classifier:
    return Classifier.load(Loading(str(folder)))


def test_the_scores_are_those_of_transformers(folder: Path, classifier: Classifier) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer.apply_chat_template(CHAT, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = AutoModelForSequenceClassification.from_pretrained(folder)(ids).logits[0]
    (found,) = classifier.logits([classifier.tokens({"messages": CHAT})])
    assert found == pytest.approx(logits.tolist(), abs=1e-6)
    assert classifier.probabilities(found) == pytest.approx(logits.softmax(-1).tolist(), abs=1e-6)
    assert list(classifier.labels.values()) == ["safe", "unsafe"]


def test_inputs_of_several_lengths_have_the_same_scores_together(classifier: Classifier) -> None:
    inputs = [classifier.tokens({"input": "word " * count}) for count in (1, 9, 4)]
    together = classifier.logits(inputs)
    alone = [classifier.logits([each])[0] for each in inputs]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_a_pair_is_read_as_a_pair(classifier: Classifier) -> None:
    ids = [
        classifier.tokens(fields)["input_ids"]
        for fields in ({"input": "a", "text_pair": "b"}, {"input": "a"}, {"input": "b"})
    ]
    assert ids[0] == ids[1] + ids[2]


@pytest.mark.parametrize("length", [256, 257])
def test_an_input_is_read_whole_or_refused_with_its_length(
    classifier: Classifier, length: int
) -> None:
    if length == 256:
        assert len(classifier.tokens({"input": "x" * length})["input_ids"]) == 256
        return
    with pytest.raises(InputRefused, match="too long: 257 tokens, and the classifier reads 256"):
        classifier.tokens({"input": "x" * length})


def test_an_input_without_tokens_is_refused(classifier: Classifier) -> None:
    with pytest.raises(InputRefused, match="no tokens"):
        classifier.tokens({"input": ""})


def test_a_conversation_that_the_template_does_not_take_is_refused(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = "{{ raise_exception('no system turns') }}"
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with pytest.raises(InputRefused, match="no system turns"):
        Classifier(model, tokenizer).tokens({"messages": CHAT})


@pytest.mark.parametrize(
    ("labels", "problem", "given", "expected"),
    [
        (("a", "b"), None, [0.0, 0.0], [0.5, 0.5]),
        (("a", "b"), "single_label_classification", [0.0, 0.0], [0.5, 0.5]),
        (("a", "b"), "multi_label_classification", [0.0, 100.0], [0.5, 1.0]),
        (("a",), None, [0.0], [0.5]),
        (("a",), "regression", [7.0], [7.0]),
    ],
)
def test_a_probability_is_what_the_model_was_trained_to_give(
    folder: Path, labels: Any, problem: str | None, given: list[float], expected: list[float]
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.config.id2label = dict(enumerate(labels))
    model.config.problem_type = problem
    classifier = Classifier(model, AutoTokenizer.from_pretrained(folder))
    assert classifier.probabilities(given) == pytest.approx(expected)


def test_a_language_model_is_not_taken_for_a_classifier(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no trained classifier: .* score\.weight"):
        Classifier.load(Loading(str(save_tiny_model(tmp_path))))


def test_a_pickle_is_read_only_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = str(save_tiny_classifier(tmp_path, safe=False))
    with pytest.raises(OSError, match="safetensors"):
        Classifier.load(Loading(folder))
    assert Classifier.load(Loading(folder, allow_pickle=True)).labels


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    folder = save_tiny_classifier(tmp_path)
    ran = tmp_path / "ran"
    (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')\n")
    settings = (folder / "config.json").read_text()
    mapped = settings.replace("{", '{"auto_map": {"AutoConfig": "code.Its"},', 1)
    (folder / "config.json").write_text(mapped.replace('"llama"', '"of_its_own"'))
    with pytest.raises((ValueError, OSError)):
        Classifier.load(Loading(str(folder)))
    assert not ran.exists()


def test_a_tokenizer_that_cuts_off_or_pads_by_its_own_settings_does_neither(tmp_path: Path) -> None:
    folder = save_tiny_classifier(tmp_path, pad_token=PAD)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.enable_truncation(max_length=8)
    tokenizer.backend_tokenizer.enable_padding(length=16, pad_token=PAD)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    classifier = Classifier.load(Loading(str(folder)))
    assert len(classifier.tokens({"input": "x" * 4})["input_ids"]) == 4
    assert len(classifier.tokens({"input": "x" * 100})["input_ids"]) == 100


def test_a_limit_of_ones_own_is_kept(folder: Path) -> None:
    classifier = Classifier.load(Loading(str(folder), max_input_tokens=10))
    with pytest.raises(InputRefused, match="11 tokens, and the classifier reads 10"):
        classifier.tokens({"input": "x" * 11})


@pytest.mark.parametrize("given", [None, 66])
@pytest.mark.parametrize(("kind", "usable"), [(RobertaConfig, 64), (BertConfig, 66)])
def test_positions_that_no_token_can_have_are_not_counted(
    folder: Path, kind: Any, usable: int, given: int | None
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = kind(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=66,
        pad_token_id=1,
    )
    model = AutoModelForSequenceClassification.from_config(config).eval()
    classifier = Classifier(model, tokenizer, given)
    assert len(classifier.logits([classifier.tokens({"input": "x" * usable})])[0]) == 2
    with pytest.raises(InputRefused, match=f"too long: .* the classifier reads {usable}"):
        classifier.tokens({"input": "x" * (usable + 1)})
