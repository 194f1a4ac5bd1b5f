"""What the README and the pages of `docs/` show works as shown."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from rvpo.cli import app
from rvpo.commands.settings import settings
from rvpo.config.evaluation import load_evaluation
from rvpo.config.run import RunConfig
from rvpo.report.metrics import METRICS, entry_of
from rvpo.types import Failed, Rewards
from tests.pages import PAGES, ROOT, Block, block, blocks, commands, spans, text_of

LOOP = "for step in steps"
"""What the one block has that stands for code and is none."""
LINKED = (*PAGES, ROOT / "CONTRIBUTING.md", *ROOT.glob("experiments/*/README.md"))
RUN_SECTIONS = [each for each in blocks("yaml") if not each.page.startswith("docs/extend/")]
"""`docs/extend` shows settings of what its pages add."""
COMMANDS = commands("rvpo")
IN_PLACE = [c for c in COMMANDS if any(word.startswith("experiments/") for word in c)]
PARTS = {name.partition("/")[0] for name in METRICS if "/" in name}


def python_names(shown: Block) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "shown"}
    exec(compile(shown.code, str(shown), "exec", dont_inherit=True), names)
    return names


@pytest.mark.parametrize("shown", [b for b in blocks("python") if LOOP not in b.code], ids=str)
def test_every_python_block_runs(shown: Block) -> None:
    python_names(shown)


def test_the_example_reward_scores() -> None:
    polite = python_names(block("python", "def polite"))["polite"]
    completions = [[{"role": "assistant", "content": text}] for text in ("Please do", "Do")]
    assert polite(completions=completions, prompts=[], answer=[]) == [1.0, 0.0]


def test_the_example_of_a_missing_score_has_one() -> None:
    correct = python_names(block("python", "def correct"))["correct"]
    completions = [[{"role": "assistant", "content": text}] for text in ("It is 4", "It is 5", "")]
    scores = correct(completions=completions, answer=["4", "4", None], prompts=[])
    assert scores == [1.0, 0.0, Failed("no reference answer")]


def test_the_example_advantage_lies_between_mean_and_minimum() -> None:
    blend = python_names(block("python", "class Blend"))["Blend"]
    rewards = Rewards(torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), "ab", 4)
    raw = {a: blend(hardness=a, whiten=False)(rewards).values for a in (0.0, 0.5, 1.0)}
    torch.testing.assert_close(raw[0.5], (raw[0.0] + raw[1.0]) / 2)
    torch.testing.assert_close(raw[1.0], blend(whiten=False)(rewards).z.amin(dim=1))


@pytest.mark.parametrize("shown", RUN_SECTIONS, ids=str)
def test_every_yaml_block_is_part_of_a_run(shown: Block) -> None:
    sections = yaml.safe_load(shown.code)
    base = ROOT / sections.pop("base", "experiments/quickstart.yaml")
    config = RunConfig.model_validate({"output": "-"} | yaml.safe_load(text_of(base)) | sections)
    assert set(sections) <= config.model_fields_set


def imported(value: Any) -> Iterator[str]:
    """Every `module:function` in a tree of settings."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from [inner] if key == "function" else imported(inner)


def functions(module: str) -> set[str]:
    """The functions of a module that can be imported, or that the pages show."""
    shown = [each.code for each in blocks("python") if each.file == f"{module}.py"]
    if not shown:
        found = importlib.util.find_spec(module)
        assert found is not None, module
        shown = [text_of(Path(str(found.origin)))]
    trees = [node for code in shown for node in ast.parse(code).body]
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in trees if isinstance(node, kinds)}


@pytest.mark.parametrize("shown", RUN_SECTIONS, ids=str)
def test_every_function_of_a_yaml_block_exists(shown: Block) -> None:
    for path in imported(yaml.safe_load(shown.code)):
        module, _, function = path.partition(":")
        assert function in functions(module), path


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_and_its_options_exist(command: tuple[str, ...]) -> None:
    known = get_command(app).commands[command[0]]  # type: ignore[attr-defined]
    options = {name for parameter in known.params for name in parameter.opts}
    assert {word for word in command if word.startswith("--")} <= options


@pytest.mark.parametrize("command", IN_PLACE, ids=" ".join)
def test_every_command_on_a_file_of_ours_names_a_valid_run(command: tuple[str, ...]) -> None:
    name, _, file, *rest = [word for word in command if word != "--resume"]
    replaced = [word for word in rest if re.match(r"[\w.]+=", word)]
    if name == "evaluate":
        benchmark = rest[rest.index("--benchmark") + 1]
        load_evaluation(ROOT / file, [benchmark], None, replaced)
    else:
        varied = [w for option, w in pairwise(rest) if option == "--vary"]
        replaced = [word for word in replaced if word not in varied]
        replaced += [v.partition(",")[0] for v in varied]
        result = CliRunner().invoke(app, ["show", "--config", str(ROOT / file), *replaced])
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c[0] in ("settings", "metrics") and "[" not in c[-1]]
)
def test_every_look_up_finds_something(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, list(command))
    assert result.exit_code == 0
    assert result.output.strip()


@pytest.mark.parametrize("command", commands("make"), ids=" ".join)
def test_every_target_of_make_exists(command: tuple[str, ...]) -> None:
    targets = re.findall(r"^(\w+):", text_of(ROOT / "Makefile"), re.MULTILINE)
    assert command[0] in targets


@pytest.mark.parametrize("command", commands("python"), ids=" ".join)
def test_every_module_that_is_run_exists(command: tuple[str, ...]) -> None:
    assert command[0] == "-m"
    assert importlib.util.find_spec(command[1]) is not None


def test_every_setting_that_is_named_exists() -> None:
    listed = [setting.path.split(".") for setting in settings()]
    known = {".".join(path[:n]) for path in listed for n in range(1, len(path) + 1)}
    known |= {"advantage.name", "rollout.engine.name"}  # choose the kind
    named = [(page, re.match(r"(\w+)(\.\w+)+", code)) for page, code in spans()]
    found = [(page, path[0]) for page, path in named if path and path[1] in RunConfig.model_fields]
    assert len(found) > 20
    assert [(page, path) for page, path in found if path not in known] == []


def test_every_metric_that_is_named_exists() -> None:
    unknown = []
    for page, code in spans():
        is_metric = re.fullmatch(r"[\w{}*]+(/[\w{}*]+)+", code) and code.partition("/")[0] in PARTS
        if not is_metric or (ROOT / code).exists():
            continue
        start, star, _ = code.partition("*")
        known = any(name.startswith(start) for name in METRICS) if star else entry_of(code)
        if not known:
            unknown.append((page, code))
    assert unknown == []


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^):]+)\)", text_of(page)):
        file, _, heading = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.+)$", text_of(target), re.MULTILINE)
            assert heading in map(slug, headings), link


def test_files_that_pages_show_pass_the_checks_that_a_change_must_pass() -> None:
    shown = [each for each in blocks("python") if each.file is not None]
    assert len(shown) > 8
    for each in shown:
        for command in (["check"], ["format", "--check"]):
            place = ["--stdin-filename", str(ROOT / str(each.file)), "-"]
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *command, *place],
                input=each.code,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{each}: {done.stdout}{done.stderr}"
