"""A user talks to what a run has trained, beside what it came from, with and without a terminal."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rvpo.cli import app
from rvpo.commands.chat import ChatOptions, Speaker, _say, _speakers, chat, trained_model
from rvpo.config.run import dump_config, load_config
from rvpo.environments import ToolsConfig
from rvpo.episode import Episode, Turn
from rvpo.errors import ConfigError, DataError
from rvpo.report.run_folder import RunFolder
from rvpo.rollout.episodes.engine import EpisodeEngine
from rvpo.runtime.console import PlainConsole
from rvpo.sampling import Sampling
from rvpo.types import Rollout
from tests.configs import tiny_config
from tests.fakes import FakeEngine
from tests.tiny import save_tiny_model

TALK = Episode(
    turns=(
        Turn(({"role": "assistant", "content": "look it up", "tool_calls": [{}]},), 0, 1),
        Turn(({"role": "tool", "content": "618"},), 1, 2),
        Turn(({"role": "assistant", "content": "It is 618."},), 2, 3),
    ),
    ending="out_of_turns",
)


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has ended, with other weights than it began with."""
    folder = tmp_path_factory.mktemp("chat") / "run"
    RunFolder.create(folder, dump_config(tiny_config(tiny_model, folder)), {})
    save_tiny_model(folder / "model", seed=1)
    return folder


def output_of(run: Path, prompt: str | None = None, **wishes: Any) -> str:
    shown = io.StringIO()
    chat(run, prompt, ChatOptions(**wishes), PlainConsole(file=shown, width=80))
    return shown.getvalue()


def answers(output: str) -> dict[str, str]:
    """The answer below each heading."""
    parts = output.split("--- ")[1:]
    return {part.partition("\n")[0].strip(): part.partition("\n")[2] for part in parts}


def test_both_models_answer_one_prompt_by_the_same_seed(run: Path, tiny_model: Path) -> None:
    found = answers(output_of(run, "abc", temperature=1.0))
    assert list(found) == ["before", "model"]
    assert found["before"] != found["model"]
    assert output_of(run, "abc", temperature=1.0) == output_of(run, "abc", temperature=1.0)
    assert list(answers(output_of(run, "abc", alone=True))) == ["model"]


def test_a_model_that_learned_nothing_answers_as_before(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    RunFolder.create(folder, dump_config(tiny_config(tiny_model, folder)), {})
    (folder / "model").symlink_to(tiny_model)
    found = answers(output_of(folder, "abc", temperature=1.0))
    assert found["before"] == found["model"]


def test_lines_of_the_input_are_turns_of_one_conversation(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("ab\n\nab\n/new\nab"))
    parts = output_of(run, temperature=0, alone=True).split("--- model")[1:]
    assert len(parts) == 3
    assert parts[0] == parts[2]


def test_the_command_line_answers_scripts(run: Path) -> None:
    done = CliRunner().invoke(app, ["chat", str(run), "--prompt", "abc", "--tokens", "3"])
    assert done.exit_code == 0, done.output
    assert done.output.count("cut off after 3 tokens") <= 2
    assert list(answers(done.output)) == ["before", "model"]
    piped = CliRunner().invoke(app, ["chat", str(run), "--alone"], input="abc\n")
    assert piped.exit_code == 0
    assert list(answers(piped.output)) == ["model"]


def said(answer: str, system: str | None = None) -> tuple[str, list[Any]]:
    asked: list[Any] = []

    def rule(prompt: Any) -> str:
        asked.append(prompt.messages)
        return answer

    drawn = Sampling(temperature=1.0, max_completion_tokens=8)
    speaker = Speaker("model", FakeEngine(rule), ChatOptions(system=system), drawn)
    shown = io.StringIO()
    for text in ("[bold]hello[/bold]", "again"):
        _say([speaker], text, PlainConsole(file=shown, width=80))
    return shown.getvalue(), asked


def test_no_text_is_markup_and_no_text_steers_the_terminal() -> None:
    shown, _ = said("[red]no[/red] \x1b[2J")
    assert "[red]no[/red] \\x1b[2J" in shown


def test_thoughts_stand_apart_and_leave_the_conversation() -> None:
    shown, asked = said("<think>Two and two.</think>\n4")
    assert shown.split("---\n")[0].endswith("Two and two.\n")
    assert "<think>" not in shown
    assert [message["role"] for message in asked[1]] == ["user", "assistant", "user"]
    assert asked[1][1]["content"] == "4"


def test_what_a_world_said_is_shown_and_stays_in_the_conversation() -> None:
    asked: list[Any] = []

    class Answered(FakeEngine):
        def generate(self, prompts: Any, *args: Any, **settings: Any) -> Rollout:
            asked.append(prompts[0])
            rollout = super().generate(prompts, *args, **settings)
            return replace(
                rollout, samples=tuple(replace(s, episode=TALK) for s in rollout.samples)
            )

    drawn = Sampling(temperature=1.0, max_completion_tokens=8)
    tools = ({"type": "function", "function": {"name": "look"}},)
    engine = Answered(lambda prompt: "It is 618.")
    speaker = Speaker("model", engine, ChatOptions(), drawn, tools=tools)
    shown = io.StringIO()
    for text in ("Price?", "Sure?"):
        _say([speaker], text, PlainConsole(file=shown, width=80))
    assert "assistant: look it up\ntool: 618\nIt is 618.\n(ended out of turns)" in shown.getvalue()
    assert asked[0].tools == tools
    roles = [message["role"] for message in asked[1].messages]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]
    assert all("tool_calls" not in message for message in asked[1].messages)


