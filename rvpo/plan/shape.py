"""The size of a model, without its weights."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rvpo.model_files import reading_model, resolve_model

_QWEN = re.compile(r"Qwen2\.5-(0\.5B|1\.5B|3B|7B|14B|32B|72B)(-Instruct)?", re.IGNORECASE)
_QWEN_SHAPES: dict[str, dict[str, Any]] = {
    size: {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }
    for size, hidden, intermediate, layers, heads, kv_heads, vocabulary, tied in (
        ("0.5B", 896, 4864, 24, 14, 2, 151_936, True),
        ("1.5B", 1536, 8960, 28, 12, 2, 151_936, True),
        ("3B", 2048, 11_008, 36, 16, 2, 151_936, True),
        ("7B", 3584, 18_944, 28, 28, 4, 152_064, False),
        ("14B", 5120, 13_824, 48, 40, 8, 152_064, False),
        ("32B", 5120, 27_648, 64, 40, 8, 152_064, False),
        ("72B", 8192, 29_568, 80, 64, 8, 152_064, False),
    )
}
"""Sizes as published in each config.json."""


@dataclass(frozen=True, slots=True)
class Linear:
    """The linear layers of a model whose path has the same end, one of each layer of the model."""

    path: str
    """Path of the first one, such as `model.layers.0.mlp.up_proj`."""
    count: int
    inputs: int
    outputs: int

    @property
    def ends(self) -> int:
        """Elements of an adapter of rank 1 for one of them."""
        return self.inputs + self.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Sizes of a model that decide the memory it takes."""

    parameters: int
    largest: int
    """Elements of the largest weight."""
    layers: int
    hidden: int
    intermediate: int
    """Width inside a layer's feed-forward part."""
    heads: int
    """Heads of attention that ask."""
    kv_heads: int
    """Heads of attention that keep keys and values."""
    kv: int
    """Elements of a token's keys in one layer, all heads together; of its values too."""
    vocabulary: int
    context: int
    """Tokens of the longest prompt plus completion that it allows; 0 if it does not say."""
    linears: tuple[Linear, ...] = ()
    """Linear layers but for the output layer, those of one name together."""
    published: bool = field(default=False, compare=False)
    """True where all of it is by the model's name alone, and nothing was read."""


def read_shape(
    path: str, *, trust_remote_code: bool = False, setting: str = "model.path"
) -> ModelShape:
    """The shape that a model's config.json describes; `setting` names it in messages.

    Raises:
        ConfigError: the path is no model, or cannot be read here.
    """
    from transformers import AutoConfig

    resolved = resolve_model(path, setting)
    with reading_model(resolved, setting):
        return _shape(AutoConfig.from_pretrained(resolved, trust_remote_code=trust_remote_code))


def published_shape(path: str) -> ModelShape | None:
    """The shape of a Qwen2.5 model by its name alone, None for any other model."""
    from transformers import Qwen2Config

    match = _QWEN.fullmatch(path.rstrip("/").rpartition("/")[2])
    if match is None:
        return None
    return replace(_shape(Qwen2Config(**_QWEN_SHAPES[match[1].upper()])), published=True)


def is_on_hub(path: str) -> bool:
    """True where a model would have to come from the hub.

    Raises:
        ConfigError: the path is no model at all.
    """
    return not Path(resolve_model(path)).exists()


def _shape(config: Any) -> ModelShape:
    import torch
    from transformers import AutoModelForCausalLM

    models: Any = AutoModelForCausalLM
    with torch.device("meta"):  # counts weights without making any
        model = models.from_config(config)
    sizes = [weight.numel() for weight in model.parameters()]
    text = config.get_text_config()
    heads = text.num_attention_heads
    head = getattr(text, "head_dim", None) or text.hidden_size // heads
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    return ModelShape(
        parameters=sum(sizes),
        largest=max(sizes),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        heads=heads,
        kv_heads=kv_heads,
        kv=kv_heads * head,
        vocabulary=text.vocab_size,
        context=getattr(text, "max_position_embeddings", None) or 0,
        linears=_linears(model),
    )


def _linears(model: Any) -> tuple[Linear, ...]:
    import torch

    found: dict[tuple[str, int, int], list[str]] = {}
    for path, layer in model.named_modules():
        if isinstance(layer, torch.nn.Linear) and layer is not model.get_output_embeddings():
            kind = re.sub(r"\.\d+\.", ".", path), layer.in_features, layer.out_features
            found.setdefault(kind, []).append(path)
    return tuple(
        Linear(paths[0], len(paths), inputs, outputs)
        for (_, inputs, outputs), paths in found.items()
    )
