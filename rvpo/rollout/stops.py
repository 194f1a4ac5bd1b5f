"""The tokens that end a completion, by a model's files and by its chat template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rvpo.errors import ConfigError
from rvpo.runtime.ignore import ignore

_SENTINEL = "quartz"
"""An answer that no template writes by itself."""


def read_stops(
    path: str,
    tokenizer: Any,
    config: Any,
    say: Callable[[str], None] = ignore,
    template_values: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[int, ...]:
    """Ids of the tokens that end a completion, in order.

    They are the tokenizer's, those of the generation config or else of the config, and the one
    that the chat template writes behind an answer.

    Args:
        config: the model's, as transformers reads it.
        say: hears of what is left out, and of what the template adds.
        template_values: those of the chat template's variables.

    Raises:
        ConfigError: the files do not give token ids, or nothing ends a completion.
    """
    text = config.get_text_config()
    generation = read_generation(path)
    stated = None if generation is None else generation.eos_token_id
    if stated is None:
        stated = getattr(text, "eos_token_id", None)
    if stated is None:
        stated = getattr(config, "eos_token_id", None)
    wanted = {tokenizer.eos_token_id, *_ids(stated, path)} - {None}
    stops = {token for token in wanted if 0 <= token < text.vocab_size}
    if stops < wanted:
        without = ", ".join(map(str, sorted(wanted - stops)))
        say(f"model.path: the end token {without} is not in the vocabulary: left out")
    tail = behind_an_answer(tokenizer, template_values)
    stops |= _end_of_turn(tokenizer, tail, frozenset(stops), say)
    if not stops:
        raise ConfigError(
            f"model.path: nothing ends a completion of {path!r}: neither its tokenizer, nor its "
            "generation config, nor its chat template names an end token; set eos_token in "
            "tokenizer_config.json or eos_token_id in generation_config.json"
        )
    return tuple(sorted(stops))


def read_generation(path: str) -> Any:
    """A model's GenerationConfig; None if it comes without.

    Raises:
        ConfigError: there is one that cannot be read.
    """
    from transformers import GenerationConfig

    try:
        return GenerationConfig.from_pretrained(path)
    except Exception as error:  # of other types and values it raises anything
        is_here = (Path(path) / "generation_config.json").is_file()
        if isinstance(error, OSError) and not is_here:
            return None  # a model need not come with generation settings
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(
            f"model.path: the generation_config.json of {path!r} cannot be read "
            f"({type(error).__name__}: {reason}); correct it or move it elsewhere, a run "
            "samples by its own settings"
        ) from error


def _ids(stated: Any, path: str) -> list[int]:
    each = [] if stated is None else stated if isinstance(stated, list | tuple) else [stated]
    for token in each:
        if isinstance(token, bool) or not isinstance(token, int):
            raise ConfigError(
                f"model.path: eos_token_id of {path!r} holds {token!r}, which is no token id; give "
                "whole numbers in its generation_config.json"
            )
    return list(each)


def _end_of_turn(
    tokenizer: Any, tail: str, stops: frozenset[int], say: Callable[[str], None]
) -> frozenset[int]:
    """The token that the template writes behind an answer, where nothing else makes it a stop.

    Args:
        tail: the text there.
    """
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"] if tail.strip() else []
    if not stops.isdisjoint(ids):
        return frozenset()
    known = {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids}
    found = next((token for token in ids if token in known), None)
    if found is not None:
        shown = tokenizer.convert_ids_to_tokens(found)
        say(
            f"model.path: the chat template ends a turn with {shown!r} (token {found}), which is "
            "not among the model's end tokens: it is taken as one"
        )
        return frozenset((found,))
    if tail.strip():
        say(
            f"model.path: the chat template ends a turn with {tail.strip()!r}, which is no single "
            "token, so completions may run on past their turn; use a template that ends a turn "
            "with an end token"
        )
    return frozenset()


def behind_an_answer(tokenizer: Any, template_values: Mapping[str, Any]) -> str:
    """Text that the template writes behind the assistant's last turn; empty if it will not tell."""
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _SENTINEL}]
    try:
        text: str = tokenizer.apply_chat_template(chat, tokenize=False, **template_values)
    except Exception:  # templates are code of the model and raise anything
        return ""
    return text.rpartition(_SENTINEL)[2] if _SENTINEL in text else ""
