"""`rvpo judge`, with real workers and a real endpoint."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from typer.testing import CliRunner, Result

from rvpo.cli import app
from rvpo.config.document import dump
from tests.configs import tiny_settings
from tests.judge.processes import alive, wait_until
from tests.judge.server import FakeEndpoint, Faults, completion, criterion, is_met
from tests.judge.sheets import criteria, verdicts

KEY_VARIABLE = "RVPO_TEST_JUDGE_KEY"
KEY = "sk-not-to-be-seen-4711"
RUBRIC = {
    "rubric": "channels",
    "criteria": {
        "good": "The response is good.",
        "bad": {"text": "The response is bad.", "polarity": "negative"},
    },
}


def capitals(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"c/{i}", "prompt": f"Capital {i}?", "reference_answer": f"A good one, {i}."}
        for i in range(count)
    ]


def configuration(folder: Path, endpoint: str, **judge: Any) -> Path:
    settings = tiny_settings(
        folder / "no-model",
        folder / "run",
        data={
            "train": {"function": "tests.commands.test_judge:capitals", "arguments": {"count": 3}}
        },
        rewards={"judged": RUBRIC},
        judge={
            "model": "fake",
            "endpoints": [{"url": endpoint, "input_price": 1.0, "output_price": 10.0}],
            "cache": None,
            "attempts": 2,
            **judge,
        },
    )
    path = folder / "run.yaml"
    path.write_text(dump(settings))
    return path


def judged(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["judge", "--config", str(path), *arguments])


def asked(body: Mapping[str, Any]) -> tuple[str, str]:
    """The response and the criterion of a request."""
    text = body["messages"][-1]["content"]
    response, sentence = re.findall(
        r"^(?:The response|Criterion):\n=+\n(.*?)\n=+$", text, flags=re.DOTALL | re.MULTILINE
    )
    return response, sentence


def reply(body: Mapping[str, Any]) -> web.Response:
    """What is asked is met where the response says the word."""
    response, sentence = asked(body)
    word = re.findall(r"\w+", sentence)[-1]
    said = {"reason": f"It says\n'{response}'.\x1b[2J", "met": word in response}
    return web.json_response(completion(json.dumps(said)))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_rubric_is_tried_on_the_data_without_any_model(tmp_path: Path) -> None:
    with FakeEndpoint(script=reply) as endpoint:
        result = judged(configuration(tmp_path, endpoint.url), "--prompts", "2")
    assert result.exit_code == 0, result.output
    assert "prompt c/1, off-topic" in result.stdout
    assert "The response is bad." in result.stdout
    assert "| It says 'A good one, 0.'. [2J" in result.stdout
    assert "\x1b" not in result.stdout
    table = [line.split() for line in result.stdout.splitlines()]
    assert ["judged", "1.00", "0.50", "1.00", "100%", "0"] in table
    assert ["good", "1.00", "0.00", "1.00", "100%", "0"] in table
    assert ["bad", "1.00", "1.00", "1.00", "100%", "0"] in table
    for sentence in (
        "judged: the reference scores above the empty response for 2 of 2 prompts",
        "judged: the reference scores above the off-topic response for 0 of 2 prompts",
        "the same score for every response: judged/bad",
        "agreement: 100.0% of repeated verdicts are equal; at judge.temperature=0",
        "verdicts: 24, 0 of them known before",
        "tokens: 2,400 in, 480 out; cost: $0.0072",
        "s at the 95th percentile",
    ):
        assert sentence in result.stdout
    assert len(endpoint.seen.arrivals) == 24


def test_criteria_that_share_calls_are_held_against_criteria_alone(tmp_path: Path) -> None:
    """Together this judge finds everything good, and alone it looks."""

    def hasty(body: Mapping[str, Any]) -> web.Response:
        if not criteria(body):
            return reply(body)
        return web.json_response(completion(verdicts(body, lambda shown: "is good" in shown)))

    out = tmp_path / "judged.jsonl"
    with FakeEndpoint(script=hasty) as endpoint:
        path = configuration(tmp_path, endpoint.url, criteria_per_call="all")
        arguments = ("--prompts", "2", "--repeats", "1", "--json", str(out))
        result = judged(path, *arguments)
    assert result.exit_code == 0, result.output
    assert len(endpoint.seen.arrivals) == 6 + 12
    table = [line.split() for line in result.stdout.splitlines()]
    # good: met together for all of six responses, and alone for four. bad: never, either way.
    good = next(words for words in table if words[:3] == ["good", "6", "67%"])
    assert (good[3], good[7:]) == ("0.00", ["1.00", "0.67", "0"])
    assert float(good[4]) < 0 < float(good[6])  # two prompts leave much open
    assert ["bad", "6", "100%", "-", "-", "1.00", "1.00", "0"] in table
    for sentence in (
        "together: 6 calls, 600 tokens in and 120 out, 0 verdicts failed",
        "alone: 12 calls, 1,200 tokens in and 240 out, 0 verdicts failed",
    ):
        assert sentence in result.stdout
    assert lines(out)[-1]["alone"]["rows"][0]["pairs"] == 12


def test_repeats_that_differ_are_shown_and_the_cache_keeps_each(tmp_path: Path) -> None:
    calls: list[None] = []

    def moody(body: Mapping[str, Any]) -> web.Response:
        calls.append(None)
        return web.json_response(completion(json.dumps({"reason": "", "met": len(calls) == 2})))

    file, out = tmp_path / "samples.jsonl", tmp_path / "out.jsonl"
    file.write_text(json.dumps({"prompt": "Hi?", "completion": "Hi."}))
    with FakeEndpoint(script=moody) as endpoint:
        path = configuration(
            tmp_path,
            endpoint.url,
            cache=str(tmp_path / "cache.sqlite"),
            temperature=1.0,
            endpoints=[{"url": endpoint.url, "concurrency": 1}],
        )
        rubric = "rewards.judged.criteria={good: It is good.}"
        arguments = ("--samples", str(file), "--repeats", "3", "--json", str(out), rubric)
        first, again = judged(path, *arguments), judged(path, *arguments)
    assert (first.exit_code, again.exit_code) == (0, 0), first.output
    assert "1 met" in first.stdout
    assert "2 not met" in first.stdout
    assert "agreement: 33.3% of repeated verdicts are equal\n" in first.stdout
    assert "cost: no price set" in first.stdout
    assert len(calls) == 3
    assert "verdicts: 3, 3 of them known before" in again.stdout
    response, summary = lines(out)
    assert response["completion"] == "Hi."
    assert sorted(a["value"] for a in response["verdicts"][0]["answers"]) == [0, 0, 1]
    assert summary["summary"]["agreement"] == pytest.approx(1 / 3)


def test_verdicts_that_failed_are_said_and_status_1(tmp_path: Path) -> None:
    file, out = tmp_path / "samples.jsonl", tmp_path / "out.jsonl"
    rubric = [criterion(number) for number in range(30)]
    file.write_text(json.dumps({"prompt": "Hi?", "completion": "Hi.", "rubric": rubric}))
    with FakeEndpoint(Faults(server_error=0.6), seed=1) as endpoint:
        path = configuration(tmp_path, endpoint.url)
        result = judged(
            path, "--samples", str(file), "--json", str(out), "rewards.judged={rubric: channels}"
        )
    assert result.exit_code == 1, result.output
    (last,) = result.stdout.splitlines()[-1:]
    assert re.fullmatch(r"\d+ of 60 verdicts failed: \d+ http 5\d\d.*", last)
    response, _ = lines(out)
    answers = [(v["text"], a) for v in response["verdicts"] for a in v["answers"]]
    lost = [a for _, a in answers if a["value"] is None]
    assert last.startswith(f"{len(lost)} of 60")
    assert all(a["value"] == is_met(text) for text, a in answers if a not in lost)


def test_no_key_appears_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)

    def tell(body: Mapping[str, Any]) -> web.Response:
        return web.Response(status=401, text=json.dumps({"error": {"message": f"bad key {KEY}"}}))

    out = tmp_path / "out.jsonl"
    with FakeEndpoint(script=tell) as endpoint:
        path = configuration(
            tmp_path, "", endpoints=[{"url": endpoint.url, "key_variable": KEY_VARIABLE}]
        )
        result = judged(path, "--prompts", "1", "--repeats", "1", "--json", str(out))
    assert result.exit_code == 1
    assert any(KEY in str(headers) for headers in endpoint.seen.headers)
    assert "http 401: the server said 'bad key [key]'; see that key_variable" in result.stdout
    assert KEY not in result.output + out.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rewards={odd: {function: tests.toy:vowels}}"], "rewards: none of odd asks a judge"),
        (["rewards.judged={compare: 'Which?'}"], "judged compares samples of one prompt"),
        (["--samples", "none.jsonl"], "--samples: none.jsonl cannot be read"),
        (["--json", "no/such/out.jsonl"], "--json: no/such/out.jsonl cannot be written"),
        (["rewards.judged={rubric: channels}"], "no prompt has criteria in a column 'rubric'"),
        (["data.train={path: none.jsonl}"], "data.train.path: there is no file"),
        (
            ["judge.endpoints=[{url: 'https://x', key_variable: RVPO_NOT_SET}]"],
            "RVPO_NOT_SET holds",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = judged(configuration(tmp_path, "http://127.0.0.1:9/v1"), *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert message in result.stderr.splitlines()[-1]


def test_the_samples_are_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    file.write_text("precious")
    path = configuration(tmp_path, "http://127.0.0.1:9/v1")
    result = judged(path, "--samples", str(file), "--json", str(file))
    assert result.exit_code == 2
    assert file.read_text() == "precious"


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    with FakeEndpoint(latency_s=60.0) as endpoint:
        path = configuration(tmp_path, endpoint.url)
        rubric = f"rewards.judged.criteria={{one: {criterion(1)}}}"
        program = [sys.executable, "-m", "rvpo", "judge", "--config", str(path), rubric]
        with subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            wait_until(lambda: endpoint.seen.in_flight, 60)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=20)
        assert process.returncode == 130, errors
        assert children
        wait_until(lambda: not any(alive(int(pid)) for pid in children))
        assert "Traceback" not in errors


def two_judges(folder: Path, cheap: str, gold: str) -> Path:
    path = configuration(folder, cheap)
    settings = yaml.safe_load(path.read_text())
    again = {"hard": {**RUBRIC, "judge": "gold"}, "hard too": {**RUBRIC, "judge": "gold"}}
    settings["rewards"] |= {name.replace(" ", "_"): reward for name, reward in again.items()}
    settings["judges"] = {"gold": settings["judge"] | {"endpoints": [{"url": gold}]}}
    path.write_text(dump(settings))
    return path


def strict(body: Mapping[str, Any]) -> web.Response:
    """Nothing is met."""
    return web.json_response(completion(json.dumps({"reason": "No.", "met": False})))


def test_each_reward_is_tried_on_the_judge_that_it_names(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with FakeEndpoint(script=reply) as cheap, FakeEndpoint(script=strict) as gold:
        path = two_judges(tmp_path, cheap.url, gold.url)
        result = judged(path, "--prompts", "1", "--repeats", "1", "--json", str(out))
    assert result.exit_code == 0, result.output
    # 3 responses and 2 criteria; the rewards that ask gold ask it the same.
    assert len(cheap.seen.arrivals) == len(gold.seen.arrivals) == 6
    *judgements, summary = lines(out)
    for judgement in judgements:
        assert judgement["scores"]["hard"] == judgement["scores"]["hard_too"] == 0.5
    assert judgements[0]["scores"]["judged"] == 1.0
    found = summary["summary"]["metrics"]
    assert found["judge/verdicts"] == 12
    assert found["judges/judge/verdicts"] == found["judges/gold/verdicts"] == 6
    assert "judge: verdicts: 6, 0 of them known before" in result.stdout
    assert "cost: no price set (input_price and output_price of judges.gold.endpoints)" in (
        result.stdout
    )


def test_one_judge_is_tried_in_place_of_the_others(tmp_path: Path) -> None:
    with FakeEndpoint(script=reply) as cheap, FakeEndpoint(script=strict) as gold:
        path = two_judges(tmp_path, cheap.url, gold.url)
        result = judged(path, "--prompts", "1", "--repeats", "1", "--judge", "gold")
    assert result.exit_code == 0, result.output
    assert (len(cheap.seen.arrivals), len(gold.seen.arrivals)) == (0, 6)


def test_a_judge_that_is_not_there_is_said_to_be_none(tmp_path: Path) -> None:
    path = two_judges(tmp_path, "http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1")
    result = judged(path, "--judge", "golds")
    assert result.exit_code == 2
    assert "--judge golds: there is no such judge; did you mean gold?" in result.output


def test_two_judges_are_held_against_each_other(tmp_path: Path) -> None:
    file, out = tmp_path / "samples.jsonl", tmp_path / "out.jsonl"
    said = ["good", "good", "bad", "neither"]
    rows = [{"prompt": f"{n}?", "completion": text} for n, text in enumerate(said)]
    file.write_text("\n".join(map(json.dumps, rows)))

    def flatters(body: Mapping[str, Any]) -> web.Response:
        _, sentence = asked(body)
        return web.json_response(completion(json.dumps({"reason": "", "met": "good" in sentence})))

    with FakeEndpoint(script=flatters) as cheap, FakeEndpoint(script=reply) as gold:
        path = configuration(tmp_path, cheap.url)
        judges = f"judges={{gold: {{model: g, cache: null, endpoints: [{{url: {gold.url}}}]}}}}"
        arguments = ("--samples", str(file), "--repeats", "1", "--json", str(out), judges)
        result = judged(path, *arguments, "--against", "gold")
        unknown = judged(path, *arguments, "--against", "gild")
        itself = judged(path, *arguments, "--against", "gold", "--judge", "gold")
    assert result.exit_code == 0, result.output
    table = [line.split() for line in result.stdout.splitlines()]
    # good: met always against two of four. bad, to be avoided: never against one of four.
    assert [
        "good",
        "4",
        "50%",
        "0.00",
        "-0.58",
        "to",
        "0.58",
        "1.00",
        "0.50",
        "50%",
        "0%",
        "0",
    ] in table
    assert [
        "bad",
        "4",
        "75%",
        "0.00",
        "-1.00",
        "to",
        "1.00",
        "1.00",
        "0.75",
        "25%",
        "0%",
        "0",
    ] in table
    for sentence in (
        "agreement with judge 'gold', on the verdicts that both gave",
        "judged/good: its own judge gave one verdict throughout, which makes kappa 0",
        "training takes 64 verdicts (4 steps of 8 samples, 2.0 each); held-out prompts come on top",
        "  with judge: about $0.02",
        "  with gold: about 6,400 tokens in and 1,280 tokens out at no price set",
    ):
        assert sentence in result.stdout
    assert len(cheap.seen.arrivals) == len(gold.seen.arrivals) == 8
    told = lines(out)
    assert [line.get("judge") for line in told[5:9]] == ["gold"] * 4
    assert told[-1]["against"]["rows"][0]["pairs"] == 8
    assert unknown.exit_code == itself.exit_code == 2
    assert "--against gild: there is no such judge; did you mean gold?" in unknown.output
    assert "--against gold: every reward asks it already" in itself.output


def test_training_with_several_judges_counts_what_each_of_them_gives(tmp_path: Path) -> None:
    with FakeEndpoint(script=reply) as cheap, FakeEndpoint(script=strict) as gold:
        path = two_judges(tmp_path, cheap.url, gold.url)
        settings = yaml.safe_load(path.read_text())
        settings["judges"]["gold"]["endpoints"][0] |= {"input_price": 1.0, "output_price": 1.0}
        path.write_text(dump(settings))
        result = judged(path, "--prompts", "1", "--repeats", "1", "--against", "gold")
    assert result.exit_code == 0, result.output
    for line in (
        "training takes 128 verdicts (4 steps of 8 samples, 4.0 each)",
        "  with judge, 64 of them: about",
        "  and gold, 64 of them: about $0.01",
        "  with gold: about $0.01",  # which is asked the same by all rewards, and so once
    ):
        assert line in result.stdout
