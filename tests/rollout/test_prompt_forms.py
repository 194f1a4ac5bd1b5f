"""A prompt reaches the model by its template, by one that the settings name, or as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from rvpo.config.model import ModelConfig
from rvpo.config.rollout import RolloutConfig
from rvpo.data.encoder import encoder_of
from rvpo.errors import ConfigError, DataError
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.templates import TEMPLATES
from rvpo.types import Prompt
from tests.fakes import make_prompt, make_sample

CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
CHAT = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Why?"},
)


@pytest.fixture
def base_model(tiny_model: Path, tmp_path: Path) -> Path:
    """A model without a chat template, whose tokenizer begins every text with a token."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = None
    begins = [("<|im_start|>", tokenizer.bos_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=begins
    )
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((tiny_model / "config.json").read_text())
    return tmp_path


def encoder(model: Path, **settings: Any) -> Encoder:
    config = ModelConfig(path=str(model), **settings)
    return encoder_of(config, RolloutConfig(), str(model))


def shown(encoder: Encoder, prompt: Prompt) -> str:
    return str(encoder.tokenizer.decode(encoder.encode(prompt), skip_special_tokens=False))


def chat() -> Prompt:
    return replace(make_prompt(), messages=CHAT)


def test_a_base_model_is_refused_with_the_templates_that_there_are(base_model: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"set model\.chat_template: one of bare, dialogue, chatml"
    ):
        encoder(base_model)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("bare", "<|im_start|>Be brief.\n\nHi\n\nHello<|im_end|>\n\nWhy?"),
        (
            "dialogue",
            "<|im_start|>Be brief.\n\nUser: Hi\n\nAssistant: Hello<|im_end|>\n\nUser: Why?\n\n"
            "Assistant:",
        ),
        (
            "chatml",
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
            "<|im_start|>assistant\n",
        ),
    ],
)
def test_a_template_of_ours_shows_a_chat_to_a_base_model(
    base_model: Path, template: str, text: str
) -> None:
    assert shown(encoder(base_model, chat_template=template), chat()) == text


LOOK = {"type": "function", "function": {"name": "look", "arguments": {"at": "lamp"}}}
WRITTEN = '<tool_call>\n{"name": "look", "arguments": {"at": "lamp"}}\n</tool_call>'
LISTED = (
    "Tools:\nlook(at: string, deep: integer): Looks it up.\nA call: <tool_call>\n"
    '{"name": ..., "arguments": {...}}\n</tool_call><|im_end|>\n'
)


@pytest.mark.parametrize(
    ("system", "begins"),
    [
        (
            [{"role": "system", "content": "Be brief."}],
            "<|im_start|>system\nBe brief.\n\n" + LISTED,
        ),
        ([], "<|im_start|>system\n" + LISTED),
    ],
)
@pytest.mark.parametrize("said", ["", WRITTEN])
def test_tools_and_calls_are_shown_once_by_the_template_that_is_for_them(
    base_model: Path, system: list[Any], begins: str, said: str
) -> None:
    properties = {"at": {"type": "string"}, "deep": {"type": "integer"}}
    tool = {
        "type": "function",
        "function": {
            "name": "look",
            "description": "Looks it up.",
            "parameters": {"type": "object", "properties": properties},
        },
    }
    messages = [
        *system,
        {"role": "user", "content": "Price?"},
        {"role": "assistant", "content": said, "tool_calls": [LOOK]},
        {"role": "tool", "content": "618"},
    ]
    prompt = replace(make_prompt(), messages=tuple(messages), tools=(tool,))
    assert shown(encoder(base_model, chat_template="chatml_tools"), prompt) == (
        f"{begins}<|im_start|>user\nPrice?<|im_end|>\n<|im_start|>assistant\n{WRITTEN}<|im_end|>\n"
        "<|im_start|>tool\n618<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_answer_behind_a_template_of_ours_ends_with_an_end_token(
    base_model: Path, template: str
) -> None:
    said: list[str] = []
    config = ModelConfig(path=str(base_model), chat_template=template)
    made = encoder_of(config, RolloutConfig(), str(base_model), said.append)
    assert made.stop_ids == (made.tokenizer.eos_token_id,)
    assert said == []


