"""Both judges see the same answers, and a rule ends a run by what they said, on all ranks alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rvpo.config.gold import GoldStopConfig
from rvpo.config.held_out import EvaluateConfig
from rvpo.config.judge import BudgetConfig
from rvpo.config.rewards import Condition
from rvpo.criterion import Criterion
from rvpo.errors import ConfigError
from rvpo.judge.types import Answer, Question
from rvpo.report.gold import GoldScores
from rvpo.report.run_folder import RunFolder, write_json
from rvpo.rewards.comparison import ComparisonReward
from rvpo.rewards.judging import AskedJudge
from rvpo.rewards.reward import Reward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.scoring import AnyReward
from rvpo.rewards.suite import RewardSuite
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.evaluation import HeldOut
from rvpo.trainer.gold import GoldWatch
from rvpo.trainer.gold_stop import GoldStop, counted_names
from tests.fakes import (
    FakeEngine,
    FakeJudge,
    ThreadRanks,
    make_criteria,
    make_prompt,
    make_scores,
    on_each_rank,
)

Rule = Callable[[str, Question], Answer]
KIND = {"kind": Criterion(text="kind"), "rude": Criterion(text="rude", polarity="negative")}
PROMPTS = [make_prompt(f"p/{n}", f"{n}?") for n in range(3)]


def says(value: float | None) -> Rule:
    def rule(response: str, question: Question) -> Answer:
        return Answer(value=value, failure="http 500" if value is None else None)

    return rule


def vowels(prompts: Any, completions: Any, completion_ids: Any, **columns: Any) -> list[float]:
    return [0.0] * len(completions)


WATCHED = (
    Reward(name="vowels", function=vowels, weight=1.0),
    RubricReward(name="judged", form="channels", fixed=KIND, condition=Condition(reward="vowels")),
    RubricReward(name="mean", form="explicit", fixed=KIND),
)
OWN = RubricReward(name="own", form="channels", fixed=KIND, judge="gold")


def watch_of(
    folder: Path,
    training: FakeJudge,
    gold: FakeJudge,
    ranks: Ranks,
    said: list[str],
    rewards: Sequence[AnyReward] = WATCHED,
    **fields: Any,
) -> HeldOut:
    judges = {
        "judge": AskedJudge(training, BudgetConfig()),
        "gold": AskedJudge(gold, BudgetConfig()),
    }
    suite = RewardSuite(rewards).judged_by(judges)
    every = fields.pop("watch_every", 0)
    run = RunFolder(folder)
    return HeldOut(
        PROMPTS,
        FakeEngine(lambda prompt: f"kind answer to {prompt.id}"),
        suite,
        ranks,
        run,
        EvaluateConfig(samples_per_prompt=2, **fields),
        last_step=6,
        seed=0,
        say=said.append,
        watch=GoldWatch(suite.watched_by("gold"), "gold", every, run, ranks, said.append),
    )


def alone() -> Ranks:
    return ThreadRanks(0, 1, torch.device("cpu"), None, [None])


def test_both_judges_are_asked_about_the_same_answers(tmp_path: Path) -> None:
    training, gold = FakeJudge(says(1.0)), FakeJudge(says(0.0))
    found = watch_of(tmp_path, training, gold, alone(), [], (*WATCHED, OWN))(0)
    seen = [{(job.conversation, job.response) for job in judge.jobs} for judge in (training, gold)]
    assert seen[0] == seen[1]
    assert len(seen[0]) == 3
    # kind: 1 and 0. rude, to be avoided: 0 and 1. Neither condition nor mean is in the way.
    assert found["judge_gap/judged/kind"] == found["judge_gap/mean/kind"] == 1.0
    assert found["judge_gap/judged/rude"] == -1.0
    assert found["judge_gap/judged"] == found["judge_gap/mean"] == 0.0
    assert found["judge_gap_only_training/judged"] == 0.5
    assert found["eval/gold/rewards/judged/kind/mean"] == 0.0
    assert found["eval/rewards/judged/mean"] == 0.0  # as it trains: behind its condition
    assert "judge_gap/own" not in found  # which the gold judge gives itself


def test_a_gold_judge_that_fails_is_missing_and_said_and_stops_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    judges = FakeJudge(says(1.0)), FakeJudge(says(None))
    found = watch_of(tmp_path, *judges, alone(), said)(0)
    assert [name for name in found if name.startswith("judge_gap/")] == []
    assert found["judge_gap_missing/judged"] == 1.0
    assert any("24 of 24 verdicts of judge 'gold' are missing (24 http 500)" in s for s in said)


@pytest.mark.parametrize("fails", ["kind and rude", "rude"])
def test_a_look_that_lost_all_of_something_is_made_again(tmp_path: Path, fails: str) -> None:
    def partly(response: str, question: Question) -> Answer:
        failed = question.text in fails
        return Answer(value=None if failed else 1.0, failure="http 500" if failed else None)

    lame = watch_of(tmp_path, FakeJudge(says(1.0)), FakeJudge(partly), alone(), [])
    assert "judge_gap/judged/rude" not in lame(0)
    assert lame.lacks(0)
    assert "http 500 of judge 'gold'" in lame.lost(0)["eval/gold/rewards/judged/rude/mean"]
    sound = watch_of(tmp_path, FakeJudge(says(1.0)), FakeJudge(says(1.0)), alone(), [])
    assert sound(0)["judge_gap/judged/rude"] == 0.0
    assert not sound.lacks(0)
    assert sound.lost(0) == lame.lost(3) == {}


def test_ranks_agree_on_what_was_lost_whatever_their_disks_show(tmp_path: Path) -> None:
    def lost(ranks: Ranks) -> tuple[bool, dict[str, str]]:
        judges = FakeJudge(says(1.0)), FakeJudge(says(None))
        held_out = watch_of(tmp_path / str(ranks.rank), *judges, ranks, [])
        held_out(0)
        return held_out.lacks(0), held_out.lost(0)

    first, second = on_each_rank(lost)
    assert first == second
    assert first[0]


def test_criteria_of_the_data_have_a_gap_for_each_class(tmp_path: Path) -> None:
    def strict(response: str, question: Question) -> Answer:
        return Answer(value=float(question.text != "c"))

    criteria = make_criteria("a", "b", label="essential"), make_criteria("c", label="pitfall")
    prompts = [
        make_prompt("p/0", rubric=[*criteria[0], *criteria[1]]),
        make_prompt("p/1", rubric=criteria[0]),
    ]
    rubric = RubricReward(name="rubric", form="channels").fitted(prompts)
    judges = FakeJudge(says(1.0)), FakeJudge(strict)
    held_out = watch_of(tmp_path, *judges, alone(), [], (rubric,))
    found = replace(held_out, prompts=prompts)(0)
    assert found["judge_gap/rubric/essential"] == 0.0
    assert found["judge_gap/rubric/pitfall"] == 1.0
    assert found["judge_gap/rubric"] == pytest.approx((1 / 3 + 0) / 2)


def test_a_share_of_wins_is_watched_against_the_answers_before_training(tmp_path: Path) -> None:
    compared = (ComparisonReward(name="better", question="Which response is kinder?"),)
    texts = ["before", "after"]

    def prefers(word: str) -> FakeJudge:
        def rule(response: str, question: Question) -> Answer:
            return Answer(value=float(response == word))

        return FakeJudge(rule)

    held_out = watch_of(
        tmp_path, prefers("after"), prefers("before"), alone(), [], compared, every=1
    )
    held_out = replace(held_out, engine=FakeEngine(lambda prompt: texts[0]))
    assert held_out(0)["judge_gap/better"] == 0.0  # a draw with itself
    held_out = replace(held_out, engine=FakeEngine(lambda prompt: texts[1]))
    found = held_out(1)
    assert (found["eval/rewards/better/mean"], found["eval/gold/rewards/better/mean"]) == (1, 0)
    assert found["judge_gap/better"] == 1.0


def test_a_look_is_taken_when_it_is_time_and_kept(tmp_path: Path) -> None:
    training, gold = FakeJudge(says(1.0)), FakeJudge(says(1.0))
    held_out = watch_of(tmp_path, training, gold, alone(), [], every=3, watch_every=2)
    looks = {step: held_out(step) for step in range(7)}
    gaps = [step for step, found in looks.items() if "judge_gap/judged" in found]
    scored = [step for step, found in looks.items() if found]
    assert gaps == held_out.folder.watched() == [0, 2, 4, 6]
    assert scored == held_out.folder.evaluated() == [0, 2, 3, 4, 6]
    asked = len(gold.jobs)
    assert {step: held_out(step) for step in range(7)} == looks
    assert len(gold.jobs) == asked


def test_ranks_share_the_answers_and_have_the_same_numbers(tmp_path: Path) -> None:
    def odd(response: str, question: Question) -> Answer:
        return Answer(value=float("/1" in response))

    def look(ranks: Ranks) -> dict[str, float]:
        judges = FakeJudge(says(1.0)), FakeJudge(odd)
        return watch_of(tmp_path / "two", *judges, ranks, [])(0)

    one = watch_of(tmp_path / "one", FakeJudge(says(1.0)), FakeJudge(odd), alone(), [])(0)
    first, second = on_each_rank(look)
    assert first == second == one
    files = [GoldScores.read(RunFolder(tmp_path / n).gold_scores(0)) for n in ("one", "two")]
    assert files[0].to_json() == files[1].to_json()


# --- the rule -------------------------------------------------------------------------------------


def looked(folder: RunFolder, gaps: Mapping[int, float | None]) -> None:
    """Looks of ten pairs each; None for one that lost a fifth of them."""
    for step, gap in gaps.items():
        number = round(10 * (gap or 0.0))
        training = [[1.0]] * 10
        gold: list[list[float | None]] = [[0.0]] * number + [[1.0]] * (10 - number)
        if gap is None:
            gold = [[None]] * 2 + [[0.0]] * 8
        scores = [make_scores(rows, ["judged"], 10) for rows in (training, gold)]
        write_json(folder.gold_scores(step), GoldScores.of(*scores, ["p"], "gold").to_json())


def ends(
    folder: Path,
    gaps: Mapping[int, float | None],
    rule: dict[str, Any],
    said: list[str] | None = None,
) -> list[int]:
    """Steps after which a run would end."""
    run = RunFolder(folder)
    looked(run, gaps)
    stop = GoldStop(
        GoldStopConfig(**rule),
        ["judged"],
        0.1,
        run,
        alone(),
        (said if said is not None else []).append,
    )
    return [step for step in range(max(gaps) + 2) if stop(step)]


@pytest.mark.parametrize(
    ("gaps", "rule", "expected"),
    [
        ({0: 0.1, 2: 0.3, 4: 0.3, 6: 0.3}, {"gap": 0.2}, [4, 6]),
        ({0: 0.1, 2: 0.3, 4: 0.1, 6: 0.3}, {"gap": 0.2}, []),
        ({0: 0.1, 2: 0.3, 4: 0.1, 6: 0.3}, {"gap": 0.2, "times": 1}, [2, 6]),
        ({0: 0.2, 2: 0.2, 4: 0.2}, {"gap": 0.2}, []),  # not above it
        ({0: 0.5, 2: 0.6, 4: 0.6}, {"growth": 0.2}, []),
        ({0: 0.5, 2: 0.8, 4: 0.9}, {"growth": 0.2}, [4]),
        ({0: 0.7, 2: 0.9, 4: 0.9}, {"growth": 0.2}, []),  # .9 - .7 is .2, whatever floats say
        ({0: 0.0, 2: 0.3, 4: None, 6: 0.3}, {"gap": 0.2}, [6]),  # who lost too much has no say
        ({0: None, 2: 0.3, 4: 0.6, 6: 0.6}, {"growth": 0.2}, []),  # and nothing stands in for it
        ({2: 0.3, 4: 0.6, 6: 0.6}, {"growth": 0.2}, []),
        ({0: None, 2: 0.3, 4: 0.6, 6: 0.6}, {"growth": 0.2, "gap": 0.5}, [6]),
        ({0: 0.9, 2: 0.9}, {"gap": 0.2}, []),  # a gap before training shows nothing of it
        ({2: 0.3, 4: 0.3}, {"gap": 0.2}, [4]),
    ],
)
def test_a_run_ends_where_the_gap_stays_too_large(
    tmp_path: Path, gaps: dict[int, float | None], rule: dict[str, Any], expected: list[int]
) -> None:
    assert ends(tmp_path, gaps, rule) == expected


def test_the_sentence_says_what_was_seen_and_how_to_go_on(tmp_path: Path) -> None:
    said: list[str] = []
    assert ends(tmp_path, {0: 0.1, 2: 0.3, 4: 0.4}, {"gap": 0.2, "growth": 0.1}, said) == [4]
    (sentence,) = said
    for part in (
        "evaluate.gold.stop: the run ends here",
        "'judged'",
        "0.300 after step 2, 0.400 after step 4",
        "gap=0.2 or growth=0.1 from 0.100 at the start",
        "--resume evaluate.gold.stop=null",
    ):
        assert part in sentence


@pytest.mark.parametrize(
    ("gaps", "rule", "told"),
    [
        ({0: None}, {"growth": 0.2}, True),
        ({2: 0.3}, {"growth": 0.2}, True),
        ({0: 0.1}, {"growth": 0.2}, False),
        ({0: None}, {"gap": 0.2}, False),
    ],
)
def test_a_lost_start_is_said_where_growth_is_to_count(
    tmp_path: Path, gaps: dict[int, float | None], rule: dict[str, Any], told: bool
) -> None:
    run, said = RunFolder(tmp_path), list[str]()
    looked(run, gaps)
    GoldStop(GoldStopConfig(**rule), ["judged"], 0.1, run, alone(), said.append).tell()
    assert [("'judged' before training is not known" in text) for text in said] == [True] * told


def test_every_rank_ends_by_what_the_first_one_reads(tmp_path: Path) -> None:
    looked(RunFolder(tmp_path), {2: 0.5})

    def end(ranks: Ranks) -> bool:
        folder = RunFolder(tmp_path if ranks.is_main else tmp_path / "elsewhere")
        rule = GoldStopConfig(gap=0.2, times=1)
        return GoldStop(rule, ["judged"], 0.1, folder, ranks, lambda text: None)(2)

    assert on_each_rank(end) == [True, True]


def test_a_limit_below_the_gap_before_training_is_refused(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    looked(run, {0: 0.5})

    def stop(**rule: Any) -> GoldStop:
        return GoldStop(GoldStopConfig(**rule), ["judged"], 0.1, run, alone(), lambda text: None)

    with pytest.raises(ConfigError, match=r"0.2 is less than the gap of 'judged' .* 0.500"):
        stop(gap=0.2).check()
    stop(gap=0.6).check()
    stop(growth=0.2).check()


@pytest.mark.parametrize(
    ("of", "expected"), [((), ["judged", "judged/kind"]), (("judged/kind",), ["judged/kind"])]
)
def test_a_rule_counts_what_it_names(of: Sequence[str], expected: list[str]) -> None:
    rule = GoldStopConfig(gap=0.1, of=tuple(of))
    assert list(counted_names(rule, ["judged", "judged/kind"])) == expected


def test_a_rule_that_names_no_watched_reward_is_refused() -> None:
    rule = GoldStopConfig(gap=0.1, of=("judged/kin",))
    with pytest.raises(
        ConfigError, match=r"'judged/kin' is no reward .* did you mean 'judged/kind'"
    ):
        counted_names(rule, ["judged", "judged/kind"])


def test_gaps_of_parts_that_cancel_in_the_whole_end_a_run(tmp_path: Path) -> None:
    held_out = watch_of(tmp_path, FakeJudge(says(1.0)), FakeJudge(says(0.0)), alone(), [], every=1)
    found, said = held_out(1), list[str]()
    assert (found["judge_gap/judged"], found["judge_gap/judged/kind"]) == (0.0, 1.0)
    assert held_out.watch is not None
    rule = GoldStopConfig(gap=0.2, times=1)
    names = counted_names(rule, held_out.watch.training.aspects)
    assert GoldStop(rule, names, 0.1, held_out.folder, alone(), said.append)(1)
    assert "'judged/kind'" in said[0]