def test_a_run_with_tools_is_talked_to_with_them(run: Path) -> None:
    sections = {"functions": ["rvpo.data.errands:look_up"]}
    config = load_config(RunFolder(run).config)
    config = config.model_copy(update={"environment": ToolsConfig.model_validate(sections)})
    (speaker,) = _speakers(RunFolder(run), config, ChatOptions(alone=True))
    assert [tool["function"]["name"] for tool in speaker._tools] == ["look_up"]
    assert isinstance(speaker._engine, EpisodeEngine)
    speaker.close()


def test_a_system_prompt_begins_every_conversation() -> None:
    _, asked = said("4", system="Be brief.")
    assert asked[0][0] == {"role": "system", "content": "Be brief."}
    assert sum(message["role"] == "system" for message in asked[1]) == 1


@pytest.mark.parametrize(
    ("wished", "expected"), [(None, "Be brief."), ("", None), ("Be long.", "Be long.")]
)
def test_the_system_prompt_is_that_of_the_run_another_or_none(
    run: Path, tmp_path: Path, wished: str | None, expected: str | None
) -> None:
    config = load_config(RunFolder(run).config)
    data = config.data.model_copy(update={"system_prompt": "Be brief."})
    config = config.model_copy(update={"data": data})
    options = ChatOptions(system=wished, alone=True)
    (speaker,) = _speakers(RunFolder(run), config, options)
    told = [{"role": "system", "content": expected}] if expected else []
    assert speaker._said == told


@pytest.mark.parametrize("prompt", ["", " \n"])
def test_an_empty_prompt_is_refused(run: Path, prompt: str) -> None:
    done = CliRunner().invoke(app, ["chat", str(run), "--prompt", prompt])
    assert done.exit_code == 2
    assert "--prompt: is empty" in done.output


def test_where_the_model_before_training_is_gone_the_trained_one_is_left(
    run: Path, tmp_path: Path
) -> None:
    RunFolder.create(tmp_path / "run", dump_config(tiny_config(Path("/gone"), tmp_path)), {})
    (tmp_path / "run/model").symlink_to(run / "model")
    with pytest.raises(ConfigError, match=r"there is no folder '/gone'.*--alone"):
        output_of(tmp_path / "run", "abc")
    assert list(answers(output_of(tmp_path / "run", "abc", alone=True))) == ["model"]


def test_damaged_weights_are_one_sentence(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    (weights,) = (tmp_path / "run/model").glob("*.safetensors")
    weights.write_bytes(b"none")
    with pytest.raises(ConfigError, match="rvpo chat: cannot read a causal language model"):
        output_of(tmp_path / "run", "abc", alone=True)


def test_tokens_that_fill_the_context_are_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="--tokens: 9999 leave no room for a prompt"):
        output_of(run, "abc", tokens=9999)


def test_a_turn_that_is_too_long_is_forgotten(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a" * 5000 + "\nab\n"))
    shown = output_of(run, alone=True)
    assert shown.count("--- model") == 1
    with pytest.raises(DataError, match=r"the conversation has 50\d\d tokens and leaves no room"):
        output_of(run, "a" * 5000, alone=True)


def test_the_last_model_is_talked_to_or_the_newest_there_is(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(ConfigError, match="has saved no model: "):
        trained_model(folder)
    for name in ("models/step-000002", "models/step-000010", "best", "model"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").touch()
        assert trained_model(folder) == tmp_path / name


@pytest.mark.parametrize(
    ("name", "lack"), [(".", "it has no config.yaml"), ("none", "there is no such folder")]
)
def test_a_folder_that_is_no_run_is_one_sentence(tmp_path: Path, name: str, lack: str) -> None:
    done = CliRunner().invoke(app, ["chat", str(tmp_path / name), "--prompt", "abc"])
    assert done.exit_code == 2
    assert "is no folder of a run" in done.output
    assert lack in " ".join(done.output.split())
    assert "Traceback" not in done.output


@pytest.mark.parametrize("temperature", [-1.0, 1e-9, float("nan"), float("inf")])
def test_an_impossible_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(ConfigError, match="--temperature: must be 0, or at least"):
        ChatOptions(temperature=temperature)
