"""Evaluations from the command line: real engines, a real HTTP judge, kills and dead judges."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.benchmarks.test_gpqa import file as gpqa_file
from tests.benchmarks.test_healthbench import file as healthbench_file
from tests.benchmarks.test_healthbench import raw
from tests.commands.forked import ForkedRun, forker
from tests.commands.test_train import RANK_VARIABLES, metrics, train, write_config
from tests.judge.server import FakeEndpoint, completion

pytestmark = pytest.mark.slow

ENGINE = ("rollout.engine.name=transformers", "model.precision=fp32")


def start(*arguments: str) -> ForkedRun:
    kept = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    return forker().start(["evaluate", *arguments], Path.cwd(), kept)


def evaluate(*arguments: str, code: int = 0) -> str:
    output, _ = (process := start(*arguments)).communicate(timeout=300)
    assert process.returncode == code, output
    assert "Traceback" not in output
    return " ".join(output.split())


def gpqa(model: Path, folder: Path, *settings: str, output: str = "out") -> list[str]:
    path = gpqa_file(folder)
    return [
        *("--benchmark", "gpqa", "--model", str(model), "--output", str(folder / output)),
        *(*ENGINE, f"benchmarks.gpqa.path={path}", "benchmarks.gpqa.temperature=1"),
        *("benchmarks.gpqa.max_completion_tokens=8", "benchmarks.gpqa.batch=1", *settings),
    ]


def results(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The summary and the rows of the one result below a folder."""
    (summary,) = folder.glob("*/*/summary.json")
    files = sorted(summary.parent.glob("samples/*.jsonl"))
    rows = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    return json.loads(summary.read_text()), rows


