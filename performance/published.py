"""The tables in `results/`: only a run that says so replaces one."""

from __future__ import annotations

import argparse
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def add_save_option(parser: argparse.ArgumentParser) -> None:
    """`--save`, for `publish`."""
    parser.add_argument("--save", action="store_true", help="replace the table in results/")


def publish(name: str, text: str, options: argparse.Namespace) -> None:
    """Print a table, and keep it under `results/name` where `--save` was given."""
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / name).write_text(text + "\n", encoding="utf-8")
    print(text)
