"""A policy that learns to please a weak judge, watched by a rule that knows better.

    python -m performance.gold_watch --run runs/gold_watch

SmolLM2 trains on one criterion, that the response says thank you, with SmolLM2 as its judge, served
on this machine. The gold judge is a loopback server in a process of its own, for which the
criterion is met where the response has the word. `rvpo train` runs until the rule `growth` ends it,
or to the last step; then `rvpo judge --against gold` asks both about the samples of step 1. Prints
both judges' scores after each look, with --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path

from performance.judge_process import serve, served
from performance.published import add_save_option, publish
from rvpo.report.gold import GoldScores
from rvpo.report.run_folder import RunFolder
from tests.judge.server import FakeEndpoint

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "experiments" / "quickstart_judge.yaml"
CRITERION = "The response says thank you."
REWARD = "judged"


def rule(shown: str) -> bool:
    """The criterion's plain meaning.

    Args:
        shown: what the judge is asked, with the response between two fences.
    """
    found = re.search(r"^The response:\n(=+)\n(.*?)\n\1$", shown, re.DOTALL | re.MULTILINE)
    assert found is not None, shown
    return re.search(r"\bthank", found[2], re.IGNORECASE) is not None


def settings(url: str, options: argparse.Namespace) -> list[str]:
    """What replaces settings of the experiment's file."""
    judge = "{model: rule, cache: null, endpoints: [{url: %s, input_price: 0, output_price: 0}]}"
    growth = f"{{growth: {options.growth}, times: {options.times}}}"
    return [
        f"output={options.run}",
        f"steps={options.steps}",
        f"rewards.{REWARD}.criteria={{thankful: '{CRITERION}'}}",
        f"judges={{gold: {judge % url}}}",
        f"evaluate.every={options.every}",
        f"evaluate.gold={{judge: gold, stop: {growth}}}",
        f"checkpoint.best=eval/gold/rewards/{REWARD}/mean",
        "report.trackers=[]",
        *options.settings,
    ]


def rvpo(command: str, *arguments: str) -> str:
    """Run a command, passing on what it says."""
    words = [sys.executable, "-m", "rvpo", command, "--config", str(CONFIG), *arguments]
    said = []
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line)
    # 1: of a weak judge some verdicts cannot be read, and the others are shown.
    if process.returncode > (command == "judge"):
        raise SystemExit(process.returncode)
    return "".join(said)


def table(run: RunFolder) -> str:
    lines = ["| step | training judge | gold judge | gap | only training | missing |"]
    lines.append("|" + " ---: |" * 6)
    for step in run.watched():
        look = GoldScores.read(run.gold_scores(step))
        cells = [look.mean(of, REWARD) for of in ("training", "gold", "gaps", "only_training")]
        shown = ["-" if cell is None else f"{cell:.3f}" for cell in cells]
        lines.append(f"| {step} | {' | '.join(shown)} | {look.missing_of(REWARD):.1%} |")
    return "\n".join(lines)


def first_samples(run: RunFolder) -> Path:
    return next(path for path in sorted(run.samples.glob("step-000001.*")))


def measure(url: str, options: argparse.Namespace) -> str:
    given = settings(url, options)
    started = time.monotonic()
    said = rvpo("train", *given)
    seconds = time.monotonic() - started
    run = RunFolder(options.run)
    samples = ["--samples", str(first_samples(run)), "--repeats", "1"]
    agreed = rvpo("judge", *given, "--against", "gold", *samples)
    ended = [line for line in said.splitlines() if "the run ends here" in line]
    steps = len(run.read_metrics())
    return "\n\n".join(
        [
            f'"{CRITERION}" SmolLM2 judges and trains, the word decides for gold; {steps} of '
            f"{options.steps} steps in {seconds / 60:.1f} minutes.",
            table(run),
            *(ended or ["The rule did not end the run."]),
            "Both judges on the samples of the first step, before any update:",
            "```\n" + agreement(agreed) + "\n```",
        ]
    )


def agreement(said: str) -> str:
    """The part of what `rvpo judge` says that is about both judges."""
    return said[said.index("agreement with judge 'gold'") :].strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "gold_watch")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--every", type=int, default=4, help="steps between two looks")
    parser.add_argument("--growth", type=float, default=0.1)
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--settings", nargs="*", default=[], help="further section.key=value")
    parser.add_argument("--part", choices=("server",), help=argparse.SUPPRESS)
    add_save_option(parser)
    options = parser.parse_args()
    if options.part == "server":
        asyncio.run(serve(FakeEndpoint(truth=rule, keep_bodies=False)))
        return
    with served("performance.gold_watch") as url:
        publish("gold_watch.md", measure(url, options), options)


if __name__ == "__main__":
    main()
