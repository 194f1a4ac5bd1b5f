"""The command line. Heavy imports wait inside the commands, so `rvpo --help` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from rvpo import __version__
from rvpo.commands import options
from rvpo.commands.ending import one_sentence
from rvpo.commands.farewell import farewell_before_ranks
from rvpo.runtime.terminal import encoding_of, printable, take_any_text

USER_ERROR = 2
INTERRUPTED = 130

app = typer.Typer(
    help="Train language models against many rewards at once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="YAML file of the run.")]
Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[section.key=value]...",
        help="Settings that replace those of the file, such as update.lr=1e-6.",
        show_default=False,
    ),
]


def main() -> None:
    """Entry point of the `rvpo` script."""
    take_any_text()
    app()


def _say(text: str) -> None:
    typer.echo(printable(text))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rvpo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def train(
    config: Config,
    settings: Settings = None,
    resume: options.Resume = False,
    resume_if_any: options.ResumeIfAny = False,
) -> None:
    """Train a model, and score it on held-out prompts before and after."""
    with one_sentence():
        with farewell_before_ranks():
            from rvpo.commands.start import train

        raise typer.Exit(train(config, settings or [], resume, resume_if_any))


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    like: options.TemplateOfRun = "quickstart",
) -> None:
    """Write a run to start from: run.yaml and my_rewards.py."""
    with one_sentence():
        from rvpo.commands.new import write_run

        typer.echo(printable("\n".join(write_run(folder, like))))


@app.command()
def show(config: Config, settings: Settings = None) -> None:
    """Print every setting of a run, defaults included."""
    with one_sentence():
        from rvpo.commands.show import shown

        typer.echo(shown(config, settings or [], encoding_of(sys.stdout)), nl=False)


@app.command()
def settings(
    section: options.SettingsPart = "",
) -> None:
    """Print what every setting is, with its type and default."""
    with one_sentence():
        from rvpo.commands.settings import of_section, render, settings

        typer.echo(render(of_section(section) if section else settings()))


@app.command()
def metrics(
    part: options.MetricPart = "",
) -> None:
    """Print what every metric is."""
    with one_sentence():
        from rvpo.report.metrics import render

        typer.echo(render(part))


@app.command()
def plan(
    config: Config,
    settings: Settings = None,
    gpus: options.Gpus = None,
    gpu_memory: options.GpuMemory = None,
    nodes: options.Nodes = None,
    assume: options.Assume = None,
) -> None:
    """Check all that a run needs without training: data, model, judge, cost, memory and disk."""
    with one_sentence():
        from rvpo.runtime.hub import go_offline_without_hub
        from rvpo.runtime.logging import quiet_libraries

        go_offline_without_hub()
        quiet_libraries()
        from rvpo.commands.plan import plan as plan_run
        from rvpo.config.run import load_config
        from rvpo.plan.machine import display, examine

        run = load_config(config, settings or [])
        found = plan_run(run, examine(run.rollout.engine), gpus, gpu_memory, nodes, assume or ())
        display(found.findings)
        raise typer.Exit(int(not found.can_start))


@app.command()
def data(
    config: Config,
    settings: Settings = None,
    examples: options.Examples = 3,
    html: options.Html = None,
) -> None:
    """Show the data of a run: counts, lengths, prompts as the model reads them, criteria."""
    with one_sentence():
        from rvpo.runtime.hub import go_offline_without_hub
        from rvpo.runtime.logging import quiet_libraries

        go_offline_without_hub()
        quiet_libraries()
        from rvpo.commands.data import look
        from rvpo.config.run import load_config

        lines, can_start = look(load_config(config, settings or []), examples, html)
        typer.echo(printable("\n".join(lines)))
        raise typer.Exit(int(not can_start))


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
    satisfied: options.Satisfied = None,
    primary: options.Primary = None,
) -> None:
    """Train the same run several ways, and test the differences. Does what is missing only."""
    with one_sentence():
        from rvpo.runtime.logging import quiet_libraries

        quiet_libraries()
        from rvpo.commands.compare import compare as run_comparison
        from rvpo.commands.compare import default_output, read_thresholds
        from rvpo.compare.comparison import Comparison

        folder = output or default_output(config)
        found = Comparison.of(config, settings or [], vary or [], seeds, folder)
        run_comparison(found, jobs, read_thresholds(satisfied or []), primary or [])


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
        from rvpo.commands.start import evaluate

        wanted = [*(settings or []), *([] if output is None else [f"output={output}"])]
        raise typer.Exit(evaluate(config, wanted, benchmark or [], model or []))


@app.command()
def serve(
    config: Config,
    settings: Settings = None,
    servers: options.Servers = None,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    logs: options.Logs = None,
) -> None:
    """Start this machine's vLLM servers for a run, and keep them until Ctrl-C."""
    with one_sentence():
        from rvpo.runtime.hub import go_offline_without_hub
        from rvpo.runtime.logging import quiet_libraries

        go_offline_without_hub()
        quiet_libraries()
        from rvpo.commands.serve import serve as serve_run
        from rvpo.config.run import load_config
        from rvpo.runtime.console import PlainConsole

        console = PlainConsole(soft_wrap=True)
        run = load_config(config, settings or [])
        serve_run(run, servers=servers, host=host, port=port, logs=logs, say=console.print)


