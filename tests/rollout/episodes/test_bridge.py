"""What was sampled stays as it is, and the world speaks as the template has it.

Templates here are ours, in the shapes that published ones have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.environments import WorldReply
from rvpo.environments.tool_calls import tool_calls
from rvpo.errors import ConfigError, DataError
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.episodes.check import check_conversations
from rvpo.types import Message, Prompt, Sample
from tests.fakes import make_prompt
from tests.rollout.episodes.scripted import (
    ScriptedSession,
    ScriptedWorld,
    encoder_of,
    engine_of,
)
from tests.tiny import TEMPLATE

TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}
CALL = '<tool_call>\n{"name":"add","arguments":{"a":1}}\n</tool_call>'
SHOWS = "{% if tools %}Tools: {{ tools | tojson }}\n{% endif %}"
ASSISTANT = "<|im_start|>assistant\n"
SPOKEN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
TURN_OF_TOOL = "<|im_start|>user\n<tool_response>\n{}\n</tool_response><|im_end|>\n" + ASSISTANT


def turns(spoken: str, ahead: str = SHOWS, asking: str = ASSISTANT) -> str:
    return (
        f"{ahead}{{% for m in messages %}}{spoken}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{asking}{{% endif %}}"
    )


def by_role(said: str, asked: str, told: str) -> str:
    return (
        f"{{% if m.role == 'assistant' %}}{said}{{% elif m.role == 'tool' %}}{told}"
        f"{{% else %}}{asked}{{% endif %}}"
    )


CALLS_AGAIN = "{% for c in m.tool_calls or [] %}CALL {{ c.function | tojson }}{% endfor %}"
TOLD = "<|im_start|>user\n<tool_response>\n{{ m.content }}\n</tool_response><|im_end|>\n"
QWEN = turns(by_role(f"{ASSISTANT}{{{{ m.content }}}}{CALLS_AGAIN}<|im_end|>\n", SPOKEN, TOLD))
LAST_ASKED = (
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
)
KEPT = "{{ m.content if loop.index0 > ns.last else m.content.split('</think>')[-1].lstrip() }}"
QWEN3 = turns(by_role(f"{ASSISTANT}{KEPT}<|im_end|>\n", SPOKEN, TOLD), ahead=SHOWS + LAST_ASKED)
LLAMA = turns(
    by_role(
        "{% if m.tool_calls %}{% if m.tool_calls | length != 1 %}"
        "{{ raise_exception('one call at once') }}{% endif %}"
        "<|a|>{{ m.tool_calls[0].function | tojson }}<|eot|>"
        "{% else %}<|a|>{{ m.content | trim }}<|eot|>{% endif %}",
        "<|u|>{{ m.content | trim }}<|eot|>",
        "<|t|>{{ m.content | tojson }}<|eot|>",
    ),
    asking="<|a|>",
)
MISTRAL = turns(
    by_role(
        "{% if m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}"
        "{% if c.id is not defined or c.id | length != 9 %}{{ raise_exception('ids of 9') }}"
        "{% endif %}{{ c.function | tojson }}{% endfor %}]</s>"
        "{% else %} {{ m.content }}</s>{% endif %}",
        "[INST] {{ m.content }}[/INST]",
        "{% if m.tool_call_id is not defined or m.tool_call_id | length != 9 %}"
        "{{ raise_exception('ids of 9') }}{% endif %}"
        '[TOOL_RESULTS] {"content": {{ m.content }}, "call_id": "{{ m.tool_call_id }}"}'
        "[/TOOL_RESULTS]",
    ),
    ahead=SHOWS + "{% for m in messages | rejectattr('role', 'equalto', 'tool')"
    " | selectattr('tool_calls', 'undefined') %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}",
    asking="",
)
HARMONY = turns(
    "{% if m.role == 'assistant' %}{% if '<|channel|>' in m.content %}"
    "{{ raise_exception('channels in the content') }}{% endif %}{% if m.tool_calls %}"
    "{% if m.content %}<|start|>assistant<|channel|>analysis<|message|>{{ m.content }}<|end|>"
    "{% endif %}<|start|>assistant to=functions.{{ m.tool_calls[0].function.name }}<|channel|>"
    "commentary json<|message|>{{ m.tool_calls[0].function.arguments | tojson }}<|call|>"
    "{% set ns.called = m.tool_calls[0].function.name %}"
    "{% elif loop.last and not add_generation_prompt %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|return|>"
    "{% else %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|end|>{% endif %}"
    "{% elif m.role == 'tool' %}{% if not ns.called %}{{ raise_exception('no call') }}{% endif %}"
    "<|start|>functions.{{ ns.called }} to=assistant<|channel|>commentary<|message|>"
    "{{ m.content | tojson }}<|end|>"
    "{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}",
    ahead=SHOWS + "{% set ns = namespace(called='') %}",
    asking="<|start|>assistant",
)
GLM = turns(
    by_role(
        "<|assistant|>\n{{ m.content }}",
        "<|user|>\n{{ m.content }}",
        "<|observation|>\n{{ m.content }}",
    ),
    asking="<|assistant|>",
)
WORDY = turns(
    by_role("Bot: {{ m.content }}\n", "User: {{ m.content }}\n", "Tool: {{ m.content }}\n"),
    asking="Bot: ",
)
GEMMA = turns(
    "{% if m.role == 'tool' %}{{ raise_exception('user or assistant') }}{% endif %}" + SPOKEN
)
SILENT = turns("{% if m.role != 'tool' %}" + SPOKEN + "{% endif %}")
FINAL = "<|channel|>final<|message|>"
TO_ADD = "<|channel|>commentary to=functions.add <|constrain|>json<|message|>"
HARMONY_TOKENS = ["<|return|>", "<|call|>", "<|start|>", "<|end|>", "<|channel|>"]
HARMONY_TOKENS += ["<|message|>", "<|constrain|>"]
MISTRAL_TOKENS = ["</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"]


@dataclass(frozen=True)
class Shape:
    """A template, what its model samples, and what has to follow."""

    template: str
    said: str
    """A turn of the policy, with the token that ends it."""
    between: str
    """What stands behind it; {} for the world's words."""
    rewritten: str = ""
    """A part of the difference; empty where there is none."""
    special: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    words: str = "4"
    """The world's."""


