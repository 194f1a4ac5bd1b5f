"""The layers of a model that get an adapter, found by the names in the settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from torch import nn

from rvpo.errors import ConfigError, nearest
from rvpo.rollout.lora_config import ALL_LINEAR, LoraConfig
from rvpo.trainer.quantised import whole_shape

_SHOWN: Final = 12


def target_layers(model: Any, lora: LoraConfig) -> list[str]:
    """Paths of the layers that get an adapter, in the order of the model: linear layers of what
    reads text, its output layer left out.

    Args:
        model: a causal language model of transformers', without adapters.

    Raises:
        ConfigError: a target is no such layer, or there is none.
    """
    decoder = model.get_decoder()
    (prefix,) = (path for path, module in model.named_modules() if module is decoder)
    head = model.get_output_embeddings()
    linear = [
        path
        for path, module in decoder.named_modules(prefix=prefix)
        if isinstance(module, nn.Linear) and module is not head
    ]
    if not linear:
        raise ConfigError(
            f"model.lora: {type(model).__name__} has no layers of torch's kind Linear, and "
            "no others get an adapter; leave model.lora out"
        )
    if lora.targets == ALL_LINEAR:
        return linear
    for name in lora.targets:
        if not any(_is_named(path, name) for path in linear):
            raise ConfigError(f"model.lora.targets: {_refusal(model, name, linear)}")
    return [path for path in linear if any(_is_named(path, name) for name in lora.targets)]


def shortest(paths: Iterable[str], model: Any) -> list[str]:
    """Names that PEFT finds the same layers by: the last part of each path, sorted, or the paths
    as they are, where such a part is the name of another module too."""
    chosen = set(paths)
    names = {path.rpartition(".")[2] for path in chosen}
    found = {path for path, _ in model.named_modules() if path.rpartition(".")[2] in names}
    return sorted(names) if found == chosen else sorted(chosen)


def _is_named(path: str, name: str) -> bool:
    return f".{path}".endswith(f".{name}")


def _refusal(model: Any, name: str, linear: list[str]) -> str:
    """The sentence about a target that is no linear layer of what reads text."""
    there = {path.rpartition(".")[2]: None for path in linear}
    shown = ", ".join(list(there)[:_SHOWN]) + (" and others" if len(there) > _SHOWN else "")
    instead = f"there are {shown}, and {ALL_LINEAR} for all of them"
    if reason := next(_reasons(model, name), None):
        return f"'{name}' {reason}; {instead}"
    close = nearest(name, [*there, ALL_LINEAR])
    meant = f"did you mean '{close}'? T" if close else "t"
    return f"{type(model).__name__} has no layer '{name}'; {meant}{instead[1:]}"


def _reasons(model: Any, name: str) -> Iterator[str]:
    """Reasons that a thing of such a name gets no adapter, with what it is."""
    heads = (model.get_output_embeddings(), model.get_input_embeddings())
    for path, module in model.named_modules():
        if not _is_named(path, name):
            continue
        if module is heads[0]:
            yield "is the output layer, of which log-probabilities are made piece by piece"
        elif module is heads[1]:
            yield "is the table of embeddings, which engines get no adapter for"
        elif isinstance(module, nn.Linear):
            yield "is a layer that no token of text comes by"
        else:
            yield f"is no linear layer (but a {type(module).__name__})"
    for path, parameter in model.named_parameters():
        if _is_named(path, name):
            shape = whole_shape(parameter)
            kind = "the experts of a layer in one tensor" if len(shape) == 3 else "a single tensor"
            yield f"is {kind}, {path}, and no linear layer"
