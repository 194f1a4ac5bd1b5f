"""The language of an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from rvpo.rewards.completion import Completion, text_of
from rvpo.rewards.field import field_of
from rvpo.runtime.extras import Need, require
from rvpo.types import Failed, Message, RewardScore

_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$", re.DOTALL)
_LETTER: Final = re.compile(r"[^\W\d_]")
_FEWEST_LETTERS: Final = 12
"""Letters below which a text is of no language: `OK`, `42 km`, a name."""


def spoken(
    completions: Sequence[Completion],
    prompts: Sequence[str | Sequence[Message]],
    language: str | None = None,
    column: str | None = None,
    **columns: Any,
) -> list[RewardScore]:
    """1 where a completion is in the language that is wanted, else 0.

    Code in fences or backticks and formulas in `$` are no language and are left out.

    Args:
        completions: the answers.
        prompts: the questions.
        language: two letters of ISO 639-1, such as `de`.
        column: name of the data's column with such letters; the language of the prompt's last turn
            if neither is given.

    Returns:
        None where a row names no language, or where the text has fewer than 12 letters; Failed
        where a row names one that is not known.

    Raises:
        ConfigError: py3langid is not installed, or there is no such column.
        ValueError: `language` is not known.

    Source: langid.py (Lui and Baldwin, ACL 2012) in the version of py3langid (Adrien Barbaresi):
    more than 100 languages.
    """
    require("the reward rvpo.rewards.language:spoken", Need("language"))
    wanted: Sequence[Any]
    if language is not None:
        _code(language)
        wanted = [language] * len(completions)
    elif column is not None:
        wanted = field_of(columns, column)
    else:
        wanted = [language_of(_last(prompt)) for prompt in prompts]
    return [
        _score(text_of(completion), each)
        for completion, each in zip(completions, wanted, strict=True)
    ]


def language_of(text: str) -> str | None:
    """The likeliest language in two letters of ISO 639-1; None where there is too little text."""
    words = _CODE.sub(" ", text)
    letters = len(_LETTER.findall(words))
    # A sign of Chinese, Japanese or Korean says as much as several letters.
    dense = len(re.findall(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]", words))
    if letters + 3 * dense < _FEWEST_LETTERS:
        return None
    # Half of a surrogate pair is no text that bytes can hold.
    sound = words.lower().encode(errors="replace").decode()
    return str(_identifier().classify(sound)[0])


def _score(text: str, wanted: Any) -> RewardScore:
    if wanted is None or wanted == "":
        return None
    try:
        code = _code(wanted)
    except ValueError as error:  # of the row's own value
        return Failed(str(error))
    found = language_of(text)
    return None if found is None else float(found == code)


def _code(wanted: Any) -> str:
    code = str(wanted).lower().replace("_", "-").split("-")[0]  # zh-CN is zh
    if code not in _identifier().labels:
        raise ValueError(
            f"language must be a code of ISO 639-1 such as en, de or zh, got {wanted!r}"
        )
    return code


def _last(prompt: str | Sequence[Message]) -> str:
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    return LanguageIdentifier.from_model_file(MODEL_FILE)
