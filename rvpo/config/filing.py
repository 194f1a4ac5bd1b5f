"""The filing of verdicts: under which settings of a judge a file remembers them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rvpo.config.classifier import ClassifierJudge
from rvpo.config.judge import JudgeConfig


def sampling(judge: JudgeConfig) -> dict[str, Any]:
    """Fields of every request to a judge that say how its reply is sampled."""
    known = {"temperature": judge.temperature, "max_tokens": judge.max_tokens}
    return {**known, **judge.extra_body}


def filed_under(judge: JudgeConfig) -> list[Any]:
    """Part of the key of every verdict of a judge, of whatever question, as values of JSON.

    Scores of a classifier are not sampled.
    """
    models = sorted({endpoint.model or judge.model or "" for endpoint in judge.endpoints})
    named = [judge.model, models, judge.revision]
    return named if isinstance(judge, ClassifierJudge) else [*named, sampling(judge)]


def told_apart(judges: Mapping[str, JudgeConfig]) -> dict[str, JudgeConfig]:
    """The same, with a further `revision` where the file of verdicts would take one for another.

    Two servers may well call their models by one name; who gives them two names means two judges.
    The first of such judges stays as it is, and with it what is filed under its settings.

    Args:
        judges: all that the settings name, not only those that are asked: whoever asks one of them
            has to read what was filed for that one where all were asked.
    """
    found: dict[str, JudgeConfig] = {}
    for name, judge in judges.items():
        while any(_is_taken_for(judge, other) for other in found.values()):
            revision = f"{judge.revision or ''} {name}".strip()
            judge = judge.model_copy(update={"revision": revision})
        found[name] = judge
    return found


def _is_taken_for(judge: JudgeConfig, other: JudgeConfig) -> bool:
    """True where a verdict of one may have the key of one of the other, in one file, and they are
    asked at other places.

    Of those that are served here the weights are part of what verdicts are filed under.
    """
    if judge.serve is not None or other.serve is not None or _places(judge) == _places(other):
        return False
    # As text, which is what keys are made of: 1 and true are equal, and written otherwise.
    same_keys = json.dumps(filed_under(judge)) == json.dumps(filed_under(other))
    return same_keys and _is_one_file(judge.cache, other.cache)


def _places(judge: JudgeConfig) -> set[tuple[Any, ...]]:
    """The models that are asked; what one route of a server says is not what another says."""
    route = judge.route if isinstance(judge, ClassifierJudge) else None
    return {(each.url, each.socket, each.model or judge.model, route) for each in judge.endpoints}


def _is_one_file(path: Path | None, other: Path | None) -> bool:
    """True for one file however it is spelt: relative, with `..`, or by way of links."""
    if path is None or other is None:
        return False
    return os.path.realpath(path) == os.path.realpath(other)
