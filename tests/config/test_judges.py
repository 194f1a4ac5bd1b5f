"""Judges by name: who asks which, what two of them share, and what is said of each."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from rvpo.cli import app
from rvpo.commands.needs import asked_judges
from rvpo.config.classifier import ClassifierConfig
from rvpo.config.diff import MAY_CHANGE_ON_RESUME, changed_settings
from rvpo.config.filing import filed_under, told_apart
from rvpo.config.judge import JudgeConfig
from rvpo.config.run import RunConfig, dump_config, load_config
from rvpo.errors import ConfigError
from rvpo.judge.types import Job, Question
from rvpo.judge.worker.request import Renderer
from tests.configs import tiny_config, tiny_settings

KEY = "sk-" + "Zk3v9QpL2xR8mT1wB6yN4c" * 2
RUBRIC = {"rubric": "channels", "criteria": {"kind": "The response is kind."}}
ASKED: dict[str, Any] = {"model": "m", "endpoints": [{"url": "http://127.0.0.1:1/v1"}]}


def run_of(**sections: Any) -> RunConfig:
    return tiny_config(Path("model"), **({"rewards": {"r": RUBRIC}} | sections))


# --- what is wrong with a judge is said under its own name ----------------------------------------

WRONG: dict[str, Any] = {
    "neither": {},
    "no table": KEY,
    "a list": [KEY],
    "a text for a list": {"model": "m", "endpoints": KEY},
    "a text for a table": {"model": "m", "endpoints": [KEY]},
    "an unknown setting": {**ASKED, "temprature": 0.0},
    "an unknown setting of an endpoint": {"model": "m", "endpoints": [{"url": "x", KEY: 1}]},
    "a number out of bounds": {**ASKED, "attempts": 0},
    "a text for a number": {**ASKED, "timeout_s": KEY},
    "a key in an address": {"model": "m", "endpoints": [{"url": f"https://a.b/v1?api_key={KEY}"}]},
    "a key for its variable": {
        "model": "m",
        "endpoints": [{"url": "https://a.b/v1", "key_variable": KEY}],
    },
    "a key in clear": {
        "model": "m",
        "endpoints": [{"url": "http://a.b/v1", "key_variable": "JUDGE_KEY"}],
    },
    "a key in a field": {**ASKED, "extra_body": {"a": {"b": KEY}}},
    "a secret by its name": {**ASKED, "extra_body": {"password": "correct-horse"}},
    "a key for a model": {**ASKED, "model": KEY},
    "too many workers": {**ASKED, "workers": 65},
    "a budget without prices": {**ASKED, "budget": {"dollars": 1}},
    "devices twice": {"serve": {"model": "m", "devices": [3, 3]}},
}


def refusal(folder: Path, **judges: Any) -> str:
    settings = tiny_settings(Path("model"), folder / "run", rewards={"r": RUBRIC}, **judges)
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_config(file)
    return str(refused.value)


@pytest.mark.parametrize("wrong", WRONG)
def test_every_judge_is_refused_in_the_words_of_the_only_one(wrong: str, tmp_path: Path) -> None:
    said = refusal(tmp_path, judge=WRONG[wrong])
    other = refusal(tmp_path, judges={"gold": WRONG[wrong]})
    assert other.replace("judges.gold", "judge") == said
    assert KEY not in said + other
    assert "correct-horse" not in said + other


@pytest.mark.parametrize("setting", ["judges.gold.extra_body={password: %s", "judges.gold.x.y=[%s"])
def test_a_setting_of_a_judge_that_cannot_be_read_is_not_repeated(
    setting: str, tmp_path: Path
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(tiny_settings(Path("model"), tmp_path / "run")))
    done = CliRunner().invoke(app, ["show", "--config", str(file), "--", setting % "correct-horse"])
    assert done.exit_code == 2
    assert "correct-horse" not in done.output


@pytest.mark.parametrize("name", ["token", "api_key", "secret", "password"])
def test_a_judge_may_have_any_name(name: str) -> None:
    run = run_of(judges={name: ASKED})
    assert list(run.every_judge) == [name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("judge", "'judge' is the one of the section `judge`; give this judge a name of its own"),
        ("a/b", "a judge's name becomes part of metric names; use letters, digits, - and _"),
        ("", "a judge's name becomes part of metric names"),
    ],
)
def test_a_name_that_would_confuse_is_refused(name: str, sentence: str, tmp_path: Path) -> None:
    assert sentence in refusal(tmp_path, judges={name: ASKED})


def test_settings_of_every_judge_are_shown_and_read_back(tmp_path: Path) -> None:
    judges = {"gold": {**ASKED, "cache": None}, "own": {"serve": {"model": "m", "devices": [2]}}}
    run = run_of(judge=ASKED, judges=judges, evaluate={"judge": "gold"})
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(run), encoding="utf-8")
    assert load_config(file) == run
    changed = load_config(file, ["judges.gold.timeout_s=7", "judges.own.serve.gpu_memory=0.5"])
    assert changed.judges["gold"].timeout_s == 7
    assert changed.judges["own"].serve is not None


# --- GPUs -----------------------------------------------------------------------------------------


@given(
    first=st.lists(st.integers(2, 5), max_size=3, unique=True),
    second=st.lists(st.integers(2, 5), max_size=3, unique=True),
    parts=st.integers(1, 6),
)
def test_no_gpu_is_given_to_two_judges(first: list[int], second: list[int], parts: int) -> None:
    shared = {} if first else {"tensor_parallel": parts}
    judges = {
        "a": {"serve": {"model": "m", "devices": first, **shared}},
        "b": {"serve": {"model": "n", "devices": second}},
    }
    taken = set(first) or set(range(parts))
    if second and taken & set(second):
        with pytest.raises(
            ValidationError, match=r"judges\.[ab]\.serve\.\w+: .* belong to|are the"
        ):
            run_of(judges=judges, evaluate={"judge": "b"}, rewards={"r": {**RUBRIC, "judge": "a"}})
        return
    run_of(judges=judges, evaluate={"judge": "b"}, rewards={"r": {**RUBRIC, "judge": "a"}})


@pytest.mark.parametrize("given", [0, -1, "ALL", None, True, 1.5, [1], 2**70], ids=str)
def test_no_number_of_criteria_is_one_sentence(given: Any) -> None:
    with pytest.raises(ValidationError) as error:
        JudgeConfig.model_validate(ASKED | {"criteria_per_call": given})
    (problem,) = error.value.errors()
    assert problem["loc"] == ("criteria_per_call",)
    assert "must be a whole number of at least 1, or all, got " in problem["msg"]


# --- the file of verdicts -------------------------------------------------------------------------

PLACES = ("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")
CRITERION = Question("criterion", "It is kind.")
JOBS = tuple(
    Job(conversation=(("user", "Hi?"),), response="Hi.", questions=questions)
    for questions in (
        (CRITERION,),
        (CRITERION, Question("criterion", "It is short.")),
        (replace(CRITERION, expected=True, scale=((0.0, "no"), (1.0, "yes"))),),
        (Question("rating", "Kindness."),),
        (Question("grade", "Is it kind?"),),
    )
)
PLAIN: dict[str, Any] = {"model": "small", "endpoints": [{"url": PLACES[0]}]}
ANY_JUDGE = st.builds(
    lambda given, url: JudgeConfig.model_validate(given | {"endpoints": [{"url": url}]}),
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(["small", "small", "large"]),
            "cache": st.sampled_from([None, "one.sqlite", "a/../one.sqlite", "two.sqlite"]),
        },
        optional={
            "revision": st.sampled_from([None, "1", "b", "b c", "c"]),
            "temperature": st.sampled_from([0.0, 1.0]),
            "extra_body": st.sampled_from([{}, {"seed": 1}, {"seed": True}, {"temperature": 1.0}]),
            "criteria_per_call": st.sampled_from([1, 2, "all"]),
            "order_seed": st.sampled_from([0, 1]),
            "reasons": st.booleans(),
            "structured": st.booleans(),
        },
    ),
    st.sampled_from(PLACES),
)


def keys(judge: JudgeConfig) -> set[bytes]:
    """Keys of all that a judge may be asked about a response."""
    renderer = Renderer(judge)
    return {request.key for job in JOBS for request in renderer.requests(job)}


def is_one_file(one: JudgeConfig, other: JudgeConfig) -> bool:
    return None not in (one.cache, other.cache) and str(one.cache)[-10:] == str(other.cache)[-10:]


@given(judges=st.lists(ANY_JUDGE, min_size=1, max_size=4))
def test_no_verdict_of_one_server_is_read_as_that_of_another(judges: list[JudgeConfig]) -> None:
    named = dict(zip("abcd", judges, strict=False))
    apart = told_apart(named)
    assert apart["a"] == named["a"]
    assert told_apart(apart) == apart
    for one, other in itertools.combinations(named, 2):
        first, second = named[one], named[other]
        if is_one_file(first, second) and first.endpoints != second.endpoints:
            assert not keys(apart[one]) & keys(apart[other])
    for name, judge in named.items():
        changed = apart[name].model_dump() | {"revision": judge.revision}
        assert changed == judge.model_dump()


@given(one=ANY_JUDGE, other=ANY_JUDGE)
def test_judges_with_a_key_in_common_are_told_apart(one: JudgeConfig, other: JudgeConfig) -> None:
    assert bool(keys(one) & keys(other)) <= (filed_under(one) == filed_under(other))


@pytest.mark.parametrize(
    "gold",
    [
        {"criteria_per_call": "all"},
        {"order_seed": 3},
        {"template": "words.txt"},
        {"reasons": False},
        {"extra_body": {"temperature": 0.0}},
    ],
    ids=str,
)
def test_settings_that_no_key_of_a_criterion_alone_holds_tell_no_judges_apart(gold: Any) -> None:
    judges = {
        "judge": JudgeConfig.model_validate(PLAIN),
        "gold": JudgeConfig.model_validate(PLAIN | {"endpoints": [{"url": PLACES[1]}]} | gold),
    }
    assert [judge.revision for judge in told_apart(judges).values()] == [None, "gold"]


def test_a_file_is_one_however_it_is_spelt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.chdir(tmp_path)
    spelt = [
        "folder/c.sqlite",
        "./folder/c.sqlite",
        "folder/../folder/c.sqlite",
        "link/c.sqlite",
        tmp_path / "folder" / "c.sqlite",
        "loop/c.sqlite",
        "folder/d.sqlite",
    ]
    ports = itertools.count(1)
    judges = {
        f"j{number}": JudgeConfig.model_validate(
            PLAIN | {"cache": path, "endpoints": [{"url": f"http://127.0.0.1:{next(ports)}/v1"}]}
        )
        for number, path in enumerate(spelt)
    }
    revisions = [judge.revision for judge in told_apart(judges).values()]
    assert revisions == [None, "j1", "j2", "j3", "j4", None, None]


def test_servers_that_swap_their_models_are_two_judges() -> None:
    def judge(*models: str) -> JudgeConfig:
        places = [{"url": url, "model": m} for url, m in zip(PLACES, models, strict=True)]
        return JudgeConfig.model_validate(PLAIN | {"endpoints": places})

    judges = told_apart({"judge": judge("a", "b"), "gold": judge("b", "a")})
    assert judges["gold"].revision == "gold"


@pytest.mark.parametrize("route", ["classify", "score"])
def test_a_classifier_is_told_apart_by_all_that_tells_it_from_another(route: Any) -> None:
    def classifier(port: int) -> ClassifierConfig:
        endpoint = {"url": f"http://127.0.0.1:{port}"}
        return ClassifierConfig.model_validate({"model": "m", "endpoints": [endpoint]})

    one, other = classifier(1).as_judge("classify"), classifier(2).as_judge(route)
    assert told_apart({"a": one, "b": other})["b"].revision == "b"
    same = classifier(1).as_judge(route)
    expected = None if route == "classify" else "b"
    assert told_apart({"a": one, "b": same})["b"].revision == expected


def test_a_judge_asked_without_the_others_is_the_one_that_was_asked_beside_them() -> None:
    places = [ASKED, ASKED | {"endpoints": [{"url": PLACES[1]}]}]
    judges = dict(zip(("cheap", "gold"), places, strict=True))
    together = run_of(
        judges=judges, rewards={"r": {**RUBRIC, "judge": "cheap"}, "s": {**RUBRIC, "judge": "gold"}}
    )
    alone = run_of(judges=judges, rewards={"s": {**RUBRIC, "judge": "gold"}})
    assert asked_judges(alone) == {"gold": asked_judges(together)["gold"]}
    assert asked_judges(alone)["gold"].revision == "gold"


# --- going on with a run --------------------------------------------------------------------------

LIMITS: dict[str, Any] = {
    "endpoints": [{"url": "http://127.0.0.1:2/v1", "concurrency": 3}],
    "timeout_s": 5.0,
    "deadline_s": 5.0,
    "attempts": 1,
    "hedge_quantile": 0.9,
    "cache": "other.sqlite",
    "cache_gb": 1.0,
    "workers": 2,
    "host": "0.0.0.0",
    "budget": {"step": 0.5, "group": 0.5},
}
OTHERS: dict[str, Any] = {
    "model": "another",
    "revision": "2",
    "temperature": 0.5,
    "max_tokens": 7,
    "reasons": False,
    "structured": False,
    "extra_body": {"seed": 1},
}


@pytest.mark.parametrize("name", ["judge", "gold"])
@pytest.mark.parametrize("setting", [*LIMITS, *OTHERS])
def test_a_resumed_run_may_ask_otherwise_and_no_other_judge(name: str, setting: str) -> None:
    def with_judges(changed: Any) -> RunConfig:
        judges = {"judge": ASKED, "gold": ASKED} | {name: ASKED | changed}
        rewards = {"r": {**RUBRIC, "judge": "judge"}, "s": {**RUBRIC, "judge": "gold"}}
        return run_of(judge=judges.pop("judge"), judges=judges, rewards=rewards)

    value = (LIMITS | OTHERS)[setting]
    changed = changed_settings(with_judges({}), with_judges({setting: value}), MAY_CHANGE_ON_RESUME)
    where = "judge" if name == "judge" else "judges.gold"
    if setting in LIMITS:
        assert changed == []
    else:
        assert changed
        assert all(each.startswith(f"{where}.{setting}") for each in changed)


@pytest.mark.parametrize(
    "sections",
    [
        {"rewards": {"r": {**RUBRIC, "judge": "gold"}}},
        {"evaluate": {"judge": "gold"}},
        {"judges": {"gold": ASKED | {"model": "another"}}},
        {"judges": {}},
    ],
)
def test_a_resumed_run_asks_the_judges_that_it_asked(sections: Any) -> None:
    before = run_of(judge=ASKED, judges={"gold": ASKED})
    after = run_of(**({"judge": ASKED, "judges": {"gold": ASKED}} | sections))
    assert changed_settings(before, after, MAY_CHANGE_ON_RESUME)
