"""Judges by name: who asks which, what two of them share, and what is said of each."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from rvpo.cli import app
from rvpo.config.diff import MAY_CHANGE_ON_RESUME, changed_settings
from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import told_apart
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


# --- the file of verdicts -------------------------------------------------------------------------

PLACES = ("http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1")
JOB = Job(
    conversation=(("user", "Hi?"),),
    response="Hi.",
    questions=(Question("criterion", "It is kind."),),
)
ANY_JUDGE = st.builds(
    lambda model, url, revision, cache, temperature: JudgeConfig.model_validate(
        {
            "model": model,
            "endpoints": [{"url": url}],
            "revision": revision,
            "cache": cache,
            "temperature": temperature,
        }
    ),
    st.sampled_from(["small", "large"]),
    st.sampled_from(PLACES),
    st.sampled_from([None, "1"]),
    st.sampled_from([None, "one.sqlite", "two.sqlite"]),
    st.sampled_from([0.0, 1.0]),
)


def key(judge: JudgeConfig) -> bytes:
    return Renderer(judge).render(JOB, JOB.questions[0]).key


@given(judges=st.lists(ANY_JUDGE, min_size=1, max_size=4))
def test_no_verdict_of_one_server_is_read_as_that_of_another(judges: list[JudgeConfig]) -> None:
    named = dict(zip("abcd", judges, strict=False))
    apart = told_apart(named)
    assert apart["a"] == named["a"]
    for one, other in itertools.combinations(named, 2):
        first, second = named[one], named[other]
        if first.cache is None or first.cache != second.cache:
            continue
        if first.endpoints != second.endpoints:
            assert key(apart[one]) != key(apart[other])
    for name, judge in named.items():
        changed = apart[name].model_dump() | {"revision": judge.revision}
        assert changed == judge.model_dump()


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
