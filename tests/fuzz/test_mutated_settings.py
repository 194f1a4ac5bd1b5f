"""A damaged settings file is a run or a sentence: no traceback, whatever is changed.

Each case follows from its number. RVPO_FUZZ_CONFIGS says how many there are.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from rvpo.config.run import load_config
from rvpo.errors import ConfigError

CASES = int(os.environ.get("RVPO_FUZZ_CONFIGS", "400"))
FILES = sorted(Path(__file__).parents[2].joinpath("experiments").glob("*.yaml"))
VALUES = [
    "2024-99-99", "2024-01-01", "0x_", "0b", "9" * 5000, "!!int abc", "!!bool x", "!!float y",
    "!!timestamp z", "!!binary '*'", "!!python/object:os.system x", "[" * 2000, "{a: " * 200,
    "&a [*a]", "&a {b: *a}", "*b", "null", "~", "true", "-1", "1e400", ".nan", ".inf", "''",
    '"\\0"', '"\\ud800"', "[]", "{}", "[1, 2]", "{1: 2}", "{[1]: 2}", "{null: 1}", "? a", "<<: *x",
    "1:30", "0o9", "1_000", "\u202e", "ü", "\t", "- x", "|\n  a", "%", "@", "`", "\x07", "x" * 9000,
]  # fmt: skip
LAUGHS = "".join(
    f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9) if i else 'lol'}]\n" for i in range(9)
)


def refusal(file: Path, otherwise: str, *settings: str) -> str:
    """Why a file is no run; `otherwise` where it is one."""
    try:
        load_config(file, settings)
    except ConfigError as error:
        return str(error)
    return otherwise


def mutated(text: str, chance: random.Random) -> str:
    for _ in range(chance.randint(1, 3)):
        lines = text.split("\n")
        at = chance.randrange(len(lines))
        key, colon, _ = lines[at].partition(":")
        match chance.randrange(9):
            case 0 | 1 | 2 if colon:
                lines[at] = f"{key}: {chance.choice(VALUES)}"
            case 3:
                lines[at] = chance.choice(VALUES)
            case 4:
                del lines[at]
            case 5:
                lines[at] = " " * chance.randrange(5) + lines[at].lstrip()
            case 6 if colon and len(key) > 2:
                place = chance.randrange(len(key))
                lines[at] = (
                    key[:place] + chance.choice("xyz ") + key[place + 1 :] + lines[at][len(key) :]
                )
            case 7:
                place = chance.randrange(len(text) or 1)
                lines = (text[:place] + chance.choice(VALUES)[:50] + text[place:]).split("\n")
            case _:
                lines.insert(at, chance.choice(lines))
        text = "\n".join(lines)
    return text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_damaged_file_is_a_run_or_sentences(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    text = path.read_text(encoding="utf-8")
    for name in {line[6:] for line in text.splitlines() if line.startswith("base: ")}:
        (tmp_path / name).write_bytes(path.with_name(name).read_bytes())
    for case in range(-(-CASES // len(FILES))):
        chance = random.Random(f"{path.stem} {case}")
        file.write_text(mutated(text, chance), encoding="utf-8", errors="surrogatepass")
        assert str(tmp_path) in refusal(file, str(tmp_path)), case


@pytest.mark.parametrize("value", VALUES)
def test_an_odd_value_is_a_setting_or_a_sentence(value: str) -> None:
    for name in ("seed", "update.lr", "rewards.brief.weight", "advantage", "output", "data.train"):
        section = name.partition(".")[0]
        assert section in refusal(FILES[-1], section, f"{name}={value}")


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "report: &a {project: *a}",
        "[" * 3000,
        "{" * 3000,
        "a: " * 3000,
        "\n".join(f"key{i}: {i}" for i in range(19_000)),
        "\n".join(f"key{i}: {i}" for i in range(30_000)),
        "x: " + "y" * 2**21,
        "",
        "null",
        "- 1",
        "base: '\\0'",
        'base: "\\0"',
        'base: "\\ud800"',
        "base: run.yaml",
        "base: loop.yaml",
        "base: " + "x" * 5000,
    ],
    ids=lambda text: text[:20],
)
def test_a_file_without_bounds_is_one_sentence(text: str, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.yaml|loop\.yaml"):
        load_config(file)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "run.yaml"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="is a pipe or a device"):
        load_config(pipe)