def test_a_killed_evaluation_goes_on_where_it_was(tiny_model: Path, tmp_path: Path) -> None:
    evaluate(*gpqa(tiny_model, tmp_path, output="whole"))
    process = start(*gpqa(tiny_model, tmp_path))
    samples = tmp_path / "out/gpqa"
    deadline = time.monotonic() + 120
    while len(list(samples.glob("*/samples/*.jsonl"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in samples.glob("*/samples/*.jsonl")}
    assert 3 <= len(done) <= 12
    said = evaluate(*gpqa(tiny_model, tmp_path))
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert "accuracy/robust" in said
    before = said
    assert evaluate(*gpqa(tiny_model, tmp_path)).endswith(before[-200:])


def test_results_of_other_settings_are_not_mixed(tiny_model: Path, tmp_path: Path) -> None:
    evaluate(*gpqa(tiny_model, tmp_path, "benchmarks.gpqa.limit=1"))
    said = evaluate(*gpqa(tiny_model, tmp_path), code=2)
    assert "holds results that differ in questions, content, limit," in said
    assert "--output" in said
    said = evaluate(
        *gpqa(tiny_model, tmp_path, "benchmarks.gpqa.limit=1", "benchmarks.gpqa.batch=2"), code=2
    )
    assert "holds results that differ in batch," in said  # batches of another size would not fit


def judged(endpoint: FakeEndpoint, folder: Path, model: Path, *settings: str) -> list[str]:
    prompts = ([{"role": "user", "content": f"Is {n} safe?"}] for n in range(4))
    path = healthbench_file(folder, *(raw(f"p{n}", prompt=p) for n, p in enumerate(prompts)))
    return [
        *("--benchmark", "healthbench", "--model", str(model), "--output", str(folder / "out")),
        *(*ENGINE, f"benchmarks.healthbench.path={path}", "benchmarks.healthbench.batch=2"),
        "benchmarks.healthbench.max_completion_tokens=8",
        f"judge={{model: j, endpoints: [{{url: '{endpoint.url}'}}], attempts: 2}}",
        f"judge.cache={folder / 'cache.sqlite'}",
        *settings,
    ]


def met_if_positive(body: dict[str, Any]) -> web.Response:
    """In the dress that graders like."""
    met = json.dumps("[5]" in body["messages"][-1]["content"])
    text = f'```json\n{{"explanation": "So it is.", "criteria_met": {met}}}\n```'
    return web.json_response(completion(text))


def test_every_criterion_is_judged_once(tiny_model: Path, tmp_path: Path) -> None:
    with FakeEndpoint(script=met_if_positive) as endpoint:
        said = evaluate(*judged(endpoint, tmp_path, tiny_model))
        assert len(endpoint.seen.bodies) == 8
        shown = endpoint.seen.bodies[0]["messages"][-1]["content"]
        assert "safe?\n\nassistant: " in shown
        again = evaluate(*judged(endpoint, tmp_path, tiny_model))
        assert again[again.index("overall") :] == said[said.index("overall") :]
        assert len(endpoint.seen.bodies) == 8
    summary, rows = results(tmp_path / "out")
    assert summary["scores"]["overall"]["value"] == 1
    assert summary["scores"]["overall"]["coverage"] == 1
    assert summary["scores"]["overall"]["possible"] == [1, 1]
    lengths = [row["completion_tokens"] for row in rows]
    assert summary["scores"]["completions/mean_length"]["value"] == sum(lengths) / 4
    cut = [row["finish_reason"] == "length" for row in rows]
    assert summary["scores"]["completions/clipped_ratio"]["value"] == sum(cut) / 4
    assert "possible" in said
    assert summary["identity"]["grader"]["template"]
    first = rows[0]["verdicts"][0]
    assert (first["met"], first["explanation"], first["failure"]) == (True, "So it is.", None)
    assert first["usage"]["requests"] == 1
    assert summary["about"]["judge"]["requests"] == 8
    assert "judge: requests 8" in said


def test_a_dead_judge_ends_it_in_one_sentence_and_costs_nothing(
    tiny_model: Path, tmp_path: Path
) -> None:
    dead = True

    def script(body: dict[str, Any]) -> web.Response:
        if dead and len(endpoint.seen.bodies) > 4:
            return web.Response(status=500)
        return met_if_positive(body)

    with FakeEndpoint(script=script) as endpoint:
        quick = ("judge.deadline_s=2", "judge.timeout_s=1")
        said = evaluate(*judged(endpoint, tmp_path, tiny_model, *quick), code=2)
        assert "failed on 100% of what it was asked about 2 answers (mostly http 500)" in said
        asked = len(endpoint.seen.bodies)
        dead = False
        evaluate(*judged(endpoint, tmp_path, tiny_model, *quick))
        assert len(endpoint.seen.bodies) == asked + 4  # the second batch's alone


def test_training_evaluates_and_keeps_the_best_model(tiny_model: Path, tmp_path: Path) -> None:
    benchmarks = {"gpqa": {"path": str(gpqa_file(tmp_path)), "max_completion_tokens": 8}}
    held_out = {"function": "tests.toy:letters", "arguments": {"count": 6}}
    config = write_config(
        tiny_model,
        tmp_path,
        data={"held_out": held_out},
        evaluate={"every": 2, "benchmarks": benchmarks, "temperature": 0.9, "at_k": [1, 2]},
        checkpoint={"every": 2, "models_every": 2, "best": "eval/rewards/vowels/mean"},
        update={"lr": 1e-2},
    )
    train(config)
    run = tmp_path / "run"
    rows = metrics(run)
    assert ["eval/gpqa/accuracy" in row for row in rows] == [False, True, False, True]
    assert {p.name for p in (run / "models").iterdir()} == {"step-000002", "step-000004"}
    assert ["eval/pass@2/late" in row for row in rows] == [False, True, False, True]
    numbers = json.loads((run / "held_out.json").read_text())["at_k"]
    assert numbers["all_satisfied@1"]["prompts"] == 6
    scores = {row["step"]: row["eval/rewards/vowels/mean"] for row in rows if row["step"] % 2 == 0}
    best = json.loads((run / "best.json").read_text())
    assert best["value"] == max(scores.values())
    assert scores[best["step"]] == best["value"]
    weights = [
        run / f"{name}/model.safetensors" for name in ("best", f"models/step-{best['step']:06d}")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    # Every model that the run saved, as a curve; the last one is that of step 4.
    said = evaluate(*gpqa(run, tmp_path, "benchmarks.gpqa.limit=2"))
    assert "gpqa: accuracy" in said
    made = sorted(path.name for path in (tmp_path / "out/gpqa").iterdir())
    assert made[0] == "curve.png"
    assert [name[-6:] for name in made[1:]] == ["000002", "000004"]


def test_a_best_metric_that_nothing_gives_is_refused_at_once(
    tiny_model: Path, tmp_path: Path
) -> None:
    held_out = {"function": "tests.toy:letters", "arguments": {"count": 2}}
    config = write_config(
        tiny_model, tmp_path, data={"held_out": held_out}, checkpoint={"best": "eval/vowels"}
    )
    said = " ".join(train(config, code=2).split())
    assert "checkpoint.best: no evaluation gives 'eval/vowels'; there are eval/rewards/late" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--benchmark", "gpqa"], "benchmarks.gpqa.path"),
        (["--benchmark", "gqpa"], "did you mean 'gpqa'"),
        (["--benchmark", "bfcl", "benchmarks.gpqa={path: x, pathh: y}"], "gpqa.pathh"),
        (["--benchmark", "bfcl", "benchmarks=[gpqa]"], "benchmarks"),
        ([], "benchmarks: none is named"),
        (["--benchmark", "healthbench", "benchmarks.healthbench.path=x"], "needs a judge"),
    ],
)
def test_what_is_missing_is_one_sentence(
    tiny_model: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    assert words in evaluate("--model", str(tiny_model), *arguments, code=2)