SHAPES = {
    "ChatML, user": Shape(
        TEMPLATE, "Hm. <|im_end|>", f"\n<|im_start|>user\n{{}}<|im_end|>\n{ASSISTANT}"
    ),
    "Qwen2.5, tool": Shape(QWEN, f"{CALL}<|im_end|>", "\n" + TURN_OF_TOOL),
    "Qwen3, tool": Shape(QWEN3, f"<think>\na\n</think>\n\n{CALL}<|im_end|>", "\n" + TURN_OF_TOOL),
    "Qwen3, user": Shape(
        QWEN3,
        "<think>\na\n</think>\n\nHm.<|im_end|>",
        f"\n<|im_start|>user\n{{}}<|im_end|>\n{ASSISTANT}",
        rewritten="instead of '<think>",
    ),
    "thought begun by the template": Shape(
        turns(SPOKEN, asking=f"{ASSISTANT}<think>\n"),
        "a\n</think>\n\nHm.<|im_end|>",
        f"\n<|im_start|>user\n{{}}<|im_end|>\n{ASSISTANT}<think>\n",
    ),
    "blank space stripped": Shape(
        TEMPLATE.replace("m.content", "m.content | trim"),
        "Hm.\n\n<|im_end|>",
        f"\n<|im_start|>user\n{{}}<|im_end|>\n{ASSISTANT}",
        rewritten="instead of '\\n",
    ),
    "ended by another token": Shape(
        TEMPLATE,
        "Hm.<|endoftext|>",
        f"\n<|im_start|>user\n{{}}<|im_end|>\n{ASSISTANT}",
        rewritten="'<|im_end|>' instead of '<|endoftext|>'",
        special=("<|im_end|>", "<|endoftext|>"),
        stops=("<|im_end|>", "<|endoftext|>"),
    ),
    "ended by no token": Shape(
        TEMPLATE, "Hm.", f"<|im_end|>\n<|im_start|>user\n{{}}<|im_end|>\n{ASSISTANT}"
    ),
    "Llama 3, tool": Shape(
        LLAMA,
        '{"name": "add", "parameters": {"a": 1}}<|eot|>',
        '<|t|>"{}"<|eot|><|a|>',
        special=("<|eot|>", "<|eom|>"),
        stops=("<|eot|>", "<|eom|>"),
    ),
    "Llama 3, tool, ended as a message": Shape(
        LLAMA,
        '{"name": "add", "parameters": {"a": 1}}<|eom|>',
        '<|t|>"{}"<|eot|><|a|>',
        rewritten="'<|eot|>' instead of '<|eom|>'",
        special=("<|eot|>", "<|eom|>"),
        stops=("<|eot|>", "<|eom|>"),
    ),
    "Mistral, tool": Shape(
        MISTRAL,
        '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}]</s>',
        '[TOOL_RESULTS] {"content": {}, "call_id": "call00000"}[/TOOL_RESULTS]',
        rewritten="instead of",
        special=tuple(MISTRAL_TOKENS),
    ),
    "Mistral, user": Shape(
        MISTRAL, " Hm.</s>", "[INST] {}[/INST]", rewritten="instead of", special=("</s>",)
    ),
    "gpt-oss, tool": Shape(
        HARMONY,
        f'{TO_ADD}{{"a": 1}}<|call|>',
        '<|start|>functions.add to=assistant<|channel|>commentary<|message|>"{}"<|end|>'
        "<|start|>assistant",
        rewritten="channels in the content",
        special=tuple(HARMONY_TOKENS),
        stops=("<|return|>", "<|call|>"),
    ),
    "gpt-oss, user": Shape(
        HARMONY,
        f"{FINAL}Hm.<|return|>",
        "<|start|>user<|message|>{}<|end|><|start|>assistant",
        rewritten="channels in the content",
        special=tuple(HARMONY_TOKENS),
        stops=("<|return|>", "<|call|>"),
    ),
    "GLM, tool": Shape(
        GLM,
        f"\n{CALL}<|observation|>",
        "\n{}<|assistant|>",
        rewritten="instead of",
        special=("<|endoftext|>", "<|user|>", "<|observation|>", "<|assistant|>"),
        stops=("<|endoftext|>", "<|user|>", "<|observation|>"),
    ),
    "words for roles": Shape(WORDY, "Hm.<|im_end|>", "\nUser: {}\nBot: ", rewritten="instead of"),
}


