"""A criterion that is met only inside a thought is judged not met, whatever the chat template.

The templates here are ours, in the shapes that published ones have. Published ones are not ours to
keep; they are tried from a folder, `.jinja` files at any depth, and the table is printed:

    RVPO_CHAT_TEMPLATES=FOLDER pytest tests/data/test_chat_templates.py -n 0 -s
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from rvpo.criterion import Criterion
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.chat_template import variables
from rvpo.rollout.encoder import Encoder
from rvpo.thinking import HARMONY
from rvpo.types import Prompt, Rollout, Sample
from tests.fakes import FakeJudge, make_prompt, make_sample, only, says
from tests.test_thinking import make_encoder
from tests.tiny import TEMPLATE

CRITERION = "rest"


@dataclass(frozen=True)
class Marks:
    """How a model writes its thought, and its answer behind it."""

    opening: str
    closing: str
    between: str = ""
    ending: str = ""


WORDS = Marks("<think>\n", "\n</think>\n\n")
BRACKETS = Marks("[THINK]", "[/THINK]")
CHANNEL = Marks("<|channel>thought\n", "<channel|>")
ACTION = Marks("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>")
ANALYSIS = Marks(
    "<|channel|>analysis<|message|>",
    "<|end|>",
    "<|start|>assistant<|channel|>final<|message|>",
    "<|return|>",
)
SPECIAL = ["<think>", "</think>", "[THINK]", "[/THINK]", "<|channel>", "<channel|>", "<s>", "</s>"]
SPECIAL += ["<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"]
ASSISTANT = "<|im_start|>assistant\n"
OURS = {
    "sampled": TEMPLATE,
    "opened": TEMPLATE.replace(ASSISTANT, f"{ASSISTANT}<think>\n"),
    "opened, no line end": TEMPLATE.replace(ASSISTANT, f"{ASSISTANT}<think>"),
    "closed": TEMPLATE.replace(ASSISTANT, f"{ASSISTANT}<think>\n\n</think>\n\n"),
    "asked for by the prompt": "Write <think> a thought </think> and an answer.\n" + TEMPLATE,
    "harmony": TEMPLATE.replace(ASSISTANT, "<|start|>assistant{# <|channel|> #}"),
    "harmony, opened": TEMPLATE.replace(ASSISTANT, f"<|start|>assistant{ANALYSIS.opening}"),
    "brackets": TEMPLATE + "{# [THINK] [/THINK] #}",
    "channel": TEMPLATE + "{# <|channel> <channel|> #}",
    "action": TEMPLATE + "{# <|START_THINKING|> <|END_THINKING|> #}",
}
BAR = "\uff5c"
SPOKEN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
FAMILIES: dict[str, tuple[str, Sequence[Mapping[str, Any]]]] = {
    "Qwen3": (
        TEMPLATE.replace(
            ASSISTANT,
            f"{ASSISTANT}{{% if enable_thinking is defined and enable_thinking is false %}}"
            "<think>\n\n</think>\n\n{% endif %}",
        ),
        [{}, {"enable_thinking": True}, {"enable_thinking": False}],
    ),
    "DeepSeek-R1's distillations": (
        TEMPLATE.replace(
            SPOKEN, f"<{BAR}{{{{ m.role }}}}{BAR}>{{{{ m.content.split('</think>')[-1] }}}}"
        ).replace(ASSISTANT, f"<{BAR}Assistant{BAR}><think>\n"),
        [{}],
    ),
    "SmolLM3": (
        "{% if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}"
        "{% if messages[0].role == 'system' %}{% set own = messages[0].content %}"
        "{% if '/no_think' in own %}{% set enable_thinking = false %}{% endif %}{% endif %}"
        "Mode: {{ '/think' if enable_thinking else '/no_think' }}\n"
        "{% if enable_thinking %}Write <think> a thought </think> and then an answer.\n{% endif %}"
        + TEMPLATE.replace(
            ASSISTANT,
            f"{ASSISTANT}{{% if not enable_thinking %}}<think>\n\n</think>\n{{% endif %}}",
        ),
        [{}, {"enable_thinking": True}, {"enable_thinking": False}],
    ),
    "gpt-oss": (
        "{% if effort is not defined %}{% set effort = 'medium' %}{% endif %}"
        "<|start|>system<|message|>Effort: {{ effort }}. Channels: analysis, final.<|end|>"
        + TEMPLATE.replace(
            SPOKEN, "<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>"
        ).replace(ASSISTANT, "<|start|>assistant{# <|channel|>analysis<|message|> #}"),
        [{}, {"effort": "low"}],
    ),
}
"""Templates of ours in the shapes of four families, and values for their variables."""
FOLDER = os.environ.get("RVPO_CHAT_TEMPLATES", "")
PUBLISHED = {path.stem: path for path in sorted(Path(FOLDER).rglob("*.jinja"))} if FOLDER else {}


def marks_of(template: str) -> Marks:
    """By what the template mentions; the commonest where it mentions none."""
    known = {
        "<|channel|>": ANALYSIS,
        "<|channel>": CHANNEL,
        "[THINK]": BRACKETS,
        "<|START_THINKING|>": ACTION,
    }
    return next((marks for sign, marks in known.items() if sign in template), WORDS)


def completions(marks: Marks, prompt_end: str) -> dict[str, tuple[str, bool]]:
    """Texts as a model samples them behind a prompt, and whether their answer meets the
    criterion."""
    opened = prompt_end.rstrip().endswith(marks.opening.rstrip())
    begin = "" if opened else marks.opening
    end, last = marks.closing + marks.between, marks.ending
    thought = "The rubric may ask for rest, so I could say rest."
    quoted = f'Then I write "{marks.closing.strip()}" and the answer: rest.'
    said = {
        "thought, then answer": (f"{begin}{thought}{end}Sleep.{last}", False),
        "met in both": (f"{begin}{thought}{end}Take a rest.{last}", True),
        "met in the answer": (f"{begin}Sleep?{end}Take a rest.{last}", True),
        "unfinished": (f"{begin}{thought}", False),
        "unfinished, a word": (f"{begin}rest", False),
        "empty thought": (f"{begin}{end}Sleep.{last}", False),
        "quoted by the answer": (
            f"{begin}{thought}{end}Write {marks.opening.strip()} and sleep.{last}",
            False,
        ),
        "met beside a quote": (
            f"{begin}Sleep?{end}Write {marks.opening.strip()} and rest.{last}",
            True,
        ),
    }
    if marks is not ANALYSIS:  # a channel of harmony has no closing marker to quote
        said["quoted by the thought"] = (f"{begin}{thought} {quoted}{end}Sleep.{last}", False)
        said["written twice"] = (f"{marks.opening}{thought}{end}Sleep.{last}", False)
    if prompt_end.rstrip().endswith(marks.closing.strip()):
        said["plain"] = ("Sleep.", False)
        said["plain, met"] = ("Take a rest.", True)
    return said


def sampled(encoder: Encoder, prompt: Prompt, prompt_ids: tuple[int, ...], text: str) -> Sample:
    ids = tuple(encoder.tokenizer(text, add_special_tokens=False)["input_ids"])
    decoded = encoder.decode(ids)
    return replace(
        make_sample(prompt, decoded),
        prompt_ids=prompt_ids,
        completion_ids=ids,
        parts=encoder.split(prompt_ids, decoded),
    )


def met(sample: Sample) -> bool:
    rubric = RubricReward(
        name="care", form="channels", fixed={CRITERION: Criterion(text=CRITERION)}
    )
    suite = RewardSuite([rubric])
    suite = suite.judged_by(only(FakeJudge(says)))
    return bool(suite(Rollout(samples=(sample,), group_size=1)).rewards.values.item() > 0)


def table(
    model: Path,
    template: str,
    special: Sequence[str],
    system: str = "",
    values: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, tuple[bool, bool]]:
    """Of each shape of completion, what the judge finds and what is right.

    Args:
        values: those of the template's variables.
    """
    encoder = make_encoder(model, template, [*special, *HARMONY], **values)
    encoder = replace(encoder, max_context_tokens=8192)
    prompt = make_prompt()
    if system:
        own = ({"role": "system", "content": system}, *prompt.messages)
        prompt = replace(prompt, messages=own)
    prompt_ids = encoder.encode(prompt)
    end = encoder.tokenizer.decode(prompt_ids[-64:], skip_special_tokens=False)
    return {
        shape: (met(sampled(encoder, prompt, prompt_ids, text)), right)
        for shape, (text, right) in completions(marks_of(template), end).items()
    }


@pytest.mark.parametrize("special", [SPECIAL, ["<s>", "</s>"]], ids=["special", "text"])
@pytest.mark.parametrize("name", OURS)
def test_what_is_met_only_in_a_thought_is_not_met(
    name: str, special: list[str], tiny_model: Path
) -> None:
    found = table(tiny_model, OURS[name], special)
    assert {shape: met for shape, (met, _) in found.items()} == {
        shape: right for shape, (_, right) in found.items()
    }


@pytest.mark.parametrize("special", [SPECIAL, ["<s>", "</s>"]], ids=["special", "text"])
@pytest.mark.parametrize("family", FAMILIES)
def test_whatever_the_values_of_a_template_a_thought_meets_nothing(
    family: str, special: list[str], tiny_model: Path
) -> None:
    template, every = FAMILIES[family]
    assert encoded(tiny_model, template, every, special) == len({str(v) for v in every[-2:]})
    for values in every:
        found = table(tiny_model, template, special, values=values)
        assert {shape: met for shape, (met, _) in found.items()} == {
            shape: right for shape, (_, right) in found.items()
        }


def encoded(
    model: Path, template: str, every: Sequence[Mapping[str, Any]], special: Sequence[str]
) -> int:
    """Different sequences of token ids that a prompt has, by values of the template's variables."""
    encoders = [make_encoder(model, template, [*special, *HARMONY], **v) for v in every]
    return len({encoder.encode(make_prompt()) for encoder in encoders})


@pytest.mark.skipif(not PUBLISHED, reason="RVPO_CHAT_TEMPLATES names no folder of templates")
@pytest.mark.parametrize("special", [SPECIAL, ["<s>", "</s>"]], ids=["special", "text"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_template_changes_nothing(
    name: str, special: list[str], tiny_model: Path
) -> None:
    template = PUBLISHED[name].read_text()
    found = table(tiny_model, template, special)
    switched: list[Mapping[str, Any]] = [{"enable_thinking": on} for on in (True, False)]
    if "enable_thinking" in variables(template, name):
        assert encoded(tiny_model, template, switched, special) == 2
        for values in switched:
            more = table(tiny_model, template, special, values=values)
            found |= {f"{shape}, {values}": value for shape, value in more.items()}
    if "/no_think" in template:
        unthinking = table(tiny_model, template, special, "/no_think")
        found |= {f"{shape}, /no_think": value for shape, value in unthinking.items()}
    wrong = [shape for shape, (met, right) in found.items() if met != right]
    kind = "text" if special == ["<s>", "</s>"] else "special"
    print(f"\n{name} | {kind} | judged {len(found)} | wrong: {', '.join(wrong) or 'none'}")
    assert wrong == []
