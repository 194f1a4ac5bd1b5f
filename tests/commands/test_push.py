"""`rvpo push`: what arrives at the Hub, and what never leaves."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rvpo.commands.push import push as push_run
from rvpo.config.run import RunConfig, dump_config
from rvpo.errors import ConfigError
from rvpo.report.run_folder import RunFolder, write_json
from rvpo.runtime.ignore import ignore
from tests.configs import tiny_settings
from tests.model_hub import TOKEN, ModelHub, model_hub
from tests.page.test_page import held_out

NAME = "someone/small"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that has ended, whose base model names no licence."""
    settings = tiny_settings(tmp_path / "secret place" / "base-model", tmp_path / "run")
    run = RunFolder.create(
        tmp_path / "run",
        dump_config(RunConfig.model_validate(settings)),
        {"rvpo": "0.1", "packages": {"torch": "2.9"}},
    )
    run.metrics.write_text('{"step": 1}\n{"step": 2}\n')
    for step in (0, 2):
        write_json(run.evaluation(step), held_out(np.random.default_rng(step)).to_json())
    run.model.mkdir()
    (run.model / "config.json").write_text("{}")
    (run.model / "model.safetensors").write_bytes(b"weights" * 100)
    (run.model / "README.md").write_text("the base model's own")
    run.curves.write_bytes(b"picture")
    return run


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ModelHub]:
    with model_hub(tmp_path / "hub") as hub:
        yield hub


def push(run: RunFolder, url: str, *more: str, token: str = TOKEN) -> tuple[int, str]:
    """`rvpo push` in a process of its own, for the Hub's library reads its address once."""
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_TOKEN": token}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-m", "rvpo", "push", str(run.path), *more],
        capture_output=True,
        text=True,
        env=environment,
    )
    return done.returncode, done.stdout + done.stderr


def front_matter(card: str) -> Any:
    return yaml.safe_load(card.split("---")[1])


def test_model_card_and_curves_arrive(run: RunFolder, hub: ModelHub) -> None:
    status, said = push(run, hub.url, NAME, "--license", "mit")
    assert status == 0, said
    there = hub.folder / NAME
    assert (there / "model.safetensors").read_bytes() == b"weights" * 100
    assert (there / "curves.png").read_bytes() == b"picture"
    assert hub.private == {NAME: True}
    card = (there / "README.md").read_text()
    assert front_matter(card)["license"] == "mit"
    assert "the base model's own" not in card
    assert "2 updates" in card
    assert "![Mean of each reward by step](curves.png)" in card
    assert str(run.path.parent) not in card
    assert "secret place" not in card
    assert sorted(p.name for p in there.iterdir()) == [
        *("README.md", "config.json", "curves.png", "model.safetensors")
    ]


def test_a_dry_run_sends_nothing(run: RunFolder) -> None:
    said: list[str] = []
    push_run(run.path, NAME, "mit", said.append, dry_run=True)
    assert (run.path / "card" / "README.md").exists()
    assert said[-1].endswith("nothing was sent")


def test_a_dry_run_needs_no_torch(run: RunFolder) -> None:
    code = (
        "import sys\n"
        "from rvpo.cli import app\n"
        f"asked = ['push', {str(run.path)!r}, {NAME!r}, '--license', 'mit', '--dry-run']\n"
        "app(asked, standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing was sent" in done.stdout


def test_what_takes_long_is_said_before_it_begins(run: RunFolder) -> None:
    class Enough(Exception):
        pass

    def say(text: str) -> None:
        said.append(text)
        raise Enough

    said: list[str] = []
    with pytest.raises(Enough):
        push_run(run.path, NAME, "mit", say)
    assert str(run.path) in said[0]
    assert not (run.path / "card").exists()


def of_the_hub(run: RunFolder) -> None:
    """Let the base model of the run be one of the Hub."""
    settings = yaml.safe_load(run.config.read_text())
    settings["model"]["path"] = "someone/base"
    run.config.write_text(yaml.safe_dump(settings))


def test_the_hub_is_asked_for_the_licence_of_its_model(run: RunFolder, tmp_path: Path) -> None:
    of_the_hub(run)
    with model_hub(tmp_path / "hub", {"someone/base": "gemma"}) as hub:
        status, said = push(run, hub.url, NAME, "--dry-run")
    assert status == 0, said
    assert "the licence of someone/base" in said
    assert front_matter((run.path / "card" / "README.md").read_text())["license"] == "gemma"


@pytest.mark.slow
def test_a_hub_that_never_answers_is_given_up_with_the_way_out(run: RunFolder) -> None:
    of_the_hub(run)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        status, said = push(run, url, NAME, "--dry-run")
    assert status == 2
    assert "give --license" in said
    assert "Traceback" not in said


def test_an_unknown_licence_is_asked_for(run: RunFolder) -> None:
    with pytest.raises(ConfigError, match="--license"):
        push_run(run.path, NAME, None, ignore)


def test_the_licence_is_the_one_of_the_base_model(run: RunFolder, tmp_path: Path) -> None:
    base = tmp_path / "secret place" / "base-model"
    base.mkdir(parents=True)
    (base / "README.md").write_text("---\nlicense: gemma\n---\n# Base\n")
    push_run(run.path, NAME, None, ignore, dry_run=True)
    assert front_matter((run.path / "card" / "README.md").read_text())["license"] == "gemma"


@pytest.mark.parametrize(
    "name", ["small", "a/b/c", "someone/sm all", "../x", "", "me/x.git", "me/x--y"]
)
def test_a_name_that_is_no_repository_is_refused(run: RunFolder, name: str) -> None:
    with pytest.raises(ConfigError, match="OWNER/NAME"):
        push_run(run.path, name, "mit", ignore)


@pytest.mark.parametrize("licence", ["anything at all", "mit\nx", "", "MIT License"])
def test_a_licence_that_is_no_identifier_is_refused(run: RunFolder, licence: str) -> None:
    with pytest.raises(ConfigError, match="--license"):
        push_run(run.path, NAME, licence, ignore)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no run"):
        push_run(tmp_path, NAME, "mit", ignore)


def test_a_run_without_the_model_is_refused(run: RunFolder) -> None:
    with pytest.raises(ConfigError, match="no best model"):
        push_run(run.path, NAME, "mit", ignore, best=True)


def test_the_hub_s_refusal_is_one_sentence_without_the_token(run: RunFolder, hub: ModelHub) -> None:
    wrong = "hf_" + "b" * 34
    status, said = push(run, hub.url, NAME, "--license", "mit", token=wrong)
    assert status == 2
    assert "HF_TOKEN" in said
    assert wrong not in said
    assert "Traceback" not in said
