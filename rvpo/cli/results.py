"""The commands that show and give away what came of runs, and of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rvpo.cli.app import Config, Settings, app, say
from rvpo.commands import options
from rvpo.commands.ending import one_sentence
from rvpo.runtime.signals import importing
from rvpo.runtime.terminal import printable


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
        with importing():
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
        with importing():
            from rvpo.commands.watch import watch

        watch(runs, port, say)


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
        with importing():
            from rvpo.commands.push import push

        push(run, name, licence, say, best=best, public=public, dry_run=dry_run)


@app.command()
def dashboard(
    config: Config,
    settings: Settings = None,
    entity: Annotated[str, typer.Option("--entity", metavar="NAME", help="W&B user or team.")] = "",
    file: options.SpecificationFile = None,
) -> None:
    """Lay out a W&B workspace for a run: a section a reward, advantages, judge, timing."""
    with one_sentence():
        with importing():
            from rvpo.commands.dashboard import lay_out

        typer.echo(printable(f"workspace {lay_out(config, settings or [], entity, file)}"))


@app.command()
def chat(
    run: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of a run.", show_default=False)
    ],
    prompt: options.ChatPrompt = None,
    system: options.ChatSystem = None,
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
        with importing():
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
    with importing():
        from rvpo.commands.doctor import check_machine

    raise typer.Exit(int(not check_machine()))
