"""On held-out prompts a comparison is with the answers of the policy before training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.held_out import EvaluateConfig
from rvpo.config.judge import BudgetConfig
from rvpo.errors import CheckpointError
from rvpo.judge.types import Answer, Question
from rvpo.report.run_folder import RunFolder
from rvpo.rewards.comparison import ComparisonReward
from rvpo.rewards.judging import AskedJudge
from rvpo.rewards.reward import Reward
from rvpo.rewards.suite import RewardSuite
from rvpo.runtime.ignore import ignore
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.evaluation import HeldOut
from rvpo.trainer.gold import GoldWatch
from rvpo.types import Prompt
from tests.fakes import FakeEngine, FakeJudge, make_prompt, on_each_rank, only

PROMPTS = [make_prompt(f"p/{p}") for p in range(4)]


def by_length(response: str, question: Question) -> Answer:
    first, second = len(response), len(question.other)
    return Answer(value=0.5 if first == second else float(first > second))


class Policy:
    """Answers each prompt by what it has learned so far."""

    def __init__(self) -> None:
        self.answers = dict.fromkeys((prompt.id for prompt in PROMPTS), "aa")

    def __call__(self, prompt: Prompt) -> str:
        return self.answers[prompt.id]


def held_out(
    path: Path,
    policy: Policy,
    judge: FakeJudge,
    ranks: Ranks,
    budget: BudgetConfig | None = None,
    **reward: Any,
) -> HeldOut:
    folder = RunFolder(path)
    folder.evaluations.mkdir(parents=True, exist_ok=True)
    better = ComparisonReward(name="better", question="Which is longer?", **reward)
    return HeldOut(
        PROMPTS,
        FakeEngine(policy),
        RewardSuite([better]).judged_by(only(judge, budget)),
        ranks,
        folder,
        EvaluateConfig(samples_per_prompt=2),
        last_step=5,
        seed=0,
        say=ignore,
    )


def test_the_mean_begins_at_one_half_without_a_call(tmp_path: Path, ranks: Ranks) -> None:
    judge = FakeJudge(by_length)
    evaluate = held_out(tmp_path, Policy(), judge, ranks)
    assert evaluate(0) == {"eval/rewards/better/mean": 0.5}
    assert not judge.jobs


def test_the_mean_is_the_share_of_wins_against_the_beginning(tmp_path: Path, ranks: Ranks) -> None:
    judge, policy = FakeJudge(by_length), Policy()
    evaluate = held_out(tmp_path, policy, judge, ranks)
    evaluate(0)
    policy.answers |= {"p/0": "bbb", "p/1": "b", "p/2": "cccc"}
    assert evaluate(5) == {"eval/rewards/better/mean": (1 + 0 + 1 + 0.5) / 4}
    asked = {(job.response, q.other) for job in judge.jobs for q in job.questions}
    new = ("bbb", "b", "cccc")
    assert asked == {(x, "aa") for x in new} | {("aa", x) for x in new}
    assert len(judge.jobs) == 2 * 2 * 3  # both orders, both samples; "aa" against "aa" is a tie


def test_a_judge_that_goes_by_place_alone_sees_no_progress(tmp_path: Path, ranks: Ranks) -> None:
    policy = Policy()
    evaluate = held_out(tmp_path, policy, FakeJudge(lambda r, q: Answer(value=1.0)), ranks)
    evaluate(0)
    policy.answers = dict.fromkeys(policy.answers, "bbb")
    assert evaluate(5) == {"eval/rewards/better/mean": 0.5}


def test_a_run_that_goes_on_compares_with_its_own_beginning(tmp_path: Path, ranks: Ranks) -> None:
    judge, policy = FakeJudge(by_length), Policy()
    held_out(tmp_path, policy, judge, ranks)(0)
    policy.answers = dict.fromkeys(policy.answers, "b")
    again = held_out(tmp_path, policy, judge, ranks)
    assert again(0) == {"eval/rewards/better/mean": 0.5}
    assert again(5) == {"eval/rewards/better/mean": 0.0}


def test_what_the_judge_sees_is_kept_whole(tmp_path: Path, ranks: Ranks) -> None:
    judge, policy = FakeJudge(by_length), Policy()
    policy.answers = dict.fromkeys(policy.answers, "<think>hm</think>aa")
    evaluate = held_out(tmp_path, policy, judge, ranks, sees="everything")
    evaluate(0)
    policy.answers = dict.fromkeys(policy.answers, "aaa")
    assert evaluate(5) == {"eval/rewards/better/mean": 0.0}
    assert {q.other for job in judge.jobs for q in job.questions} == {"<think>hm</think>aa", "aaa"}


def test_a_failed_order_is_a_missing_score(tmp_path: Path, ranks: Ranks) -> None:
    def rule(response: str, question: Question) -> Answer:
        lost = response == "aa" and question.other == "bbb"
        return Answer(value=None, failure="timeout") if lost else by_length(response, question)

    policy = Policy()
    loose = BudgetConfig(group=1, step=1)
    evaluate = held_out(tmp_path, policy, FakeJudge(rule), ranks, budget=loose)
    evaluate(0)
    policy.answers |= {"p/0": "bbb", "p/1": "cccc"}
    assert evaluate(5) == {"eval/rewards/better/mean": (1 + 0.5 + 0.5) / 3}
    assert evaluate.at(5).failed.tolist() == [0.25]


def test_every_rank_compares_with_the_answers_in_its_own_places(tmp_path: Path) -> None:
    policy = Policy()
    policy.answers = {f"p/{p}": "a" * (p + 1) for p in range(4)}

    def work(ranks: Ranks) -> list[dict[str, float]]:
        evaluate = held_out(tmp_path, policy, FakeJudge(by_length), ranks)
        found = [evaluate(0)]
        ranks.wait()
        if ranks.is_main:
            policy.answers = {f"p/{p}": "a" * (p + 2 if p % 2 else p + 1) for p in range(4)}
        ranks.wait()
        return [*found, evaluate(5)]

    expected = [{"eval/rewards/better/mean": 0.5}, {"eval/rewards/better/mean": 0.75}]
    assert on_each_rank(work) == [expected] * 2


def test_the_gold_judge_compares_with_the_same_answers(tmp_path: Path, ranks: Ranks) -> None:
    """The judge that trains likes what is new, and the gold one what is longer."""
    policy, training = Policy(), FakeJudge(lambda r, q: Answer(value=float(r != "aa")))
    gold = FakeJudge(by_length)
    evaluate = held_out(tmp_path, policy, training, ranks)
    judges = {**evaluate.score.judges, "gold": AskedJudge(gold, BudgetConfig())}
    score = evaluate.score.judged_by(judges)
    watched = score.watched_by("gold")
    watch = GoldWatch(watched, "gold", 0, evaluate.folder, ranks, ignore)
    evaluate = replace(evaluate, score=score, watch=watch)
    evaluate.folder.gold.mkdir()
    assert evaluate(0)["judge_gap/better"] == 0
    assert not gold.jobs
    policy.answers |= {"p/0": "b", "p/1": "bbb"}
    found = evaluate(5)
    assert found["eval/rewards/better/mean"] == (1 + 1 + 0.5 + 0.5) / 4
    assert found["eval/gold/rewards/better/mean"] == (0 + 1 + 0.5 + 0.5) / 4
    assert found["judge_gap/better"] == 0.25


@pytest.mark.parametrize("found", [None, "{", '{"answers": []}', '{"answers": [{}]}'])
def test_first_answers_that_are_gone_or_damaged_are_one_sentence(
    tmp_path: Path, ranks: Ranks, found: str | None
) -> None:
    evaluate = held_out(tmp_path, Policy(), FakeJudge(by_length), ranks)
    evaluate(0)
    file = evaluate.folder.first_answers
    file.unlink() if found is None else file.write_text(found)
    with pytest.raises(CheckpointError, match=r"first_answers.json.*before training"):
        evaluate(5)


def test_a_run_that_compares_nothing_keeps_no_answers(tmp_path: Path, ranks: Ranks) -> None:
    evaluate = held_out(tmp_path, Policy(), FakeJudge(by_length), ranks)
    good = Reward("good", lambda completions, **_: [1.0] * len(completions))
    plain = HeldOut(
        PROMPTS,
        evaluate.engine,
        RewardSuite([good]),
        ranks,
        evaluate.folder,
        evaluate.config,
        last_step=5,
        seed=0,
        say=ignore,
    )
    plain(0)
    assert not evaluate.folder.first_answers.exists()
