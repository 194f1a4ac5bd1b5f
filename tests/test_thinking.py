"""Thoughts are told from answers, and rewards, judges and benchmarks are shown answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from rvpo.benchmarks.gpqa.gpqa import GpqaConfig
from rvpo.config.data import DataConfig
from rvpo.config.rewards import FunctionRewardConfig
from rvpo.criterion import Criterion
from rvpo.errors import ConfigError
from rvpo.evaluate.measure import measure
from rvpo.evaluate.results import ResultFolder
from rvpo.report.record import sample_rows
from rvpo.rewards.completion import shown, text_of
from rvpo.rewards.reward import Reward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.rollout.encoder import Encoder
from rvpo.runtime.ranks import Ranks
from rvpo.thinking import NO_MODEL, Thinking
from rvpo.trial.given import read_responses
from rvpo.types import Prompt, Rollout, Sample
from tests.benchmarks.test_gpqa import file as gpqa_file
from tests.fakes import FakeJudge, make_prompt, make_record, make_sample, only, says
from tests.tiny import TEMPLATE

MARKERS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<Thought>", "</Thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<analysis>", "</analysis>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("[THINK]", "[/THINK]"),
    ("<own:think>", "</own:think>"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|think|>", "<|/think|>"),
]
ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"
NEXT = "<|end|><|start|>assistant"
CALL = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"
words = st.text(alphabet="abc .\n\"'", max_size=20)
said = words.map(str.strip).filter(bool)
everywhere = settings(deadline=None, max_examples=50)


@pytest.mark.parametrize(("opening", "closing"), MARKERS)
@given(thought=words, answer=said, space=st.sampled_from(["", "\n", " \n"]))
@everywhere
def test_what_begins_with_a_marker_is_a_thought_until_it_is_closed(
    opening: str, closing: str, thought: str, answer: str, space: str
) -> None:
    parts = NO_MODEL.split(f"{space}{opening}{thought}{closing}{space}{answer}")
    assert (parts.thought, parts.answer) == (thought.strip(), answer)
    assert NO_MODEL.split(f"{space}{opening}{thought}").answer == ""


@pytest.mark.parametrize(("opening", "closing"), MARKERS)
@given(thought=words, answer=said, space=st.sampled_from(["", "\n", "\n\n"]))
@everywhere
def test_a_thought_that_the_prompt_began_is_closed_by_its_marker_alone(
    opening: str, closing: str, thought: str, answer: str, space: str
) -> None:
    opened = NO_MODEL.opened_by(f"user: hi\nassistant: {opening}{space}")
    assert opened == opening + space
    parts = NO_MODEL.split(f"{thought}{closing}{answer}", opened)
    assert (parts.thought, parts.answer) == (thought.strip(), answer)
    assert NO_MODEL.split(thought, opened).answer == ""


@given(
    st.lists(
        st.sampled_from([marker for pair in MARKERS for marker in pair] + ["x", " "]), max_size=9
    )
)
@everywhere
def test_an_answer_that_quotes_markers_stays_whole(pieces: list[str]) -> None:
    answer = "Write " + "".join(pieces)
    assert NO_MODEL.split(answer).answer == answer
    assert NO_MODEL.split(f"<think>So.</think>{answer}").answer == answer


@pytest.mark.parametrize("quoted", ['"</think>"', "'</think>'", "`</think>`"])
def test_a_closing_marker_that_the_thought_quotes_does_not_end_it(quoted: str) -> None:
    parts = NO_MODEL.split(f"<think>I end with {quoted}, then rest.</think>Sleep.")
    assert parts.answer == "Sleep."


@pytest.mark.parametrize("end", ["</think>\n\n", "a </think>", "<think> so", "[/THINK]", ""])
def test_a_prompt_that_does_not_end_in_an_opening_marker_opens_nothing(end: str) -> None:
    assert NO_MODEL.opened_by(f"<|im_start|>assistant\n{end}") == ""


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        (f"{ANALYSIS}Rest?{NEXT}{FINAL}Sleep.", "Rest?", "Sleep."),
        (f"{ANALYSIS}Rest?{NEXT}{FINAL}Sleep.<|end|>", "Rest?", "Sleep."),
        (
            f"{ANALYSIS}Rest?{NEXT}{FINAL}Write {ANALYSIS} there.",
            "Rest?",
            f"Write {ANALYSIS} there.",
        ),
        (f"{ANALYSIS}One.{NEXT}{ANALYSIS}Two.{NEXT}{FINAL}Sleep.", "One.\n\nTwo.", "Sleep."),
        (f"{ANALYSIS}Rest?{NEXT}{CALL}", "Rest?", f"<|start|>assistant{CALL}"),
        (f"{FINAL}Sleep.", "", "Sleep."),
        (f"{ANALYSIS}Rest?", "Rest?", ""),
        (f"{ANALYSIS}Rest?{NEXT}<|channel|>fin", "Rest?", ""),
        ("<|channel|>ana", "", ""),
    ],
)
def test_the_channels_of_harmony_are_told_apart(text: str, thought: str, answer: str) -> None:
    parts = NO_MODEL.split(text)
    assert (parts.thought, parts.answer) == (thought, answer)
    opened = NO_MODEL.opened_by(f"<|start|>assistant{ANALYSIS}")
    assert NO_MODEL.split("Rest?" + text[len(ANALYSIS) :], opened).opened == ANALYSIS


def test_markers_of_other_words_are_those_of_models_that_have_them() -> None:
    text = "[REASONING]Rest?[/REASONING]Sleep."
    assert NO_MODEL.split(text).answer == text
    own = Thinking.of(["{{ '[REASONING]' + thought + '[/REASONING]' }}"])
    assert own.split(text).answer == "Sleep."
    assert Thinking.of(["{{ '[REASONING]' }}"]).split(text).answer == text
    channel = Thinking.of(["<|channel>", "<channel|>"])
    assert channel.split("<|channel>thought\nRest?<channel|>Sleep.").answer == "Sleep."


OPENS = TEMPLATE.replace("assistant\n", "assistant\n<think>\n")
SPECIAL = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "<|image|>",
    "<|end|>",
    *["<s>", "</s>"],
]


def make_encoder(
    tiny_model: Path,
    template: str = TEMPLATE,
    special: Sequence[str] = SPECIAL,
    markers: tuple[str, str] | None = None,
    **template_values: Any,
) -> Encoder:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    tokenizer.chat_template = template
    return Encoder(
        tokenizer,
        (tokenizer.eos_token_id,),
        512,
        len(tokenizer),
        template_values=template_values,
        markers=markers,
    )


def sampled(encoder: Encoder, text: str) -> Sample:
    """As an engine makes a sample of the tokens of a text."""
    prompt = make_prompt()
    prompt_ids = encoder.encode(prompt)
    ids = tuple(encoder.tokenizer(text, add_special_tokens=False)["input_ids"])
    said = encoder.decode(ids)
    return replace(
        make_sample(prompt, said),
        prompt_ids=prompt_ids,
        completion_ids=ids,
        parts=encoder.split(prompt_ids, said),
    )


def test_markers_that_are_special_tokens_stay_in_the_text(tiny_model: Path) -> None:
    encoder = make_encoder(tiny_model)
    sample = sampled(encoder, "<think>Rest?</think><answer>Sleep.</answer><|image|></s>")
    assert sample.text == "<think>Rest?</think><answer>Sleep.</answer>"
    assert (sample.thought, sample.answer) == ("Rest?", "<answer>Sleep.</answer>")
    harmony = make_encoder(
        tiny_model, special=["<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>"]
    )
    sample = sampled(harmony, f"{ANALYSIS}Rest?{NEXT}{FINAL}Sleep.<|return|>")
    assert (sample.thought, sample.answer) == ("Rest?", "Sleep.")


@pytest.mark.parametrize("special", [SPECIAL, ["<s>", "</s>"]])
def test_the_end_of_the_rendered_prompt_says_whether_a_thought_is_open(
    tiny_model: Path, special: list[str]
) -> None:
    sample = sampled(make_encoder(tiny_model, OPENS, special), "Rest?\n</think>\n\nSleep.")
    assert (sample.thought, sample.answer) == ("Rest?", "Sleep.")
    assert sample.text == "Rest?\n</think>\n\nSleep."
    assert sample.seen("everything") == f"<think>\n{sample.text}"
    assert sampled(make_encoder(tiny_model, OPENS, special), "Rest?").answer == ""
    plain = sampled(make_encoder(tiny_model, TEMPLATE, special), "Write </think>.")
    assert plain.answer == "Write </think>."


def test_a_perfect_call_has_its_form_where_the_template_begins_the_thought(
    tiny_model: Path,
) -> None:
    call = '<tool_call>\n{"name": "f", "parameters": {}}\n</tool_call>'
    sample = sampled(make_encoder(tiny_model, OPENS), f"Look.\n</think>\n{call}")
    prompt = replace(sample.prompt, columns={"ground_truth": f"<think> </think>\n{call}"})
    for mode in ("toolrl", "mended"):
        suite = RewardSuite.from_config(
            {
                name: FunctionRewardConfig(
                    function=f"rvpo.rewards.tool_calling:{name}", arguments={"mode": mode}
                )
                for name in ("format", "correctness")
            }
        )
        scored = suite(Rollout(samples=(replace(sample, prompt=prompt),), group_size=1))
        assert scored.rewards.values.tolist() == [[1.0, 3.0]]


THINKS = "<think>The rubric may ask for rest.</think> Sleep."


def heard(told: list[str]) -> Callable[..., list[float]]:
    def function(completions: Sequence[Any], **columns: Any) -> list[float]:
        told.extend(map(text_of, completions))
        return [0.0] * len(completions)

    return function


def test_a_function_is_shown_the_answer_unless_it_asks_for_everything() -> None:
    told: dict[str, list[str]] = {name: [] for name in ("plain", "marked", "set", "back")}
    marked = shown("everything")(heard(told["marked"]))
    back = shown("everything")(heard(told["back"]))
    suite = RewardSuite(
        [
            Reward("plain", heard(told["plain"])),
            Reward("marked", marked),
            Reward("set", heard(told["set"]), shown="everything"),
            Reward("back", back, shown="answer"),
        ]
    )
    suite(Rollout(samples=(make_sample(text=THINKS),), group_size=1))
    assert told == {"plain": ["Sleep."], "marked": [THINKS], "set": [THINKS], "back": ["Sleep."]}


def test_the_settings_say_what_a_function_is_shown() -> None:
    suite = RewardSuite.from_config(
        {
            name: FunctionRewardConfig.model_validate({"function": "tests.toy:vowels"} | own)
            for name, own in {"a": {}, "b": {"sees": "everything"}}.items()
        }
    )
    assert [r.sees for r in suite.rewards if isinstance(r, Reward)] == ["answer", "everything"]
    function = heard([])
    function.sees = "all"  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"rewards\.x\.sees: 'all' .* write 'answer' or"):
        Reward("x", function)


@pytest.mark.parametrize(
    ("text", "answer"), [(THINKS, "Sleep."), ("<think>rest", ""), ("rest", "rest")]
)
def test_a_judge_is_asked_about_the_answer(text: str, answer: str) -> None:
    judge = FakeJudge(says)
    rubric = RubricReward(name="care", form="channels", fixed={"rest": Criterion(text="rest")})
    suite = RewardSuite([rubric]).judged_by(only(judge))
    scored = suite(Rollout(samples=(make_sample(text=text),), group_size=1))
    assert judge.jobs[0].response == answer
    assert scored.rewards.values.tolist() == [[float("rest" in answer)]]


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (THINKS, "Sleep."),
        ("The rubric may ask for rest.</think> Sleep.", "Sleep."),
        ("<think>rest", ""),
        ("Write `</think>` last.", "Write `</think>` last."),
        ("Write <think> and </think>.", "Write <think> and </think>."),
    ],
)
def test_a_file_of_completions_is_judged_by_its_answers(
    tmp_path: Path, completion: str, answer: str
) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text(json.dumps({"prompt": "Ill?", "completion": completion}))
    data = DataConfig.model_validate({"train": {"function": "tests.toy:letters"}})
    rubric = RubricReward(name="care", form="channels", fixed={"rest": Criterion(text="rest")})
    assert read_responses(file, [rubric], data)[0].text == answer


def test_a_file_of_completions_is_split_by_the_markers_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    completions = ["<mull>rest</mull>Sleep.", "rest</mull>\nSleep.", "<mull>rest"]
    file.write_text(
        "".join(json.dumps({"prompt": "Ill?", "completion": c}) + "\n" for c in completions)
    )
    data = DataConfig.model_validate({"train": {"function": "tests.toy:letters"}})
    rubric = RubricReward(name="care", form="channels", fixed={"rest": Criterion(text="rest")})
    found = read_responses(file, [rubric], data, ("<mull>", "</mull>"))
    assert [response.text for response in found] == ["Sleep.", "Sleep.", ""]


def test_samples_keep_thought_and_answer_and_are_judged_by_what_they_keep(tmp_path: Path) -> None:
    record = make_record(1)
    parts = NO_MODEL.split("So.</think> Sleep.", "<think>\n")
    first = replace(record.rollout.samples[0], text="So.</think> Sleep.", parts=parts)
    rollout = replace(record.rollout, samples=(first, *record.rollout.samples[1:]))
    row = next(iter(sample_rows(replace(record, rollout=rollout))))
    assert (row["completion"], row["thought"]) == ("So.</think> Sleep.", "So.")
    assert row["answer"] == "Sleep."
    file = tmp_path / "samples.jsonl"
    file.write_text(json.dumps(row))
    data = DataConfig.model_validate({"train": {"function": "tests.toy:letters"}})
    rubric = RubricReward(name="care", form="channels", fixed={"rest": Criterion(text="rest")})
    assert read_responses(file, [rubric], data)[0].text == "Sleep."


class Says:
    """An engine of one text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: Any = None,
        sampling: Any = None,
        further: Any = None,
    ) -> Rollout:
        samples = tuple(make_sample(prompt, self.text) for prompt in prompts)
        for row, sample in enumerate(samples):
            on_sample(row, sample)
        return Rollout(samples=samples, group_size=samples_per_prompt)


@pytest.mark.parametrize(
    ("text", "read"),
    [("<think>Answer: A, or B?</think>Answer: C", "C"), ("<think>Answer: A", None)],
)
def test_a_benchmark_grades_the_answer_and_keeps_the_thought(
    tmp_path: Path, ranks: Ranks, text: str, read: str | None
) -> None:
    gpqa = GpqaConfig.model_validate({"path": str(gpqa_file(tmp_path)), "repeats": 1}).read(print)
    folder = ResultFolder(tmp_path / "results")
    engine: Any = Says(text)
    measure(gpqa, engine, folder, ranks, weights={}, seed=0, say=lambda text: None)
    rows = folder.batch(0, gpqa.prompts)
    assert rows is not None
    for row in rows:
        assert set(row["letters"].values()) == {read}
        assert row["completion"] == text
        assert row["thought"].startswith("Answer: A")
