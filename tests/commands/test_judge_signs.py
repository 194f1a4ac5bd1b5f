"""`rvpo judge --signs`, with a real worker and a real endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from rvpo.config.document import dump
from rvpo.config.run import load_config
from tests.commands.test_judge import asked, configuration, judged
from tests.configs import tiny_settings
from tests.judge.server import FakeEndpoint, completion
from tests.rubrics.rows import user

ROW = {
    "prompt": user("Why is it red?"),
    "Rubrics": [
        {"criterion": "Names rest.", "points": 8},
        {"criterion": "Should warn of heat.", "points": -3},
        {"criterion": "Fails to warn of cold.", "points": 3},
    ],
}


def reply(body: Mapping[str, Any]) -> web.Response:
    """Heat is good, and cold is bad."""
    response, sentence = asked(body)
    is_met = ("heat" in response) == ("something good" in sentence)
    return web.json_response(completion(json.dumps({"reason": "So it is.", "met": is_met})))


def run(folder: Path, endpoint: str, row: Mapping[str, Any], **source: Any) -> Path:
    (folder / "rows.jsonl").write_text(json.dumps(row), encoding="utf-8")
    settings = tiny_settings(
        folder / "no-model",
        folder / "run",
        data={"train": {"rubrics": str(folder / "rows.jsonl"), "format": "rubrichub", **source}},
        rewards={"care": {"rubric": "channels"}},
        judge={"model": "fake", "endpoints": [{"url": endpoint}], "cache": None},
    )
    (folder / "run.yaml").write_text(dump(settings), encoding="utf-8")
    return folder / "run.yaml"


def test_signs_in_doubt_are_told_once_and_read_from_their_file(tmp_path: Path) -> None:
    signs = tmp_path / "signs.jsonl"
    with FakeEndpoint(script=reply) as endpoint:
        result = judged(run(tmp_path, endpoint.url, ROW), "--signs", str(signs))
    assert result.exit_code == 0, result.output
    assert "signs of 2 criteria: 1 positive, 1 negative" in " ".join(result.stdout.split())
    assert len(endpoint.seen.arrivals) == 4
    config = load_config(run(tmp_path, "http://127.0.0.1:9/v1", ROW, signs=str(signs)), [])
    rows, report = config.data.train_sources["data.train"].rows("data.train")
    assert [c["polarity"] for c in rows[0]["rubric"]] == ["positive", "positive", "negative"]
    assert report.told_by == {"judge": 2}


def test_nothing_is_asked_where_no_sign_is_in_doubt(tmp_path: Path) -> None:
    clear = {**ROW, "Rubrics": ROW["Rubrics"][:1]}
    path = run(tmp_path, "http://127.0.0.1:9/v1", clear)
    result = judged(path, "--signs", str(tmp_path / "signs.jsonl"))
    assert result.exit_code == 0, result.output
    assert "no sign is in doubt" in result.stdout
    assert not (tmp_path / "signs.jsonl").exists()


def test_data_without_rubrics_are_refused_in_one_sentence(tmp_path: Path) -> None:
    path = configuration(tmp_path, "http://127.0.0.1:9/v1")
    result = judged(path, "--signs", str(tmp_path / "signs.jsonl"))
    assert result.exit_code == 2
    assert "--signs: the data bring no rubrics" in result.output
