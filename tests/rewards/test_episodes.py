"""Rewards of episodes: what they see, what counts, and that a fault of the world is no score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.advantage import GDPO, GRPO, RVPO, AdvantageEstimator
from rvpo.config.judge import BudgetConfig
from rvpo.config.judges import OWN
from rvpo.errors import ConfigError, RewardError
from rvpo.judge.types import Answer, Job, Question
from rvpo.rewards import episode as ready
from rvpo.rewards import tool_calling
from rvpo.rewards.classifier import ClassifierReward
from rvpo.rewards.completion import text_of, texts_of
from rvpo.rewards.handed import handed_completion
from rvpo.rewards.judging import AskedJudge
from rvpo.rewards.length import cosine, linear, soft_overlong
from rvpo.rewards.reward import Reward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.trainer.first_answers import FirstAnswer
from rvpo.types import Prompt, Rewards, Rollout, RolloutScores, Sample
from tests.fakes import FakeJudge, make_criteria, make_episode, make_prompt, make_sample, only, says
from tests.rewards.test_comparison import BETTER

CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
BROKEN = "world_broken: it is gone"
PROMPT = make_prompt(rubric=make_criteria("good", "short"))
texts = st.text("ab<>/think ", max_size=12)


def lost(prompt: Prompt = PROMPT) -> Sample:
    return make_episode("good short", prompt=prompt, ending="world_broken", reason="it is gone")


def whole(said: str, prompt: Prompt = PROMPT) -> Sample:
    return make_episode(CALL, "3", said, prompt=prompt)


def scored(
    rewards: Sequence[Any], *samples: Sample, judge: FakeJudge | None = None, **budget: float
) -> RolloutScores:
    suite = RewardSuite(rewards).fitted([s.prompt for s in samples], in_world=True)
    judge = judge or FakeJudge(says)
    suite = suite.judged_by(only(judge, BudgetConfig(**{"step": 0, "group": 0} | budget)))
    return suite(Rollout(samples=samples, group_size=len(samples)))


def length(completions: Sequence[Any], log_extra: Any, **columns: Any) -> list[float]:
    log_extra("text", [text_of(each) for each in completions])
    return [float(len(text_of(each))) for each in completions]


RUBRIC = RubricReward(name="rubric", form="channels")
EVERY = [Reward("length", length), RUBRIC, replace(BETTER, name="better", question="good")]


def test_an_episode_that_the_world_failed_has_failed_in_every_reward_and_nobody_is_asked() -> None:
    judge = FakeJudge(says)
    found = scored(EVERY, whole("good"), lost(), whole("bad"), judge=judge)
    assert not found.rewards.valid[1].any()
    reasons = {found.failures[1, column] for column in range(len(found.rewards.names))}
    assert reasons == {BROKEN}
    assert {row for row, _ in found.failures} == {1}
    assert not any("good short" in job.response for job in judge.jobs)
    assert found.rewards.valid[[0, 2]].all()
    assert found.extras["length"]["text"] == ["good", None, "bad"]


@given(st.lists(st.booleans(), min_size=3, max_size=6).filter(lambda each: sum(each) > 1))
@settings(deadline=None, max_examples=12)
def test_siblings_are_scored_as_if_what_is_missing_had_never_been(there: list[bool]) -> None:
    samples = [whole("good" * n) if is_there else lost() for n, is_there in enumerate(there)]
    found = scored(EVERY, *samples)
    alone = scored(EVERY, *(s for s, is_there in zip(samples, there, strict=True) if is_there))
    assert torch.equal(found.rewards.values[there], alone.rewards.values)
    assert torch.equal(found.rewards.valid[there], alone.rewards.valid)


@pytest.mark.parametrize("estimate", [GRPO(), GDPO(), RVPO()])
def test_what_is_missing_is_trained_by_nothing_and_moves_no_baseline(
    estimate: AdvantageEstimator,
) -> None:
    values = torch.tensor([[0.0, 1.0], [9.0, 9.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    valid = torch.ones(6, 2, dtype=torch.bool)
    valid[1] = False
    found = estimate(Rewards(values, ["a", "b"], 3, valid=valid))
    assert not found.trained[1]
    assert found.values[1] == 0
    moved = values + 7 * torch.eye(6)[1][:, None]
    other = estimate(Rewards(moved, ["a", "b"], 3, valid=valid))
    assert torch.equal(found.values, other.values)


def test_a_group_that_the_world_failed_as_a_whole_calls_no_function() -> None:
    def refuses(completions: Any, **columns: Any) -> list[float]:
        raise AssertionError

    found = scored([Reward("refuses", refuses), *EVERY[1:]], lost(), lost())
    assert not found.rewards.valid.any()
    assert len(found.failures) == 2 * len(found.rewards.names)


def test_faults_of_the_world_are_none_of_the_judge() -> None:
    found = scored(EVERY, whole("good"), *[lost()] * 7)  # its budget is 0
    assert found.metrics["judge/failed_frac"] == 0
    assert not found.metrics["judge/skipped_groups"]


def test_an_episode_compared_with_a_lost_one_of_before_has_no_score() -> None:
    suite = RewardSuite([BETTER]).judged_by(only(FakeJudge(says)))
    first = FirstAnswer.of(lost())
    begun = suite.begin(opponent=lambda row, sample: first)
    begun.take(0, whole("good"))
    found = begun.collect(Rollout(samples=(whole("good"),), group_size=1))
    assert not found.rewards.valid.any()
    assert BROKEN in found.failures[0, 0]


def test_functions_are_handed_every_turn_and_ours_read_the_last_one_of_the_policy() -> None:
    thought = "<think>Hm.</think>"
    sample = make_episode(thought + CALL, "Answer: 9", thought + "Answer: 3", "Answer: 7", "")
    short = make_episode(thought + CALL, "Answer: 9", thought + "Answer: 3")
    handed = handed_completion(short, "answer")
    assert [message["role"] for message in handed] == ["assistant", "tool", "assistant"]
    assert [message["content"] for message in handed] == [CALL, "Answer: 9", "Answer: 3"]
    assert text_of(handed) == "Answer: 3"
    assert text_of(handed[:2]) == CALL  # and never a tool's
    assert texts_of(handed) == [CALL, "Answer: 3"]
    everything = handed_completion(short, "everything")
    assert texts_of(everything) == [thought + CALL, thought + "Answer: 3"]
    assert text_of(handed_completion(sample, "answer")) == ""


def test_a_text_prompt_has_the_last_turn_as_text_and_every_turn_as_messages() -> None:
    prompt = replace(make_prompt(), text="What?")
    handed: Any = handed_completion(make_episode(CALL, "9", "It is 3.", prompt=prompt), "answer")
    assert handed == "It is 3."
    assert [handed[n]["content"] for n in range(3)] == [CALL, "9", "It is 3."]
    assert text_of(handed) == "It is 3."


def test_what_a_function_does_to_an_episode_no_other_one_sees() -> None:
    seen = []

    def spoils(completions: Any, **columns: Any) -> list[float]:
        seen.append([list(map(dict, each)) for each in completions])
        completions[0][0]["content"] = "spoilt"
        completions[0].clear()
        return [0.0]

    scored([Reward("a", spoils), Reward("b", spoils)], whole("good"))
    assert seen[0] == seen[1]


def test_worlds_and_episodes_are_handed_to_functions_that_name_them() -> None:
    def solved(environments: Any, **columns: Any) -> list[float]:
        return [each["solved"] for each in environments]

    def solved_too(prompts: Any, **columns: Any) -> list[float]:
        assert "episodes" not in columns
        return [each["solved"] for each in columns["environments"]]

    def calls(episodes: Any, **columns: Any) -> list[float]:
        return [each.calls for each in episodes]

    sample = make_episode("a", state={"solved": 1.0}, calls=4)
    rewards = [Reward("a", solved), Reward("b", solved_too), Reward("c", calls)]
    assert scored(rewards, sample).rewards.values.tolist() == [[1, 1, 4]]


@pytest.mark.parametrize("function", [ready.few_turns, ready.no_failed_calls, ready.solved_by_call])
def test_a_reward_of_episodes_needs_an_environment(function: Any) -> None:
    arguments = {"most": 3} if function is ready.few_turns else {}
    suite = RewardSuite([Reward("r", function, arguments=arguments)])
    suite.fitted([make_prompt(answer=3)], in_world=True)
    with pytest.raises(RewardError, match="is about episodes"):
        suite.fitted([make_prompt(answer=3)])


@given(st.lists(texts, min_size=1, max_size=6))
@settings(deadline=None)
def test_what_the_policy_wrote_is_what_counts(said: list[str]) -> None:
    sample = make_episode(*said)
    own = sum(len(text.encode()) for text in said[::2])
    assert sample.length == own == len(sample.completion_ids) - len(sample.given)
    assert sample.thought_length + sample.answer_length == own
    alone = [make_sample(text=text) for text in said[::2]]
    assert sample.thought_length == sum(each.thought_length for each in alone)
    assert not sample.is_thought_ended


@pytest.mark.parametrize(
    ("function", "arguments"),
    [(soft_overlong, {"margin": 10}), (linear, {}), (cosine, {})],
)
def test_a_long_answer_of_the_world_costs_the_policy_nothing(
    function: Any, arguments: dict[str, Any]
) -> None:
    reward = Reward("r", function, arguments={"longest": 20, **arguments})
    found = scored([reward], make_episode("12345", "x" * 1000, "67890"), make_sample(text="x" * 10))
    assert found.rewards.values[0] == found.rewards.values[1]


def test_a_thought_that_a_budget_ended_is_told_from_what_the_world_said() -> None:
    sample = make_episode("<think>a</think>b", "tool", "c")
    assert not sample.is_thought_ended
    assert replace(sample, given=(7, *sample.given)).is_thought_ended


def test_few_turns_score_higher_and_failed_calls_lower() -> None:
    rewards = [
        Reward("few", ready.few_turns, arguments={"most": 4, "least": 2}),
        Reward("clean", ready.no_failed_calls),
    ]
    found = scored(
        rewards,
        make_episode("a"),
        make_episode("a", "1", "b", calls=2),
        make_episode("a", "1", "b", "2", "c", calls=4, failures=("add: TypeError",)),
        make_episode(*"abcdefg"),
    )
    assert found.rewards.values[:, 0].tolist() == [1, 1, 0.5, 0]
    assert found.rewards.values[1:3, 1].tolist() == [1, 0.75]
    assert found.rewards.valid[:, 1].tolist() == [False, True, True, False]
    with pytest.raises(ValueError, match="least must be"):
        ready.few_turns([], most=2, least=2)


@pytest.mark.parametrize(
    ("said", "calls", "failures", "score"),
    [
        ("The answer is 3.", 1, (), 1),
        ("Answer: 3.0", 2, ("add: TypeError",), 1),
        ("Answer: 3", 0, (), 0),  # guessed
        ("Answer: 3", 1, ("add: TypeError",), 0),
        ("Answer: 4", 1, (), 0),
    ],
)
def test_what_is_solved_is_right_and_was_called_for(
    said: str, calls: int, failures: tuple[str, ...], score: float
) -> None:
    sample = make_episode(
        CALL, "3", said, prompt=make_prompt(answer=3), calls=calls, failures=failures
    )
    found = scored([Reward("solved", ready.solved_by_call)], sample)
    assert found.rewards.values.item() == score


def test_an_answer_beside_the_last_call_is_solved_by_no_call() -> None:
    """The episode is out of turns: what the tool said came too late."""
    prompt = make_prompt(answer=3)
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}

    def score(*called: Any) -> Any:
        sample = make_episode(CALL, "3", "Answer: 3", prompt=prompt, calls=2, ending="out_of_turns")
        assert sample.episode is not None
        *before, last = sample.episode.turns
        said = {**last.messages[0], **({"tool_calls": called} if called else {})}
        turns = (*before, replace(last, messages=(said,)))
        sample = replace(sample, episode=replace(sample.episode, turns=turns))
        return scored([Reward("solved", ready.solved_by_call)], sample).rewards.values.item()

    assert (score(), score(call)) == (1, 0)


def called(*names: str) -> str:
    lines = "\n".join(f'{{"name": "{name}", "parameters": {{}}}}' for name in names)
    return f"<think>So.</think>\n<tool_call>\n{lines}\n</tool_call>"


@pytest.mark.parametrize("mode", ["toolrl", "mended"])
def test_calls_are_read_from_the_last_turn_or_from_every_one(mode: Any) -> None:
    reply = "<think>So.</think>\n<response>3</response>"
    sample = make_episode(called("add"), called("forged"), called("look"), "4", reply)
    handed = [handed_completion(sample, "everything")]
    truth = [called("add", "look")]

    def score(function: Any, **choice: Any) -> float:
        return float(function(handed, ground_truth=truth, mode=mode, **choice)[0])

    assert score(tool_calling.correctness, turns="every") == 3
    assert score(tool_calling.correctness) == -3
    forms = score(tool_calling.format, turns="every")
    assert forms == pytest.approx(2 / 3 if mode == "toolrl" else 1)
    assert score(tool_calling.format) == (mode == "mended")
    with pytest.raises(ConfigError, match="turns: 'all' is not available"):
        score(tool_calling.format, turns="all")


@given(st.sampled_from([called("add"), called("look", "add"), "<response>3</response>", ""]))
def test_one_turn_is_the_last_and_every_one(text: str) -> None:
    for function in (tool_calling.format, tool_calling.correctness):
        for mode in ("toolrl", "mended"):
            given_: dict[str, Any] = {"ground_truth": [called("add")], "mode": mode}
            last = function([text], **given_)
            assert last == function([text], **given_, turns="every")


def test_a_judge_is_shown_every_turn_and_a_classifier_the_last_behind_the_others() -> None:
    jobs: list[Job] = []

    class Listening(FakeJudge):
        def submit(self, job: Job) -> Any:
            jobs.append(job)
            return super().submit(job)

    def rule(response: str, question: Question) -> Answer:
        return Answer(value=1.0, reason='{"scores": [0.5]}')

    judge = Listening(rule)
    toxic = ClassifierReward(
        name="toxic", judge="toxic", channels={"": 0}, question=Question("score", "chat")
    )
    sample = make_episode("<think>Hm.</think>a", "b", "c", prompt=PROMPT)
    suite = RewardSuite([RUBRIC, toxic]).fitted([PROMPT], in_world=True)
    suite = suite.judged_by(dict.fromkeys((OWN, "toxic"), AskedJudge(judge, BudgetConfig())))
    suite(Rollout(samples=(sample,), group_size=1))
    by_kind = {job.questions[0].kind: job for job in jobs}
    told = by_kind["criterion"]
    assert told.is_episode
    assert told.response == sample.seen("answer")
    assert told.conversation == PROMPT.turns
    read = by_kind["score"]
    assert read.conversation == (*PROMPT.turns, ("assistant", "a"), ("tool", "b"))
    assert read.response == "c"
    assert not read.is_episode


def test_what_a_judge_was_shown_first_is_kept_with_every_turn() -> None:
    sample = make_episode("<think>Hm.</think>a", "b", "c")
    first = FirstAnswer.of(sample)
    for sees in ("answer", "everything"):
        assert first.seen(sees) == sample.seen(sees)
    assert "Hm." in first.seen("everything")
    assert "Hm." not in first.seen("answer")
