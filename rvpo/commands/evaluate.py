"""`rvpo evaluate`: saved models on benchmarks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from rvpo.benchmarks.benchmark import Benchmark, BenchmarkSummary
from rvpo.commands.engine import build_engine, check_engine, check_running
from rvpo.commands.inputs import judges_of, spent_in
from rvpo.commands.needs import judges_of_benchmarks
from rvpo.commands.passed_on import passed_on
from rvpo.config.evaluation import EvaluationConfig
from rvpo.config.model import ModelConfig
from rvpo.config.precisions import precisions
from rvpo.config.rollout import RolloutConfig
from rvpo.data.encoder import encoder_of
from rvpo.evaluate.build import judged_by, read_benchmarks
from rvpo.evaluate.curve import draw_curve
from rvpo.evaluate.date import date_of, keep_date
from rvpo.evaluate.display import show, show_curve
from rvpo.evaluate.measure import check_lengths, measure
from rvpo.evaluate.results import ResultFolder
from rvpo.evaluate.weights import SavedWeights
from rvpo.judge.client.server import fingerprint
from rvpo.model_files import resolve_model
from rvpo.report.run_folder import steps_in
from rvpo.report.stored import read_metrics
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.rollout.templates import read_template
from rvpo.runtime.agree import check_folder, check_same, digest
from rvpo.runtime.console import PlainConsole
from rvpo.runtime.precision import slow_precision
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed
from rvpo.trainer.digest import of_model

_AGAIN = "give the same command again, which does what is missing"


@dataclass(frozen=True)
class Candidate:
    """A model to evaluate."""

    name: str
    """Name of the folder of its results."""
    path: str
    """Folder or Hub id, as transformers and vLLM take it."""
    step: int | None = None
    """Updates that it was trained for; None where they are not known."""


def evaluate(config: EvaluationConfig, models: Sequence[str]) -> None:
    """Evaluate every model on every benchmark, print the scores and keep everything.

    Args:
        models: folders, Hub ids, or runs, which stand for all models that they saved. They share
            one engine, so their weights must fit the first one's.

    Raises:
        RvpoError: something the user can mend; what was done is kept, and the same command goes on.
    """
    ranks = Ranks.join(config.distributed.patience_minutes)
    console = PlainConsole(quiet=not ranks.is_main)
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    found: dict[str, dict[str, BenchmarkSummary]] = {}
    try:
        with ranks.patience(config.distributed.patience_minutes, _AGAIN), ExitStack() as stack:
            check_folder(config.output, ranks)
            with ranks.together():
                check_engine(config.rollout, ranks)
                asked = judges_of_benchmarks(config.benchmarks, config.every_judge)
                judges = judges_of(asked, ranks, console.print, spent_in(config.output))
                stack.callback(judges.close)
                formats = precisions(config.model, config.every_judge)
                slow = slow_precision(formats, on_gpu=ranks.device.type == "cuda")
                for line in (*passed_on(config.rollout, ranks), *slow):
                    say(line)
                candidates = find_models(models)
                benchmarks = read_benchmarks(config.benchmarks, console.print)
                encoder = encoder_of(config.model, config.rollout, candidates[0].path)
                date = date_of(config.output, encoder.now) if encoder.is_dated else encoder.now
            encoder = replace(encoder, now=ranks.first(date))
            with ranks.together():
                for benchmark in benchmarks:
                    check_lengths(benchmark, encoder, "benchmarks")
                encoder.check_values(benchmarks[0].prompts, say)
                check_running(config.rollout, candidates[0].path, encoder, ranks, say)
            check_same(_read(config, benchmarks, candidates), ranks)
            if encoder.is_dated:
                _keep_date(config, encoder, ranks, console)
            if judges:
                console.print("waiting for the judge")
                with ranks.together():
                    judges.start()
                judges.connect()
                benchmarks = judged_by(benchmarks, judges)
            engine = _engine(config, candidates[0].path, encoder, ranks, say)
            stack.callback(engine.close)
            for number, candidate in enumerate(candidates):
                ranks.doing(f"loading {candidate.path}")
                _load(engine, candidate, number, config)
                for benchmark in benchmarks:
                    found.setdefault(benchmark.name, {})[candidate.name] = _measure(
                        config, benchmark, candidate, engine, encoder, ranks, console
                    )
    finally:
        ranks.leave()
    if ranks.is_main:
        _draw(config.output, found, candidates, console)


def _draw(
    output: Path,
    found: Mapping[str, Mapping[str, BenchmarkSummary]],
    candidates: Sequence[Candidate],
    console: Console,
) -> None:
    """The curve of each benchmark over the models of a run."""
    for name, summaries in found.items():
        if len(summaries) > 1:
            picture = output / name / "curve.png"
            show_curve(console, name, summaries, picture)
            draw_curve(name, summaries, {each.name: each.step for each in candidates}, picture)


def _engine(
    config: EvaluationConfig,
    model_path: str,
    encoder: Encoder,
    ranks: Ranks,
    say: Callable[[str], None],
) -> RolloutEngine:
    return build_engine(
        config.model,
        config.rollout,
        model_path,
        encoder,
        config.seed,
        ranks,
        output=config.output,
        patience_minutes=config.distributed.patience_minutes,
        say=say,
    )


def find_models(models: Sequence[str]) -> list[Candidate]:
    """The models to evaluate, each under a name of its own.

    Raises:
        ConfigError: there is no such model.
    """
    found: list[Candidate] = []
    for model in models:
        for path, step in (_saved(Path(model)) or {model: None}).items():
            name = re.sub(r"[^\w.=+-]+", "_", path).strip("_.")
            found.append(Candidate(name, resolve_model(path), step))
    return list(dict.fromkeys(found))


def _saved(folder: Path) -> dict[str, int | None]:
    """The models of a run and their steps, in the order of training; the last one once."""
    metrics = folder / "metrics.jsonl"
    if not metrics.exists():
        return {}
    steps: dict[str, int | None] = {
        str(path): step for path, step in steps_in(folder / "models").items() if path.is_dir()
    }
    last = folder / "model"
    if last.is_dir():
        history = read_metrics(metrics)
        step = int(history[-1]["step"]) if history else None
        if step not in steps.values():
            steps[str(last)] = step
    return steps


def _read(
    config: EvaluationConfig, benchmarks: Sequence[Benchmark], candidates: Sequence[Candidate]
) -> dict[str, str]:
    """Digests of everything that the scores depend on."""
    found = {"settings": digest(config.model_dump_json())}
    for each in candidates:
        found |= of_model(each.path, f"model {each.name}")
    for benchmark in benchmarks:
        asked = [[prompt.id, list(map(dict, prompt.messages))] for prompt in benchmark.prompts]
        found[f"questions of {benchmark.name}"] = digest(json.dumps(asked))
    return found


def _keep_date(config: EvaluationConfig, encoder: Encoder, ranks: Ranks, console: Console) -> None:
    console.print(
        f"today in the model's chat template: {encoder.now:%Y-%m-%d}, for all of {config.output}",
        markup=False,
        highlight=False,
    )
    with ranks.together():
        if ranks.is_main:
            keep_date(config.output, encoder.now)


def _load(
    engine: RolloutEngine, candidate: Candidate, number: int, config: EvaluationConfig
) -> None:
    weights = SavedWeights(
        candidate.path,
        config.model.dtype,
        trust_remote_code=config.model.trust_remote_code,
    )
    engine.load_weights(weights, version=number)


def _measure(
    config: EvaluationConfig,
    benchmark: Benchmark,
    candidate: Candidate,
    engine: RolloutEngine,
    encoder: Encoder,
    ranks: Ranks,
    console: Console,
) -> BenchmarkSummary:
    """The scores of a model on a benchmark, shown when they are there."""
    ranks.doing(f"evaluating {candidate.path} on {benchmark.name}")
    options = config.rollout.engine.model_dump().get("options")
    folder = config.output / benchmark.name / candidate.name
    summary = measure(
        benchmark,
        engine,
        ResultFolder(folder),
        ranks,
        weights={
            "model": candidate.path,
            "files": fingerprint(candidate.path),
            "precision": config.model.precision,
            **({"engine options": options} if options else {}),
            **spoken_to(config.model, config.rollout),
        },
        seed=derived_seed(config.seed, "benchmark", benchmark.name),
        say=console.print,
        encoder=encoder,
    )
    show(console, benchmark.name, candidate.name, summary, folder)
    return summary


def spoken_to(model: ModelConfig, rollout: RolloutConfig) -> dict[str, Any]:
    """Settings by which prompts are written and thoughts are told from answers, and ended; those
    that are left as they come are not among them."""
    template = model.chat_template
    settings = {
        "model.chat_template": template and digest(read_template(template)),
        "model.chat_template_kwargs": model.chat_template_kwargs or None,
        "model.thinking": model.markers,
        "rollout.max_thought_tokens": rollout.max_thought_tokens,
    }
    return {name: value for name, value in settings.items() if value is not None}
