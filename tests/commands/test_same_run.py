"""A resumed run is the same run: what it is made of is compared, and its day and place are kept."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from rvpo.commands.inputs import read_inputs
from rvpo.config.run import RunConfig, dump_config, load_config
from rvpo.errors import CheckpointError, ConfigError, DataError
from rvpo.report.display import Display
from rvpo.report.provenance import provenance
from rvpo.report.run_folder import RunFolder
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.digest import FIRST_PROMPTS, PROMPTS, _of_prompts
from rvpo.trainer.resume import at_home, open_run, rewind
from rvpo.trainer.start import Start, add_start, check_inputs, read_starts
from tests.configs import tiny_config
from tests.fakes import make_prompt

QUIET = Display(1, Console(quiet=True))
DAY = datetime(2024, 2, 29, 23, 59, 30)


@pytest.fixture
def world(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model, a data file and reward code of one run, all of them files to be changed."""
    shutil.copytree(tiny_model, tmp_path / "model")
    rows = [{"prompt": f"word {n}", "answer": str(n)} for n in range(3)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    package = tmp_path / "mine"
    package.mkdir()
    (package / "rewards.py").write_text(
        "from mine.helper import length\n"
        "def short(prompts, completions, completion_ids, **columns):\n"
        "    return [-length(text) for text in completions]\n"
    )
    (package / "helper.py").write_text("def length(text):\n    return float(len(text))\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    forget()


def forget() -> None:
    """The reward code is imported anew, as in another process."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def config(world: Path, **sections: Any) -> RunConfig:
    return tiny_config(
        world / "model",
        world / "run",
        data={"train": {"path": str(world / "rows.jsonl")}},
        rewards={"vowels": {"function": "mine.rewards:short"}},
        **sections,
    )


def read(world: Path, now: datetime = DAY) -> dict[str, str]:
    forget()
    return dict(read_inputs(config(world), now, QUIET, Ranks.alone()).digests)


def begun(world: Path) -> RunFolder:
    folder = RunFolder.create(world / "run", dump_config(config(world)), provenance())
    add_start(folder, Start(date=DAY, step=0, inputs=read(world)))
    return folder


def told(folder: RunFolder, inputs: dict[str, str]) -> str:
    said: list[str] = []
    check_inputs(folder.path, read_starts(folder), inputs, said.append)
    return "\n".join(said)


def change_answers(world: Path) -> None:
    text = (world / "rows.jsonl").read_text()
    (world / "rows.jsonl").write_text(text.replace('"answer": "1"', '"answer": "2"'))


def change_weights(world: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(world / "model")
    model.model.norm.weight.data[0] += 1
    model.save_pretrained(world / "model")


def change_settings(world: Path) -> None:
    path = world / "model" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rms_norm_eps": 1e-5}))


def change_template_alone(world: Path) -> None:
    path = world / "model" / "chat_template.jinja"
    path.write_text(path.read_text() + "{# the same prompts #}")


def change_code(name: str) -> Callable[[Path], None]:
    def change(world: Path) -> None:
        path = world / "mine" / name
        path.write_text(path.read_text() + "# changed\n")

    return change


CHANGES: dict[str, Callable[[Path], None]] = {
    "rows of data.train": change_answers,
    "code of rewards.vowels": change_code("rewards.py"),
    "weights of the model": change_weights,
    "settings of the model": change_settings,
    "chat template": change_template_alone,
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_is_named_and_when(world: Path, name: str) -> None:
    folder = begun(world)
    assert told(folder, read(world)) == ""
    CHANGES[name](world)
    assert told(folder, read(world)) == (
        f"{folder.path}: this run goes on, but these changed since 2024-02-29 23:59: {name}"
    )


@pytest.mark.parametrize("is_package", [False, True])
def test_code_that_a_reward_uses_is_its_code(world: Path, is_package: bool) -> None:
    if is_package:
        (world / "mine" / "__init__.py").write_text("from mine.rewards import short\n")
    folder = begun(world)
    change_code("helper.py")(world)
    assert "code of rewards.vowels" in told(folder, read(world))


def test_the_functions_of_an_environment_are_part_of_the_run(world: Path) -> None:
    tools = world / "mine" / "tools.py"
    tools.write_text(
        "def look(at: str) -> str:\n"
        '    """Looks.\n\n    Args:\n        at: where\n    """\n'
        "    return at\n"
    )
    sections = {
        "model": {"chat_template": "chatml_tools"},
        "environment": {"name": "tools", "functions": ["mine.tools:look"]},
    }

    def digests() -> dict[str, str]:
        forget()
        return dict(read_inputs(config(world, **sections), DAY, QUIET, Ranks.alone()).digests)

    before = digests()
    assert digests() == before
    change_code("tools.py")(world)
    after = digests()
    assert {name for name in before if before[name] != after[name]} == {
        "code of environment, mine.tools"
    }


@pytest.mark.parametrize("how", ["import mine.late as m", "from mine import late as m"])
def test_code_that_a_reward_imports_when_it_is_called_is_its_code(world: Path, how: str) -> None:
    (world / "mine" / "late.py").write_text("LONGEST = 3\n")
    rewards = world / "mine" / "rewards.py"
    rewards.write_text(f"{rewards.read_text()}\n\ndef later():\n    {how}\n    return m.LONGEST\n")
    folder = begun(world)
    assert told(folder, read(world)) == ""
    (world / "mine" / "late.py").write_text("LONGEST = 4\n")
    assert "code of rewards.vowels" in told(folder, read(world))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Decimal("1.5"), Decimal("2.5")),
        (b"a", b"b"),
        (datetime(2024, 1, 1), datetime(2024, 1, 2)),
        (timedelta(1), timedelta(2)),
    ],
    ids=["decimal", "bytes", "time", "span"],
)
def test_values_that_json_has_not_are_part_of_the_rows(before: Any, after: Any) -> None:
    def of(value: Any) -> str:
        return _of_prompts([make_prompt(answer=value)])

    assert of(before) == of(copy.copy(before))
    assert of(before) != of(after)
    assert of(object()) == of(object())


def test_a_change_is_told_once_and_kept(world: Path) -> None:
    folder = begun(world)
    change_answers(world)
    inputs = read(world)
    add_start(folder, Start(date=DAY, step=2, inputs=inputs))
    assert told(folder, inputs) == ""
    first, second = json.loads(folder.provenance.read_text())["starts"]
    assert set(second["inputs"]) == {"rows of data.train"}
    assert second["step"] == 2
    assert len(first["inputs"]) > 10
    assert json.loads(folder.provenance.read_text())["rvpo"] == provenance()["rvpo"]


def test_another_version_is_told_with_both(world: Path) -> None:
    folder = begun(world)
    inputs = read(world) | {"version of torch": "0.4.1"}
    assert "version of torch (2." in told(folder, inputs)
    assert told(folder, inputs).endswith(", now 0.4.1)")


def change_prompt(world: Path) -> None:
    text = (world / "rows.jsonl").read_text()
    (world / "rows.jsonl").write_text(text.replace("word 1", "word one"))


def drop_row(world: Path) -> None:
    lines = (world / "rows.jsonl").read_text().splitlines(keepends=True)
    (world / "rows.jsonl").write_text("".join(lines[:-1]))


def swap_rows(world: Path) -> None:
    lines = (world / "rows.jsonl").read_text().splitlines(keepends=True)
    (world / "rows.jsonl").write_text("".join(reversed(lines)))


def change_template(world: Path) -> None:
    path = world / "model" / "chat_template.jinja"
    path.write_text("Answer briefly. " + path.read_text())


def change_tokenizer(world: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(world / "model")
    tokenizer.add_tokens(["word"])
    tokenizer.save_pretrained(world / "model")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (change_prompt, "rows of data.train"),
        (drop_row, "rows of data.train"),
        (swap_rows, "rows of data.train"),
        (change_template, "chat template"),
        (change_tokenizer, "tokenizer"),
    ],
)
def test_other_prompts_are_refused_with_the_cause(
    world: Path, change: Callable[[Path], None], cause: str
) -> None:
    folder = begun(world)
    change(world)
    with pytest.raises(DataError) as error:
        told(folder, read(world))
    assert str(error.value) == (
        f"{folder.path}: the prompts are other tokens than those this run was trained on, after a "
        f"change of the {cause} since 2024-02-29 23:59; restore what they were made of, or start "
        "a new run: output=runs/NAME"
    )


def test_prompts_with_a_date_stay_as_on_the_first_day(world: Path) -> None:
    path = world / "model" / "chat_template.jinja"
    path.write_text("{{ strftime_now('%d %B %Y') }}" + path.read_text())
    folder = begun(world)
    overnight = datetime(2024, 3, 1, 0, 0, 30)
    assert read(world, overnight)[PROMPTS] != read(world)[PROMPTS]
    date = read_starts(folder)[0].date
    assert read_inputs(config(world), date, QUIET, Ranks.alone()).encoder.now == DAY
    assert told(folder, read(world, date)) == ""


def test_the_date_of_the_prompts_is_shown_where_a_template_writes_one(world: Path) -> None:
    def shown() -> str:
        console = Console(record=True, quiet=False, width=200, file=StringIO())
        read_inputs(config(world), DAY, Display(1, console), Ranks.alone())
        return console.export_text()

    assert "2024" not in shown()
    path = world / "model" / "chat_template.jinja"
    path.write_text("{{ strftime_now('%d %B %Y') }}" + path.read_text())
    assert "chat template: 2024-02-29, as long as this run lasts" in shown()


def test_a_folder_that_does_not_tell_is_told_of(world: Path) -> None:
    folder = begun(world)
    folder.provenance.write_text('{"rvpo": "0.1.0"}')
    assert "does not say what this run was made of" in told(folder, read(world))
    folder.provenance.unlink()
    assert "does not say what this run was made of" in told(folder, read(world))
    add_start(folder, Start(date=DAY, step=1, inputs=read(world)))
    assert told(folder, read(world)) == ""


@pytest.mark.parametrize(
    "text", ["[]", "null", '{"starts": 1}', '{"starts": [{"step": "x"}]}', "{"]
)
def test_a_damaged_provenance_is_one_sentence(world: Path, text: str) -> None:
    folder = begun(world)
    folder.provenance.write_text(text)
    with pytest.raises(CheckpointError, match=r"provenance\.json is damaged"):
        read_starts(folder)


def test_a_run_is_where_its_own_settings_lie(world: Path) -> None:
    folder = begun(world)
    moved = world / "elsewhere" / "b"
    moved.parent.mkdir()
    shutil.copytree(folder.path, moved)
    file = moved / "config.yaml"
    stored = load_config(file)
    assert stored.output == folder.path
    assert at_home(stored, file, []).output == moved
    assert open_run(at_home(stored, file, []))[0].path == moved
    named = load_config(file, [f"output={world / 'c'}"])
    assert at_home(named, file, [f"output={world / 'c'}"]).output == world / "c"
    own = folder.path / "config.yaml"
    assert at_home(load_config(own), own, []).output == folder.path


def test_settings_beside_no_run_say_where_it_is(world: Path) -> None:
    file = world / "config.yaml"
    file.write_text(yaml.safe_dump(json.loads(config(world).model_dump_json())))
    assert at_home(load_config(file), file, []).output == world / "run"
    with pytest.raises(ConfigError, match=r"was moved, .*--config FOLDER/config.yaml --resume"):
        open_run(load_config(file))


def test_steps_without_the_checkpoint_they_made_are_not_thrown_away(world: Path) -> None:
    folder = begun(world)
    folder.metrics.write_text("".join(json.dumps({"step": n}) + "\n" for n in (1, 2)))
    open_run(config(world))  # the checkpoint of step 2 was under way
    folder.metrics.write_text("".join(json.dumps({"step": n}) + "\n" for n in (1, 2, 3)))
    with pytest.raises(CheckpointError, match=r"tells of 3 steps and .*holds no checkpoint"):
        open_run(config(world))
    (folder.checkpoints / "step-000002").mkdir(parents=True)
    assert open_run(config(world))[0].path == folder.path


def holds(folder: RunFolder, name: str) -> None:
    path = folder.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")


@pytest.mark.parametrize(
    "work",
    [
        *("model/config.json", "models/step-000003/config.json", "held_out/step-000003.json"),
        *("samples/step-000003.rank-0.jsonl", "benchmarks/gpqa/step-000004/summary.json"),
    ],
)
@pytest.mark.parametrize("metrics", [None, "", "junk\n", '{"step": 1}\n'])
def test_whatever_tells_of_work_keeps_a_run_from_starting_over(
    world: Path, work: str, metrics: str | None
) -> None:
    folder = begun(world)
    holds(folder, work)
    if metrics is not None:
        folder.metrics.write_text(metrics)
    with pytest.raises(CheckpointError, match=r"tells of \d steps and .*holds no checkpoint"):
        open_run(config(world))
    assert (folder.path / work).exists()


@pytest.mark.parametrize("name", ["held_out/step-000000.json", "best.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"means": 1}'])
def test_what_the_end_needs_is_read_at_the_start(world: Path, name: str, text: str) -> None:
    folder = begun(world)
    folder.best.mkdir()
    path = folder.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"is damaged .*; bring it back, or move it") as said:
        open_run(config(world))
    assert str(path) in str(said.value)
    path.rename(world / path.name)
    open_run(config(world))


def test_lost_metrics_are_said_and_stop_nothing(world: Path) -> None:
    folder = begun(world)
    (folder.checkpoints / "step-000006").mkdir(parents=True)
    folder.metrics.write_text('{"step": 1}\njunk\n{"step": 5}\n{"st')
    open_run(config(world))
    said: list[str] = []
    rewind(folder, 6, said.append)
    assert said == [
        f"{folder.metrics} held no metrics of steps 2 to 4, 6, which the curves will be without; "
        "the file as it was is metrics.damaged-000006.jsonl"
    ]
    folder.metrics.unlink()
    rewind(folder, 1, said.append)
    assert said[1:] == [
        f"{folder.metrics} held no metrics of step 1, which the curves will be without"
    ]


def test_a_run_that_has_the_digest_of_all_prompts_goes_on_with_that_of_the_first(
    world: Path,
) -> None:
    folder, inputs = begun(world), read(world)
    first = {name: value for name, value in inputs.items() if name != PROMPTS}
    first |= {FIRST_PROMPTS: "a", "version of rvpo": "99"}
    assert "token ids" not in told(folder, first)
    for name in ("rows of data.train", "chat template", "tokenizer"):
        with pytest.raises(DataError, match=f"other tokens.* change of the {name}"):
            told(folder, first | {name: "b"})
    add_start(folder, Start(date=DAY, step=1, inputs=first))
    assert told(folder, first) == ""
    with pytest.raises(DataError, match="other tokens"):
        told(folder, first | {FIRST_PROMPTS: "b"})
    with pytest.raises(DataError, match="other tokens"):
        told(folder, inputs | {"rows of data.train": "b"})


def test_adapters_go_on_beside_the_weights_they_were_trained_beside_alone(world: Path) -> None:
    folder = begun(world)
    starts, said = read_starts(folder), list[str]()
    for change in (change_settings, change_template_alone):
        change(world)
        check_inputs(folder.path, starts, read(world), said.append, beside_model=True)
    change_weights(world)
    check_inputs(folder.path, starts, read(world), said.append)  # all of them are in a checkpoint
    with pytest.raises(CheckpointError, match="adapters of those alone; restore the files of mod"):
        check_inputs(folder.path, starts, read(world), said.append, beside_model=True)