@app.command()
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER...",
            help="Folders of runs, or of comparisons.",
            show_default=False,
        ),
    ],
    output: options.PageFile = None,
) -> None:
    """Write one HTML page of runs: curves, tables, samples. It needs nothing but a browser."""
    with one_sentence():
        from rvpo.commands.report import write_report

        page, pictures = write_report(runs, output)
        typer.echo(printable(f"page     {page}\npictures {pictures}"))


@app.command()
def watch(
    runs: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Runs, arms or comparisons.")
    ],
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to serve at; 0 takes a free one.")
    ] = 0,
) -> None:
    """Serve the page of runs while they go on, to this machine alone."""
    with one_sentence():
        from rvpo.commands.watch import watch

        watch(runs, port, _say)


@app.command()
def push(
    run: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a run that has ended.")],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository of the Hub.")],
    licence: options.Licence = None,
    best: options.BestModel = False,
    public: options.Public = False,
    dry_run: options.DryRun = False,
) -> None:
    """Push a trained model to the Hub, with a card of its data, rewards, curves and scores."""
    with one_sentence():
        from rvpo.commands.push import push

        push(run, name, licence, _say, best=best, public=public, dry_run=dry_run)


@app.command()
def dashboard(
    config: Config,
    settings: Settings = None,
    entity: Annotated[str, typer.Option("--entity", metavar="NAME", help="W&B user or team.")] = "",
    file: options.SpecificationFile = None,
) -> None:
    """Lay out a W&B workspace for a run: a section a reward, advantages, judge, timing."""
    with one_sentence():
        from rvpo.commands.dashboard import lay_out

        typer.echo(printable(f"workspace {lay_out(config, settings or [], entity, file)}"))


@app.command()
def chat(
    run: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of a run.", show_default=False)
    ],
    prompt: options.ChatPrompt = None,
    system: options.ChatSystem = "",
    temperature: options.ChatTemperature = None,
    tokens: options.ChatTokens = None,
    seed: options.ChatSeed = 0,
    alone: options.ChatAlone = False,
) -> None:
    """Talk to what a run has trained, beside the model that it came from."""
    with one_sentence():
        from rvpo.runtime.hub import go_offline_without_hub
        from rvpo.runtime.logging import quiet_libraries

        go_offline_without_hub()
        quiet_libraries()
        from rvpo.commands.chat import ChatOptions
        from rvpo.commands.chat import chat as talk
        from rvpo.runtime.console import PlainConsole

        wishes = ChatOptions(
            system=system, temperature=temperature, tokens=tokens, seed=seed, alone=alone
        )
        talk(run, prompt, wishes, PlainConsole())


@app.command()
def doctor() -> None:
    """Check this machine: what a run would use, what is missing, and how to install it."""
    from rvpo.commands.doctor import check_machine

    raise typer.Exit(int(not check_machine()))
