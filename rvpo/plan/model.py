"""The model: whether it can be read, how large it is, and how long its prompts are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from rvpo.config.run import RunConfig
from rvpo.data.encoder import encoder_of
from rvpo.data.lengths import room_for_prompts
from rvpo.errors import RvpoError
from rvpo.model_files import resolve_model
from rvpo.plan.machine import Finding
from rvpo.plan.shape import ModelShape, is_on_hub, published_shape, read_shape
from rvpo.types import Prompt

_WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
_GUESSED_PROMPT = 1024
"""Tokens of the longest prompt where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Model as far as it could be read, and the findings about it."""

    shape: ModelShape | None
    prompt_tokens: int
    """Tokens of the longest prompt, or of the room that there is for one."""
    usual_tokens: float
    """The same in the mean; of unknown prompts half of it."""
    findings: tuple[Finding, ...]


def read_model(config: RunConfig, prompts: Sequence[Prompt]) -> Model:
    """Read settings and tokenizer; what fails becomes a finding."""
    shape, finding = describe(config.model.path, "model", config.model.trust_remote_code)
    findings = [finding]
    tokens, usual = _room(config), _room(config) / 2
    if finding.state != "missing":
        lengths, more = _lengths(config, prompts)
        tokens, usual = (max(lengths), fmean(lengths)) if lengths else (tokens, usual)
        findings += more
    return Model(shape=shape, prompt_tokens=tokens, usual_tokens=usual, findings=tuple(findings))


def describe(path: str, part: str, trust_remote_code: bool) -> tuple[ModelShape | None, Finding]:
    """The size of a model, and whether its files are here or can be had."""
    try:
        shape = read_shape(path, trust_remote_code=trust_remote_code, setting=_setting(part))
    except RvpoError as error:
        return _unread(path, part, error)
    size = f"{path}, {_billions(shape)}"
    if _has_weights(path):
        return shape, Finding(part, "ok", size)
    if not is_on_hub(path):
        return shape, Finding(part, "missing", f"{size}: there are no weights in the folder")
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        found = f"{size}: only its settings are cached, and the hub does not answer"
        return shape, Finding(part, "missing", found, _download(path, part))
    return shape, Finding(part, "ok", f"{size}; downloaded when the run starts")


def _unread(path: str, part: str, error: RvpoError) -> tuple[ModelShape | None, Finding]:
    shape = published_shape(path)
    try:
        far = is_on_hub(path)
    except RvpoError:
        far = False
    if not far:
        return None, Finding(part, "missing", str(error))
    found = f"{path} is not cached here, and the hub does not give it"
    if shape is not None:
        found += f"; its published size, {_billions(shape)}, is taken below"
    return shape, Finding(part, "missing", found, _download(path, part))


def _lengths(config: RunConfig, prompts: Sequence[Prompt]) -> tuple[list[int], list[Finding]]:
    """Tokens of each prompt, none if that could not be told."""
    said: list[str] = []
    try:
        path = resolve_model(config.model.path)
        encoder = encoder_of(config.model, config.rollout, path, said.append)
        if not prompts:
            return [], []
        lengths: list[int] = []
        completion = config.rollout.max_completion_tokens
        encoder.check_control_tokens(prompts, said.append)
        if config.data.too_long == "refuse":
            encoder.check_lengths(prompts, completion, lambda ids: lengths.append(len(ids)))
        else:
            lengths = [len(ids) for ids in encoder.encode_each(prompts)]
    except RvpoError as error:
        return [], [Finding("prompts", "missing", str(error))]
    lengths, long = _fitted(config, lengths, room_for_prompts(config, encoder))
    if not lengths:
        return [], [Finding("prompts", "missing", "every prompt is too long for the context")]
    found = (
        f"{median(lengths):,.0f} tokens in the median, {max(lengths):,} at most; with a completion "
        f"of {completion:,} they fit in {encoder.max_context_tokens:,}{long}"
    )
    notes = [Finding("model", "note", text.removeprefix("model.path: ")) for text in said]
    return lengths, [*notes, Finding("prompts", "ok", found)]


def _fitted(config: RunConfig, lengths: list[int], room: int) -> tuple[list[int], str]:
    """Tokens of each prompt as the model will see it, and words for those that are too long."""
    short = [tokens for tokens in lengths if tokens <= room]
    long = len(lengths) - len(short)
    if not long:
        return lengths, ""
    if config.data.too_long == "drop":
        return short, f"; {long:,} that are too long are left out"
    return [min(tokens, room) for tokens in lengths], f"; {long:,} lose their first tokens"


def _room(config: RunConfig) -> int:
    context = config.rollout.engine.max_context_tokens
    return context - config.rollout.max_completion_tokens if context else _GUESSED_PROMPT


def _has_weights(path: str) -> bool:
    resolved = resolve_model(path)
    if not is_on_hub(path):
        return any((Path(resolved) / name).is_file() for name in _WEIGHTS)
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(path, name), str) for name in _WEIGHTS)


def _billions(shape: ModelShape) -> str:
    if shape.parameters < 1e9:
        return f"{shape.parameters / 1e6:,.1f} million parameters"
    return f"{shape.parameters / 1e9:,.2f} billion parameters"


def _setting(part: str) -> str:
    return "model.path" if part == "model" else f"{part}.serve.model"


def _download(path: str, part: str) -> str:
    return (
        f"where there is a network: hf download {path} --local-dir FOLDER; then "
        f"{_setting(part)}=FOLDER"
    )
