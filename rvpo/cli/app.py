"""The `rvpo` script, to which the commands add themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rvpo import __version__
from rvpo.runtime.terminal import printable, take_any_text

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


def say(text: str) -> None:
    """Print a line, whatever characters it has."""
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
