"""Runs whose judge is shown a reference by a template, and grades with probabilities."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.commands.test_judge import configuration, judged
from tests.commands.test_train import samples, train, write_config
from tests.judge.server import FakeEndpoint, completion
from tests.judge.worker.test_probability import token

TEMPLATE = """Judge it strictly.
The answer should have been: <<reference>>
It was: <<response>>
<<criterion>>"""
FENCED = re.compile(r"^(=+)\n(.*?)\n\1$", re.DOTALL | re.MULTILINE)


def grade(response: str, reference: str) -> tuple[str, dict[str, float]]:
    """The grade that is written, and the chance of each: more for long answers, less for large
    numbers."""
    high = (1 + len(response) % 5) / (8 + int(reference) % 3)
    return "1", {" 0": 0.9 - high, " 1": 0.1, " 2": high}


def reply(body: Mapping[str, Any]) -> web.Response:
    reference, response, *_ = (text for _, text in FENCED.findall(body["messages"][-1]["content"]))
    key, written, chances = "met", "true", {" true": 0.9, " false": 0.1}
    if '"grade"' in body["messages"][0]["content"]:
        key, (written, chances) = "grade", grade(response, reference)
    said = completion(f'{{"reason": "So.", "{key}": {written}}}')
    tokens = [token(f'{{"reason": "So.", "{key}":'), token(f" {written}", **chances), token("}")]
    if body.get("logprobs"):
        said["choices"][0]["logprobs"] = {"content": tokens}
    return web.json_response(said)


def sections(folder: Path, endpoint: FakeEndpoint, **reward: Any) -> dict[str, Any]:
    (folder / "judge.txt").write_text(TEMPLATE)
    criteria = {"kind": "It is kind.", "rude": {"text": "It is rude.", "polarity": "negative"}}
    return {
        "steps": 1,
        "rewards": {
            "judged": {
                "rubric": "channels",
                "criteria": criteria,
                "scale": {0: "missing", 1: "partly", 2: "fully"},
                "reference": "number",
                "grade": "probability",
                **reward,
            }
        },
        "judge": {
            "model": "judge",
            "endpoints": [{"url": endpoint.url}],
            "cache": str(folder / "cache.sqlite"),
            "template": str(folder / "judge.txt"),
        },
    }


@pytest.mark.slow
def test_a_run_trains_on_the_mean_grades_of_what_its_template_shows(
    tiny_model: Path, tmp_path: Path
) -> None:
    with FakeEndpoint(script=reply) as endpoint:
        config = write_config(tiny_model, tmp_path, **sections(tmp_path, endpoint))
        train(config)
        first, *calls = endpoint.seen.bodies
        assert "It is 4." in first["messages"][-1]["content"]
        assert first["logprobs"] is True
        assert calls
        for row in samples(tmp_path / "run"):
            _, chances = grade(row["completion"], row["prompt_id"].partition("/")[2])
            mean = (chances[" 1"] / 2 + chances[" 2"]) / sum(chances.values())
            assert row["scores"]["judged/kind"] == pytest.approx(mean, abs=1e-6)
            assert row["scores"]["judged/rude"] == pytest.approx(1 - mean, abs=1e-6)
            shown = row["remarks"]["judged/kind"]["answer"]
            assert shown == f"{round(2 * mean, 2):g} of 0 to 2" or shown == "1 of 0 to 2 (partly)"
        for body in calls:
            user = body["messages"][-1]["content"]
            assert user.startswith("Judge it strictly.\nThe answer should have been: \n=====\n")
            assert "Grades:\n=====\n0: missing\n1: partly\n2: fully\n=====" in user
    provenance = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert len(provenance["starts"][0]["inputs"]["template of judge"]) == 64


def test_a_trial_shows_grades_by_their_words(tmp_path: Path) -> None:
    def half(body: Mapping[str, Any]) -> web.Response:
        assert "A good one" in body["messages"][-1]["content"]
        return web.json_response(completion('{"reason": "So.", "grade": 1}'))

    with FakeEndpoint(script=half) as endpoint:
        config = configuration(tmp_path, endpoint.url)
        more = ["rewards.judged.reference=reference_answer"]
        more += ["rewards.judged.scale={0: missing, 1: partly, 2: fully}"]
        result = judged(config, "--prompts", "1", "--json", str(tmp_path / "found"), *more)
    assert result.exit_code == 0, result.output
    assert "1 of 0 to 2 (partly)" in result.stdout
    verdict = json.loads((tmp_path / "found").read_text().splitlines()[0])["verdicts"][0]
    assert (verdict["score"], verdict["scale"]["1"]) == (0.5, "partly")
