"""Completions of a file: written by hand, or the samples of a run."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rvpo.config.data import DataConfig
from rvpo.data.messages import read_messages, with_system
from rvpo.data.sources import load_prompts
from rvpo.errors import DataError, nearest
from rvpo.files.gzipped import unzipped
from rvpo.files.json_file import json_lines
from rvpo.files.literal import inside
from rvpo.rewards.rubric import RubricReward
from rvpo.rubrics.overlap import question
from rvpo.thinking import Thinking
from rvpo.trial.response import Response
from rvpo.types import Message, Prompt

_FORM = 'write {"prompt_id": ..., "completion": ...} or {"prompt": ..., "completion": ...} a line'


def read_responses(
    path: Path,
    rewards: Sequence[RubricReward],
    data: DataConfig,
    markers: tuple[str, str] | None = None,
) -> tuple[Response, ...]:
    """The responses of a file of JSON lines, in their order.

    A line has a `completion` and a `prompt` (text, or chat messages), a `prompt_id`, or both, as
    the samples that a run writes have. Criteria of its own stand in the column that the reward
    reads, each a text or a table; where a reward needs criteria and a line has none, they are
    those of the prompt of this id in the run's data. Without that need the data are not read.

    Args:
        markers: text that opens a thought of the model, and text that closes it, where the settings
            tell.

    Raises:
        DataError: the file cannot be read, a line is no response, or the data have no such prompt.
        ConfigError: the data's function does not import.
    """
    lines = tuple(_lines(path))
    if not lines:
        raise DataError(f"{path}: there are no lines; {_FORM}")
    known = _Data(data)
    thinking = Thinking.of((), markers)
    return tuple(
        Response(
            text=line.answer(thinking),
            prompt=_prompt(line, rewards, known),
            everything=line.completion,
        )
        for line in lines
    )


@dataclass(frozen=True, slots=True)
class _Line:
    where: str
    number: int
    fields: Mapping[str, Any]

    @property
    def completion(self) -> str:
        text = self.fields.get("completion")
        if not isinstance(text, str):
            raise DataError(f"{self.where}: has no text 'completion'; {_FORM}")
        return text

    def answer(self, thinking: Thinking) -> str:
        """The answer as a run's samples have it beside the completion, or the completion without
        thought."""
        answer, completion = self.fields.get("answer"), self.completion
        if isinstance(answer, str) and isinstance(self.fields.get("thought"), str):
            return answer
        return thinking.split_alone(completion).answer


@dataclass(frozen=True)
class _Data:
    """The prompts of the run, read when one is first needed."""

    config: DataConfig

    @property
    def system_prompt(self) -> str | None:
        return self.config.system_prompt

    @cached_property
    def by_id(self) -> Mapping[str, list[Prompt]]:
        found: dict[str, list[Prompt]] = {}
        sources = self.config.train_sources | self.config.held_out_sources
        for where, source in sources.items():
            for prompt in load_prompts(source, self.config.system_prompt, where):
                found.setdefault(prompt.id, []).append(prompt)
        return found


def _prompt(line: _Line, rewards: Sequence[RubricReward], data: _Data) -> Prompt:
    identity = line.fields.get("prompt_id")
    messages = _messages(line, data.system_prompt) if "prompt" in line.fields else None
    if identity is None and messages is None:
        raise DataError(f"{line.where}: has neither 'prompt' nor 'prompt_id'; {_FORM}")
    needed = _needed(rewards)
    lacking = [column for column in needed if not _has(line.fields, column)]
    if messages is not None and not lacking:
        columns = {
            name: value
            for name, value in line.fields.items()
            if name not in ("prompt", "prompt_id", "completion", "thought")
        }
        name = f"line {line.number}" if identity is None else str(identity)
        return Prompt(id=name, messages=messages, columns=columns)
    if identity is None:
        raise DataError(
            f"{line.where}: has no {needed[lacking[0]]}; give it, or the 'prompt_id' to find it "
            "by in the data"
        )
    return _known(line, str(identity), messages, data)


def _needed(rewards: Sequence[RubricReward]) -> dict[str, str]:
    """The columns that a line needs where the data do not have them, with what they hold."""
    shown = {
        r.reference: f"reference answer in '{r.reference}', which reward '{r.name}' shows"
        for r in rewards
        if r.reference
    }
    asked = {
        r.column: f"criteria in '{r.column}', which reward '{r.name}' needs"
        for r in rewards
        if not r.fixed
    }
    return shown | asked


def _known(line: _Line, identity: str, messages: tuple[Message, ...] | None, data: _Data) -> Prompt:
    """The prompt of the data, in the words of the line where it has any."""
    found = data.by_id.get(identity)
    if found is None:
        guess = nearest(identity, list(data.by_id))
        meant = f"did you mean '{guess}'?" if guess else f"they have {next(iter(data.by_id))!r}, …"
        raise DataError(f"{line.where}: the data have no prompt '{identity}'; {meant}")
    if messages is not None:
        found = [p for p in found if question(p.messages) == question(messages)]
        if not found:
            raise DataError(
                f"{line.where}: prompt '{identity}' asks something else in the data, so their "
                "criteria are not for it; give the data that the completions were made with"
            )
        return replace(found[0], messages=messages)
    if len({prompt.turns for prompt in found}) > 1:
        raise DataError(
            f"{line.where}: data.train and data.held_out have different prompts '{identity}'; add "
            "the 'prompt' to the line"
        )
    return found[0]


def _has(fields: Mapping[str, Any], column: str) -> bool:
    return column in fields or inside(fields, column) is not None


def _messages(line: _Line, system_prompt: str | None) -> tuple[Message, ...]:
    try:
        messages = read_messages(line.fields["prompt"], "it")
    except DataError as error:
        raise DataError(
            f"{line.where}: 'prompt' must be text or a list of chat messages, and {error}"
        ) from error
    return with_system(messages, system_prompt)


def _lines(path: Path) -> Iterator[_Line]:
    try:
        raw = unzipped(path.read_bytes())
    except ValueError as error:
        raise DataError(f"--samples: {path} is damaged ({error}); give a whole file") from error
    except OSError as error:
        raise DataError(
            f"--samples: {path} cannot be read ({error.strerror}); give a file of JSON lines"
        ) from error
    for number, fields in json_lines(io.BytesIO(raw), str(path), _FORM):
        yield _Line(f"{path}, line {number}", number, fields)
