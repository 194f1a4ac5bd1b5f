"""The commands that measure: a rubric and its judge, a setting, a model."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

from rvpo.cli.app import Config, Settings, app
from rvpo.commands import options
from rvpo.commands.ending import one_sentence
from rvpo.runtime.signals import importing

_BENCHMARKS = "{benchmarks}"
"""Stands for their names in a help text."""


@app.command()
def judge(
    config: Config,
    settings: Settings = None,
    samples: options.Samples = None,
    prompts: options.FirstPrompts = None,
    repeats: options.Repeats = 2,
    json_file: options.JsonFile = None,
    asked: options.ByJudge = None,
    against: options.Against = None,
    signs: options.Signs = None,
) -> None:
    """Judge completions by the rubrics of a run, to try them before it."""
    with one_sentence():
        from rvpo.runtime.logging import quiet_libraries

        quiet_libraries()
        with importing():
            from rvpo.commands.judge import try_rubrics
            from rvpo.commands.signs import tell_signs
            from rvpo.config.run import load_config
            from rvpo.runtime.console import PlainConsole

        run_config = load_config(config, settings or [])
        console = PlainConsole()
        if signs is not None:
            failed = tell_signs(run_config, signs, console.print, asked)
        else:
            failed = try_rubrics(
                run_config, samples, prompts, repeats, json_file, console, asked, against
            )
        raise typer.Exit(int(failed > 0))


@app.command()
def compare(
    config: Config,
    settings: Settings = None,
    vary: options.Vary = None,
    seeds: options.Seeds = 5,
    output: options.ComparisonFolder = None,
    jobs: options.Jobs = None,
    satisfied: options.Thresholds = None,
    primary: options.Primary = None,
) -> None:
    """Train the same run several ways, and test the differences. Does what is missing only."""
    with one_sentence():
        from rvpo.runtime.logging import quiet_libraries

        quiet_libraries()
        with importing():
            from rvpo.commands.compare import compare as run_comparison
            from rvpo.commands.compare import default_output, read_thresholds
            from rvpo.compare.comparison import Comparison

        folder = output or default_output(config)
        found = Comparison.of(config, settings or [], vary or [], seeds, folder)
        run_comparison(found, jobs, read_thresholds(satisfied or []), primary or [])


@app.command()
def replay(
    run: options.StoredRunFolder,
    advantage: options.OtherAdvantages = None,
    k: options.OtherRisks = None,
    steps: options.StepsToRead = None,
    json_file: options.JsonOfAll = None,
    page: options.ReplayPage = None,
    judged: options.JudgedScores = None,
) -> None:
    """Replay a run's stored scores: what another estimator would have taught. Needs no model."""
    with one_sentence():
        with importing():
            from rvpo.commands.replay import replay_run
            from rvpo.runtime.console import PlainConsole

        replay_run(run, advantage or [], k or [], steps, PlainConsole(), json_file, page, judged)


@app.command()
def advise(
    run: options.StoredRunFolder,
    steps: options.FirstSteps = None,
    json_file: options.JsonOfAll = None,
) -> None:
    """Advise on the estimator for a run, by the scores of its first steps."""
    with one_sentence():
        with importing():
            from rvpo.commands.advise import advise_run
            from rvpo.runtime.console import PlainConsole

        advise_run(run, steps, PlainConsole(), json_file)


class _NamesBenchmarks(TyperCommand):
    """A command whose help names the benchmarks there are. They are imported for that alone."""

    def get_help(self, ctx: Any) -> str:
        from rvpo.benchmarks import listed

        for option in self.params:
            if isinstance(option, TyperOption) and option.help is not None:
                option.help = option.help.replace(options.BENCHMARKS, listed())
        return super().get_help(ctx)


@app.command(cls=_NamesBenchmarks)
def evaluate(
    settings: Settings = None,
    benchmark: options.ByBenchmark = None,
    model: options.Models = None,
    config: options.EvaluationFile = None,
    output: options.ResultsFolder = None,
) -> None:
    """Evaluate models on benchmarks. Given again, it does what is missing only."""
    with one_sentence():
        with importing():
            from rvpo.commands.start import evaluate

        wanted = [*(settings or []), *([] if output is None else [f"output={output}"])]
        raise typer.Exit(evaluate(config, wanted, benchmark or [], model or []))
