"""The options of commands that have many, as the command line names them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

Gpus = Annotated[
    int | None,
    typer.Option("--gpus", metavar="N", min=1, help="Plan for N GPUs, not this machine's."),
]
GpuMemory = Annotated[
    float | None,
    typer.Option(
        "--gpu-memory",
        metavar="GIB",
        min=1,
        help="Memory of each of them in GiB, or the size that it is sold by, such as 80.",
    ),
]
Nodes = Annotated[
    int | None,
    typer.Option(
        "--nodes",
        metavar="N",
        min=1,
        help="Plan for N machines of so many GPUs: which of them to train on, which to "
        "generate on, and the time of a step.",
    ),
]
Assume = Annotated[
    list[str] | None,
    typer.Option(
        "--assume",
        metavar="NAME=VALUE",
        help="Number in place of one that the times of --nodes rest on, such as mfu=0.35; the "
        "plan lists them. Repeatable.",
    ),
]

Examples = Annotated[
    int, typer.Option("--examples", metavar="N", min=0, help="Prompts of each source to show.")
]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page, too.")
]

BENCHMARKS: Final = "{benchmarks}"
"""Stands for their names in a help text."""
ByBenchmark = Annotated[
    list[str] | None,
    typer.Option(
        "--benchmark",
        metavar="NAME",
        help=f"{BENCHMARKS}; all that the file has settings for if left out.",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A folder, a Hub id, or the folder of a run for every model that it saved. "
        "Several make a curve.",
    ),
]

Licence = Annotated[
    str | None,
    typer.Option(
        "--license", metavar="ID", help="License of the model, where its base names none."
    ),
]
BestModel = Annotated[
    bool, typer.Option("--best", help="The best model (checkpoint.best), not the last.")
]
Public = Annotated[bool, typer.Option("--public", help="Make it public, not private.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Write the card, and send nothing.")]

Samples = Annotated[
    Path | None,
    typer.Option(
        "--samples",
        metavar="FILE",
        help="Completions to judge, as JSON lines with a prompt or prompt_id; without it, "
        "reference, empty and off-topic answers to prompts of the data.",
    ),
]
FirstPrompts = Annotated[
    int | None,
    typer.Option(
        "--prompts",
        metavar="N",
        min=1,
        help="Judge answers to the first N prompts only; 5 without --samples.",
    ),
]
Repeats = Annotated[
    int, typer.Option("--repeats", metavar="R", min=1, help="Ask every question R times.")
]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write everything to FILE, as JSON lines."),
]
ByJudge = Annotated[
    str | None,
    typer.Option(
        "--judge",
        metavar="NAME",
        help="Ask this one of the run's judges, in place of those that rewards name.",
    ),
]

Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="NAME",
        help="Ask another of the run's judges the same, and say how far it agrees.",
    ),
]

Signs = Annotated[
    Path | None,
    typer.Option(
        "--signs",
        metavar="FILE",
        help="Ask instead, once about each criterion of the data whose sign is in doubt, and write "
        "the signs to FILE for `signs` beside `rubrics`.",
    ),
]

Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        metavar="section.key=value,value",
        help="Setting that differs, such as advantage=grpo,gdpo,rvpo or advantage.k=0.5,1,2. "
        "Several make every combination.",
    ),
]
Seeds = Annotated[
    int, typer.Option("--seeds", metavar="N", min=1, help="Train each with seeds 0 to N - 1.")
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", metavar="N", min=1, help="Runs at once; as many as the GPUs take."),
]
Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--satisfied",
        metavar="reward=number",
        help="Score from which on a reward is satisfied; left out, what its settings say "
        "(satisfied), else 1 if its scores are in [0, 1].",
    ),
]
Primary = Annotated[
    list[str] | None,
    typer.Option(
        "--primary",
        metavar="METRIC",
        help="A metric to test, named before looking; the others get intervals alone. The "
        "p-values are corrected over all that are tested, which is every metric if none is "
        "named.",
    ),
]

StoredRunFolder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Folder of a run.", show_default=False)
]
OtherAdvantages = Annotated[
    list[str] | None,
    typer.Option(
        "--advantage",
        metavar="NAME",
        help="Estimator to replay by: a name, or a table as in '{name: rvpo, k: 2}'. Repeatable.",
    ),
]
OtherRisks = Annotated[
    list[float] | None,
    typer.Option(
        "--k", metavar="K", help="The run's own estimator with this risk coefficient. Repeatable."
    ),
]
StepsToRead = Annotated[
    str | None,
    typer.Option("--steps", metavar="STEPS", help="Steps to read, such as 1,20-40; else all."),
]
FirstSteps = Annotated[
    str | None,
    typer.Option(
        "--steps", metavar="STEPS", help="Steps to read, such as 1-50; else the first 10."
    ),
]
JsonOfAll = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Write everything to FILE, as JSON."),
]
JudgedScores = Annotated[
    Path | None,
    typer.Option(
        "--judged",
        metavar="FILE",
        help="File that `rvpo judge --json` wrote of the run's samples: these scores in place of "
        "those that trained.",
    ),
]
ReplayPage = Annotated[
    Path | None,
    typer.Option("--page", metavar="FILE", help="Write a page, with figures of pulls over steps."),
]

Servers = Annotated[
    int | None,
    typer.Option(
        "--servers",
        metavar="N",
        min=1,
        help="Number of servers; as many as the GPUs take, or one on CPUs.",
    ),
]
Host = Annotated[
    str,
    typer.Option(
        "--host",
        metavar="ADDRESS",
        help="Address of this machine to listen on: one that the trainer's machine reaches, and "
        "none beyond that network.",
    ),
]
Port = Annotated[
    int,
    typer.Option(
        "--port",
        metavar="N",
        min=1,
        max=65535,
        help="Port of the first server; the others have the next ones.",
    ),
]
Logs = Annotated[
    Path | None,
    typer.Option(
        "--logs",
        metavar="FOLDER",
        help="Folder for what the servers print; OUTPUT-servers, beside the run's, if left out.",
    ),
]

Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the newest checkpoint of the run folder.")
]
ResumeIfAny = Annotated[
    bool,
    typer.Option(
        "--resume-if-any", help="--resume where there is a run, else begin one: for restarts."
    ),
]
EvaluationFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="YAML file of an evaluation, or of a run."),
]
ResultsFolder = Annotated[
    Path | None,
    typer.Option("--output", metavar="FOLDER", help="Folder of the results."),
]
SpecificationFile = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="Write the specification there and send nothing."),
]
ChatPrompt = Annotated[
    str | None,
    typer.Option("--prompt", metavar="TEXT", help="Answer this alone; lines of input if not."),
]
ChatSystem = Annotated[
    str | None,
    typer.Option("--system", metavar="TEXT", help='System prompt, "" for none; else the run\'s.'),
]
ChatTemperature = Annotated[
    float | None,
    typer.Option(
        "--temperature", metavar="T", help="0 takes the likeliest token; else the run's own."
    ),
]
ChatTokens = Annotated[
    int | None,
    typer.Option("--tokens", metavar="N", min=1, help="Tokens of an answer; else the run's."),
]
ChatSeed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of both models.")]
ChatAlone = Annotated[
    bool, typer.Option("--alone", help="Leave out the model that the run came from.")
]

TemplateOfRun = Annotated[
    str,
    typer.Option(
        "--like", metavar="NAME", help="Template: quickstart, judge, toolrl or healthbench."
    ),
]
SettingsPart = Annotated[
    str,
    typer.Argument(metavar="[SECTION]", help="Dotted path, such as update.", show_default=False),
]
MetricPart = Annotated[
    str, typer.Argument(metavar="[TEXT]", help="Part of the names.", show_default=False)
]
ComparisonFolder = Annotated[
    Path | None,
    typer.Option("--output", metavar="FOLDER", help="Folder of the runs."),
]
PageFile = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="The page; else report.html in the first."),
]
