"""The commands that make, describe and run a training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rvpo.cli.app import Config, Settings, app
from rvpo.commands import options
from rvpo.commands.ending import one_sentence
from rvpo.commands.farewell import farewell_before_ranks
from rvpo.runtime.signals import importing
from rvpo.runtime.terminal import encoding_of, printable


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
        with importing():
            from rvpo.commands.new import write_run

        typer.echo(printable("\n".join(write_run(folder, like))))


@app.command()
def show(config: Config, settings: Settings = None) -> None:
    """Print every setting of a run, defaults included."""
    with one_sentence():
        with importing():
            from rvpo.commands.show import shown

        typer.echo(shown(config, settings or [], encoding_of(sys.stdout)), nl=False)


@app.command()
def settings(
    section: options.SettingsPart = "",
) -> None:
    """Print what every setting is, with its type and default."""
    with one_sentence():
        with importing():
            from rvpo.commands.settings import of_section, render, settings

        typer.echo(render(of_section(section) if section else settings()))


@app.command()
def metrics(
    part: options.MetricPart = "",
) -> None:
    """Print what every metric is."""
    with one_sentence():
        with importing():
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
        with importing():
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
        with importing():
            from rvpo.commands.data import look
            from rvpo.config.run import load_config

        lines, can_start = look(load_config(config, settings or []), examples, html)
        typer.echo(printable("\n".join(lines)))
        raise typer.Exit(int(not can_start))


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
        with importing():
            from rvpo.commands.serve import serve as serve_run
            from rvpo.config.run import load_config
            from rvpo.runtime.console import PlainConsole

        console = PlainConsole(soft_wrap=True)
        run = load_config(config, settings or [])
        serve_run(run, servers=servers, host=host, port=port, logs=logs, say=console.print)
