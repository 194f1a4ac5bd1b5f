"""Settings of a model that transformers would refuse to write, mended before there is a model."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

from rvpo.errors import ConfigError


def savable(path: str, config: Any, generation: Any) -> tuple[Any, list[str]]:
    """The generation config to save with a model, and what was changed.

    transformers reads settings that it does not write, such as those of sampling beside
    `do_sample: false`.

    Args:
        path: the model's, for messages.
        config: the model's.
        generation: the model's, None if it has none.

    Raises:
        ConfigError: they cannot be written either way.
    """
    from transformers import GenerationConfig

    said = []
    make: Any = GenerationConfig
    generation = make() if generation is None else generation
    reason = _refusal(generation)
    if reason is not None:
        said.append(
            "model.path: transformers does not save this model's generation_config.json "
            f"({reason}): the saved model gets its special tokens alone"
        )
        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        generation = make(**{name: getattr(generation, name) for name in names})
    reason = _refusal(generation) or _refusal(config)
    if reason is not None:
        raise ConfigError(
            f"model.path: the settings of {path!r} can be read but not saved again ({reason}); "
            "correct its config.json and generation_config.json"
        )
    return generation, said


def _refusal(saved: Any) -> str | None:
    """Reason that something cannot be written; None if it can."""
    with TemporaryDirectory(prefix="rvpo-") as folder:
        try:
            saved.save_pretrained(folder)
        except Exception as error:  # settings of any type meet code that expects others
            lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
            return " ".join(lines[:2]) or type(error).__name__
    return None


def check_tokenizer(path: str, tokenizer: Any) -> None:
    """Save a tokenizer once, to nowhere.

    Raises:
        ConfigError: it cannot be saved.
    """
    reason = _refusal(tokenizer)
    if reason is not None:
        raise ConfigError(
            f"model.path: the tokenizer of {path!r} can be read but not saved again ({reason}); "
            "correct its tokenizer_config.json"
        )