def encoder_for(shape: Shape, model: Path) -> Encoder:
    encoder = encoder_of(model, shape.template, shape.special)
    stops = map(encoder.tokenizer.convert_tokens_to_ids, shape.stops)
    return replace(encoder, stop_ids=tuple(stops) or encoder.stop_ids)


def answering(words: str, tools: bool, rounds: int) -> Callable[[int], ScriptedSession]:
    """A world that says the same so many times, as results of calls or as a user."""

    def opened(number: int) -> ScriptedSession:
        left = [words] * rounds

        async def answer(message: Message) -> WorldReply:
            if not left:
                return WorldReply()
            content = left.pop()
            if not tools:
                return WorldReply(messages=({"role": "user", "content": content},))
            calls = tool_calls(message["content"], ())
            assert [(call.name, call.arguments) for call in calls] == [("add", {"a": 1})]
            said = {**message, "tool_calls": [call.as_message for call in calls]}
            told = {"role": "tool", "name": "add", "content": content}
            return WorldReply(messages=(told,), said=said, calls=1)

        return ScriptedSession(answer)

    return opened


def talked(
    encoder: Encoder,
    said: str | Sequence[str],
    words: str = "4",
    *,
    tools: bool = False,
    rounds: int = 1,
    prompt: Prompt | None = None,
    told: list[str] | None = None,
) -> Sample:
    """The sample of a conversation in which the policy says the same again and again."""
    shown = (TOOL,) if tools else ()
    prompt = replace(prompt or make_prompt(), tools=shown)
    world = ScriptedWorld(answering(words, tools, rounds), shown)
    turns = [said] if isinstance(said, str) else said
    say = (told if told is not None else []).append
    engine = engine_of(encoder, world, lambda row, turn: turns[turn % len(turns)], say)
    (sample,) = engine.generate([prompt], 1, seed=0).samples
    engine.close()
    return sample


def text_of(encoder: Encoder, sample: Sample) -> str:
    text: str = encoder.tokenizer.decode(sample.completion_ids, skip_special_tokens=False)
    return text


@pytest.mark.parametrize("name", SHAPES)
def test_the_world_speaks_as_the_template_has_it_behind_what_was_sampled(
    name: str, tiny_model: Path
) -> None:
    shape, tools = SHAPES[name], "tool" in name
    encoder = encoder_for(shape, tiny_model)
    prompts = [replace(make_prompt(), tools=(TOOL,) if tools else ())]
    check_conversations(encoder, prompts, "tool" if tools else "user", "a model")
    told: list[str] = []
    sample = talked(encoder, shape.said, tools=tools, rounds=1, told=told)
    assert text_of(encoder, sample) == shape.said + shape.between.replace("{}", "4") + shape.said
    assert sample.episode is not None
    assert shape.rewritten in sample.episode.rewritten
    assert bool(shape.rewritten) == bool(sample.episode.rewritten) == bool(told)
    longer = talked(encoder, shape.said, tools=tools, rounds=3)
    assert longer.episode is not None
    assert longer.episode.ending == "answered"
    assert text_of(encoder, longer).count(shape.said) == 4
    again = [turn for turn in longer.episode.turns if turn.is_policy]
    for turn in again:  # of tokens that nobody has tokenized again
        ids = longer.completion_ids[turn.start : turn.stop]
        assert list(ids) == encoder.tokenizer(shape.said, add_special_tokens=False)["input_ids"]