def test_a_file_is_the_template_and_goes_with_the_tokenizer(
    tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("{% for m in messages %}[{{ m.content }}]{% endfor %}")
    made = encoder(tiny_model, chat_template=str(file))
    assert shown(made, chat()) == "[Be brief.][Hi][Hello][Why?]"
    made.tokenizer.save_pretrained(tmp_path / "saved")
    saved = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert saved.chat_template == file.read_text()


@pytest.mark.parametrize(
    ("template", "text", "sentence"),
    [
        ("dialog", None, "there is no template 'dialog'; did you mean 'dialogue'?"),
        ("none.jinja", None, "cannot be read (No such file"),
        ("empty.jinja", " ", "is empty"),
        ("broken.jinja", "{% for %}", "is no template of Jinja"),
        ("folder/", None, "cannot be read"),
    ],
)
def test_what_is_no_template_is_one_sentence(
    tiny_model: Path, tmp_path: Path, template: str, text: str | None, sentence: str
) -> None:
    if text is not None:
        (tmp_path / template).write_text(text)
    value = str(tmp_path / template) if "." in template or "/" in template else template
    with pytest.raises(ConfigError) as error:
        encoder(tiny_model, chat_template=value)
    assert str(error.value).startswith("model.chat_template: ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def raw(text: str, **fields: Any) -> Prompt:
    return Prompt(
        id="r", messages=({"role": "user", "content": text},), text=text, is_raw=True, **fields
    )


def test_a_raw_text_is_read_as_the_tokenizer_reads_it(base_model: Path) -> None:
    made = encoder(base_model, chat_template="bare")
    text = "<|im_start|>user\nHi<|im_end|>\n"
    for each in (text, "Hi"):
        own = made.tokenizer(each)["input_ids"]
        begins = own[1:] if own[:2] == [made.tokenizer.bos_token_id] * 2 else own
        assert list(made.encode(raw(each))) == begins
    assert made.tokenizer.eos_token_id in made.encode(raw(text))


def test_a_raw_text_shows_no_tools(tiny_model: Path) -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    with pytest.raises(DataError, match="prompt 'r' has tools, which no template shows"):
        encoder(tiny_model).encode(raw("Hi", tools=(tool,)))


@pytest.mark.parametrize("form", ["template", "raw"])
def test_a_prefill_begins_the_answer(tiny_model: Path, form: str) -> None:
    made = encoder(tiny_model)
    prompt = raw("Hi") if form == "raw" else make_prompt()
    text = shown(made, replace(prompt, prefill="<think>\nLet me"))
    assert text == shown(made, prompt) + "<think>\nLet me"


def test_a_prefill_that_is_there_already_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.prefill: prompt 'r' ends with '<think>' already"):
        encoder(tiny_model).encode(raw("Hi <think>\n", prefill="<think>"))


@pytest.mark.parametrize(
    ("begun", "prefill", "sampled", "thought", "answer", "judged"),
    [
        ("", "<think>\n", "Rest?</think>Sleep.", "Rest?", "Sleep.", "Sleep."),
        ("", "<think>\nSo, ", "Rest?</think>Sleep.", "So, Rest?", "Sleep.", "Sleep."),
        ("<think>\n", "So, ", "Rest?</think>Sleep.", "So, Rest?", "Sleep.", "Sleep."),
        ("", "<think>\nSo, ", "Rest?", "So, Rest?", "", ""),
        ("", "<think>No.</think>", "Sleep.", "", "Sleep.", "Sleep."),
        ("<think>\n", "No.</think>", "Sleep.", "", "Sleep.", "Sleep."),
        ("", "Answer: ", "Sleep.", "", "Sleep.", "Answer: Sleep."),
        ("", '{"a":', " 1}", "", " 1}", '{"a": 1}'),
        ("", "Well. ", "<think>Rest?", "Rest?", "", ""),
    ],
)
def test_a_thought_that_a_prefill_begins_is_no_answer(
    tiny_model: Path,
    begun: str,
    prefill: str,
    sampled: str,
    thought: str,
    answer: str,
    judged: str,
) -> None:
    made = encoder(tiny_model)
    made.tokenizer.chat_template = f"{{{{ messages[0].content }}}}: {begun}"
    prompt = replace(make_prompt(), prefill=prefill)
    ids = made.encode(prompt)
    sample = replace(make_sample(prompt, sampled), parts=made.split(ids, sampled, prefill))
    assert (sample.thought, sample.answer) == (thought, answer)
    assert (sample.sampled("answer"), sample.seen("answer")) == (answer, judged)
    assert (sample.sampled("everything"), sample.seen("everything")) == (sampled, prefill + sampled)


TABLE = "{% for c in m.tool_calls %}{{ c.function.arguments.items() | list }}{% endfor %}"
TEXT = "{% for c in m.tool_calls %}{{ 'call ' + c.function.arguments }}{% endfor %}"


@pytest.mark.parametrize(
    ("calls", "text"), [(TABLE, "[('x', 1)]"), (TEXT, 'call {"x": 1}')], ids=["table", "text"]
)
def test_a_call_reaches_templates_that_take_a_table_and_those_that_take_text(
    tiny_model: Path, calls: str, text: str
) -> None:
    made = encoder(tiny_model)
    made.tokenizer.chat_template = f"{{% for m in messages %}}{calls}{{% endfor %}}"
    called: Mapping[str, Any] = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert shown(made, replace(make_prompt(), messages=(called,))) == text
