"""Classifiers for tests: tiny ones in a folder, and a server that scores by a rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from aiohttp import web
from transformers import LlamaConfig, LlamaForSequenceClassification

from tests.judge.server import FakeEndpoint
from tests.tiny import tiny_tokenizer

INPUT_TOKENS = 7


def save_tiny_classifier(
    folder: Path,
    labels: Sequence[str] = ("safe", "unsafe"),
    *,
    problem: str | None = None,
    chat_template: bool = True,
    pad_token: str | None = None,
    safe: bool = True,
) -> Path:
    """Write a classifier of random weights with its tokenizer, as `save_pretrained` does."""
    tokenizer = tiny_tokenizer()
    if not chat_template:
        tokenizer.chat_template = None
    if pad_token is not None:
        tokenizer.add_special_tokens({"pad_token": pad_token})
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.5,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        problem_type=problem,
    )
    model = LlamaForSequenceClassification(config)
    model.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


def classification(
    scores: Sequence[float], label: str | None = None, model: str = "guard"
) -> dict[str, Any]:
    """A reply of vLLM's `/classify`."""
    item = {"index": 0, "label": label, "probs": list(scores), "num_classes": len(scores)}
    usage = {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS}
    return {"object": "list", "model": model, "data": [item], "usage": usage}


def shown(body: dict[str, Any]) -> str:
    """The response that a call shows."""
    if "messages" in body:
        return str(body["messages"][-1]["content"])
    return str(body.get("text_2", body.get("input")))


Rule = Callable[[str], Sequence[float]]


def scoring(rule: Rule, path: str = "classify", **settings: Any) -> FakeEndpoint:
    """A server whose scores are a rule's, of the response that it is shown."""

    def script(body: dict[str, Any]) -> web.Response:
        return web.json_response(classification(rule(shown(body))))

    return FakeEndpoint(script=settings.pop("script", script), path=path, **settings)