REFUSED = {
    "refuses the role": (GEMMA, "tool", "user or assistant"),
    "shows no results": (SILENT, "tool", "does not show"),
    "refuses a second question": (
        turns("{% if loop.index0 > 1 %}{{ raise_exception('one question') }}{% endif %}" + SPOKEN),
        "user",
        "one question",
    ),
    "leaves out earlier answers": (
        turns("{% if m.role != 'assistant' %}" + SPOKEN + "{% endif %}"),
        "user",
        "leaves out a turn",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_template_without_a_place_for_the_world_is_refused_before_the_run(
    name: str, tiny_model: Path
) -> None:
    template, role, reason = REFUSED[name]
    prompts = [replace(make_prompt(), tools=(TOOL,) if role == "tool" else ())]
    with pytest.raises(ConfigError) as error:
        check_conversations(encoder_of(tiny_model, template), prompts, role, "org/model")
    told = str(error.value)
    assert reason in told
    assert told.startswith("model.path: 'org/model'")
    assert "model.chat_template" in told


def test_a_prompt_without_a_template_is_refused_before_the_run(tiny_model: Path) -> None:
    raw = replace(make_prompt(), text="1 + 2 =", is_raw=True)
    with pytest.raises(DataError, match="text_prompts=raw"):
        check_conversations(encoder_of(tiny_model), [make_prompt(), raw], "user", "a model")


hostile = st.lists(
    st.sampled_from(["<|im_end|>", "<|im_start|>", "assistant\n", "\n", "4", "é", "~1~", "{{ x }}"])
).map("".join)


@given(words=hostile)
@settings(deadline=None, max_examples=25)
def test_control_tokens_in_what_a_world_says_are_data(words: str, tiny_model: Path) -> None:
    encoder = encoder_of(tiny_model, QWEN)
    sample = talked(encoder, f"{CALL}<|im_end|>", words, tools=True, rounds=2)
    assert sample.episode is not None
    for turn in sample.episode.turns:
        if turn.is_policy:
            continue
        ids = sample.completion_ids[turn.start : turn.stop]
        whole = "\n" + TURN_OF_TOOL.replace("{}", words)
        assert encoder.tokenizer.decode(ids, skip_special_tokens=False) == whole
        control = {encoder.tokenizer.eos_token_id, encoder.tokenizer.bos_token_id}
        assert sum(token in control for token in ids) == 3  # the template's own
    assert sample.episode.rewritten == ""


def test_what_begins_an_answer_begins_the_first_turn_alone(tiny_model: Path) -> None:
    encoder = encoder_of(tiny_model)
    heard: list[Any] = []

    async def answer(message: Message) -> WorldReply:
        heard.append(message["content"])
        return WorldReply(messages=() if len(heard) == 2 else ({"role": "user", "content": "4"},))

    world = ScriptedWorld(lambda number: ScriptedSession(answer))
    engine = engine_of(encoder, world, lambda row, turn: "Hm.<|im_end|>")
    prompt = replace(make_prompt(), prefill="Well: ")
    (sample,) = engine.generate([prompt], 1, seed=0).samples
    engine.close()
    assert heard == ["Well: Hm.", "Hm."]
    assert sample.episode is not None
    assert sample.episode.rewritten == ""
    assert sample.seen("everything").count("Well: Hm.") == 1
    assert encoder.tokenizer.decode(sample.prompt_ids).endswith(f"{ASSISTANT}Well: ")


@pytest.mark.parametrize("opened", ["", "<think>\n"])
def test_a_world_hears_no_thoughts_and_no_calls_in_them(opened: str, tiny_model: Path) -> None:
    template = turns(SPOKEN, asking=ASSISTANT + opened)
    heard: list[Message] = []

    async def answer(message: Message) -> WorldReply:
        heard.append(message)
        return WorldReply()

    world = ScriptedWorld(lambda number: ScriptedSession(answer))
    said = f"{'' if opened else '<think>'}Shall I {CALL}?</think>\nNo.<|im_end|>"
    engine = engine_of(encoder_of(tiny_model, template), world, lambda row, turn: said)
    (sample,) = engine.generate([make_prompt()], 1, seed=0).samples
    engine.close()
    assert heard[0]["content"] == "No."
    assert CALL in heard[0]["reasoning_content"]
    assert sample.episode is not None
    assert CALL in sample.episode.messages[0]["content"]
    assert "reasoning_content" not in sample.episode.messages[0]


def test_a_rewriting_is_told_once_a_run(tiny_model: Path) -> None:
    told: list[str] = []
    world = ScriptedWorld(answering("4", False, 2))
    shape = SHAPES["Qwen3, user"]
    engine = engine_of(encoder_for(shape, tiny_model), world, lambda r, t: shape.said, told.append)
    for seed in range(2):
        rollout = engine.generate([make_prompt(), make_prompt("sum/1")], 2, seed=seed)
        assert all(sample.episode and sample.episode.rewritten for sample in rollout.samples)
    engine.close()
    (line,) = told
    assert "sum/" in line
    assert "episodes/rewritten_frac" in line
