"""A run's scores give its own advantages again, and those of others as if they had trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from rvpo.advantage import GRPO, RVPO, Estimator, LevelMin
from rvpo.advantage.diagnostics import metrics_by_aspect
from rvpo.advantage.pull import pulls
from rvpo.criterion import Criterion
from rvpo.errors import RewardError
from rvpo.judge.types import Answer
from rvpo.replay.estimators import estimators_of, title
from rvpo.replay.replayed import EXACT, RunReplay, replay
from rvpo.replay.stored_run import StoredRun
from rvpo.report.score_files import StepScores
from rvpo.rewards.cell import Cell, Column, assemble
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.spare import SPARED, Streak
from rvpo.types import Rewards, RolloutScores
from tests.fakes import make_prompt
from tests.replay.stored import GROUPS, SIZE, random_rewards, scored, store

EVERY = [member.__dataclass_fields__["name"].default for member in get_args(Estimator)]


def again(output: Path, **others: Any) -> RunReplay:
    run = StoredRun.open(output)
    own = run.config.advantage
    return replay(run.each(run.steps), (title(own), own), others)


@pytest.mark.parametrize("matrix", [True, False], ids=["scores", "samples"])
@pytest.mark.parametrize("name", EVERY)
def test_every_estimator_gives_the_stored_advantages_again(
    name: str, matrix: bool, tmp_path: Path
) -> None:
    steps = [scored(random_rewards(seed, missing=0.2)) for seed in range(3)]
    store(tmp_path / "run", steps, matrix=matrix, advantage={"name": name})
    found = again(tmp_path / "run")
    assert [step.step for step in found.own.steps] == [1, 2, 3]
    assert found.own.difference <= EXACT
    assert (found.own.flipped, found.own.order) == (0.0, pytest.approx(1.0))


@pytest.mark.parametrize("matrix", [True, False], ids=["scores", "samples"])
@pytest.mark.parametrize("missing", ["drop", "group_mean", "zero", "skip_sample"])
def test_a_rule_for_missing_scores_is_that_of_the_run(
    missing: str, matrix: bool, tmp_path: Path
) -> None:
    steps = [scored(random_rewards(seed, missing=0.4)) for seed in range(3)]
    store(tmp_path / "run", steps, matrix=matrix, advantage={"name": "rvpo", "missing": missing})
    assert again(tmp_path / "run").own.difference <= EXACT


@pytest.mark.parametrize("matrix", [True, False], ids=["scores", "samples"])
def test_two_ranks_give_what_one_does(matrix: bool, tmp_path: Path) -> None:
    steps = [scored(random_rewards(seed)) for seed in range(2)]
    for ranks in (1, 2):
        store(tmp_path / f"{ranks}", steps, ranks=ranks, matrix=matrix)
    one, two = (again(tmp_path / f"{ranks}") for ranks in (1, 2))
    assert two.own.difference <= EXACT
    assert one.to_json() == two.to_json()


@pytest.mark.parametrize("matrix", [True, False], ids=["scores", "samples"])
def test_weights_and_risk_that_ramp_are_those_of_each_step(matrix: bool, tmp_path: Path) -> None:
    rewards = {
        "vowels": {"function": "tests.toy:vowels", "weight": {"start": 0.25, "end": 4}},
        "late": {"function": "tests.toy:late"},
    }
    weights = [torch.tensor([0.25 + 3.75 * step / 2, 1.0]) for step in range(3)]
    steps = [scored(random_rewards(n, weights=each)) for n, each in enumerate(weights)]
    ramp = {"name": "rvpo", "k": {"start": 0.5, "end": 4}}
    store(tmp_path / "run", steps, matrix=matrix, rewards=rewards, advantage=ramp)
    assert again(tmp_path / "run").own.difference <= EXACT


def test_reliability_is_that_of_each_step(tmp_path: Path) -> None:
    known = torch.tensor([0.3, 1.0])
    steps = [scored(random_rewards(n, reliability=known)) for n in range(2)]
    config = store(tmp_path / "run", steps)
    weighing = replace(config.advantage, weight_by_reliability=True)
    run = StoredRun.open(tmp_path / "run")
    for step, rewards in zip(run.each(run.steps), (each.rewards for each in steps), strict=True):
        assert step.rewards.reliability is not None
        torch.testing.assert_close(
            weighing(step.rewards, step.progress).values,
            weighing(rewards, step.progress).values,
            rtol=0,
            atol=0,
        )


def rubric(form: Any, fixed: bool, spared: bool) -> tuple[dict[str, Any], RolloutScores]:
    """Settings of a rubric, and a step of it: prompts have one to four criteria of other weights,
    and some verdicts are lost."""
    criteria = [
        Criterion(text=f"It is {word}.", points=points, label=label)
        for word, points, label in (
            ("kind", 3.0, "essential"),
            ("brief", 1.0, "optional"),
            ("rude", 2.0, "pitfall"),
            ("new", 5.0, "important"),
        )
    ]
    names = ("kind", "brief", "rude", "new")
    prompts = [
        make_prompt(f"p{g}", rubric=[] if fixed else [c.text for c in criteria[: g % 4 + 1]])
        for g in range(GROUPS)
    ]
    reward = RubricReward(
        name="care",
        form=form,
        weight=2.0,
        weighing="points" if fixed else "uniform",
        fixed=dict(zip(names, criteria, strict=True)) if fixed else {},
    ).fitted(prompts)
    chance = torch.Generator().manual_seed(7)
    cells: list[list[Cell]] = []
    for prompt in prompts:
        questions = reward.questions(prompt)
        settled = {questions[0]: Streak(1, 9)} if spared else {}
        for place in range(SIZE):
            values = torch.rand(len(questions), generator=chance).round().tolist()
            lost = torch.rand(len(questions), generator=chance) < 0.15
            answers = {
                q: Answer(value=None, failure="lost") if gone else Answer(value=value)
                for q, value, gone in zip(questions, values, lost.tolist(), strict=True)
            }
            if spared and place > 1:
                answers[questions[0]] = SPARED
            row = reward.cells(prompt, answers)
            cells.append(reward.spared(prompt, row, answers, settled))
    columns = [
        Column(name, 2.0, [row[c] for row in cells]) for c, name in enumerate(reward.columns)
    ]
    found = assemble(columns, reward.aspects, SIZE, [prompt.id for prompt in prompts])
    section: dict[str, Any] = {"rubric": form, "weight": 2.0}
    if fixed:
        section |= {
            "weights": "points",
            "criteria": {
                name: {"text": c.text, "points": c.points, "label": c.label}
                for name, c in zip(names, criteria, strict=True)
            },
        }
    return section, found


@pytest.mark.parametrize("matrix", [True, False], ids=["scores", "samples"])
@pytest.mark.parametrize("fixed", [True, False], ids=["named", "of_the_data"])
@pytest.mark.parametrize(
    ("form", "spared"), [("channels", False), ("channels", True), ("explicit", False)]
)
def test_every_shape_of_a_rubric_is_rebuilt(
    form: str, spared: bool, fixed: bool, matrix: bool, tmp_path: Path
) -> None:
    section, step = rubric(form, fixed, spared)
    judge = {"model": "m", "endpoints": [{"url": "http://localhost:1"}]}
    store(tmp_path / "run", [step], matrix=matrix, rewards={"care": section}, judge=judge)
    assert again(tmp_path / "run").own.difference <= EXACT


def test_pulls_of_criteria_that_change_their_columns_are_those_that_training_logged() -> None:
    step = of([[1.0, 0.0], [0.0, 0.25], [0.0, 0.5], [1.0, 0.0]] * 2)
    rewards = replace(step.rewards, group_size=4, prompts=("p", "q"))
    first = torch.arange(8)[:, None] < 4
    left = torch.tensor([[True, False]])
    aspects = {"kind": first == left, "brief": first != left}  # they change places in q
    trained = GRPO()(rewards)
    logged = metrics_by_aspect(rewards, trained, aspects)
    scores = replace(step, rewards=rewards, aspects=aspects, advantages=trained.values)
    found = replay([replace(scores, trained=trained.trained)], ("own", GRPO()), {}).own.steps[0]
    assert found.pulls == {n: pytest.approx(logged[f"advantage/pull/{n}"]) for n in aspects}
    by_column = pulls(rewards, trained.values, trained.trained)
    assert found.pulls["kind"] != pytest.approx(float((by_column * aspects["kind"]).sum()))


def test_estimators_that_hardly_differ_have_titles_of_their_own() -> None:
    found = estimators_of([], [1.5, 1.5000001, 2.0], RVPO(k=1.5))
    assert sorted(found) == ["rvpo k=1.5000001", "rvpo k=2"]
    assert title(RVPO(k=1.5)) not in found


def of(rows: list[list[float]]) -> StepScores:
    """A step of one prompt, trained by the sum."""
    rewards = Rewards(torch.tensor(rows), ["easy", "rare"], len(rows), prompts=["p"])
    trained = GRPO()(rewards)
    return StepScores(
        step=1,
        progress=0.0,
        rewards=rewards,
        aspects=rewards.columns,
        advantages=trained.values,
        trained=trained.trained,
    )


class Opposite:
    """GRPO with the other sign."""

    def __call__(self, rewards: Rewards, progress: float = 0.0) -> Any:
        found = GRPO()(rewards)
        return replace(found, values=-found.values)


def test_an_estimator_of_the_other_sign_flips_every_sign_and_pull() -> None:
    step = of([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    found = replay([step], ("grpo", GRPO()), {"opposite": Opposite()})
    (other,) = found.others
    assert other.flipped == 1.0
    assert other.order == pytest.approx(-1)
    for name in ("easy", "rare"):
        assert other.pull(name) == pytest.approx(-(found.own.pull(name) or 0))
    assert (found.own.raised("rare"), other.raised("rare")) == (1.0, 0.0)


def test_a_prompt_whose_signs_flip_comes_first() -> None:
    one = of([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    rewards = Rewards(torch.cat([one.rewards.values] * 2), ["easy", "rare"], 4, prompts=["a", "b"])
    stored = torch.cat([one.advantages, -one.advantages])
    both = replace(
        one,
        rewards=rewards,
        aspects=rewards.columns,
        advantages=stored,
        trained=torch.cat([one.trained] * 2),
    )
    (other,) = replay([both], ("x", GRPO()), {"grpo": GRPO()}).others
    assert [(p.prompt, p.flips, p.trained) for p in other.by_prompt()] == [("b", 4, 4), ("a", 0, 4)]
    assert [p.order for p in other.by_prompt()] == [pytest.approx(-1), pytest.approx(1)]


def test_ties_of_a_whole_group_have_no_order() -> None:
    step = of([[1.0, 0.0]] * 4)
    (other,) = replay([step], ("grpo", GRPO()), {"rvpo": RVPO()}).others
    assert (other.order, other.flipped) == (None, 0.0)


def test_an_estimator_that_cannot_read_the_scores_is_named() -> None:
    step = of([[2.0, 0.0], [0.0, 1.0]])
    with pytest.raises(RewardError, match=r"^level_min, step 1: reward 'easy' has a score of 2"):
        replay([step], ("grpo", GRPO()), {"level_min": LevelMin()})
