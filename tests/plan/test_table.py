"""The memory of Qwen2.5's models on eight GPUs sold as 80 GB, against sums written out by hand.

Nothing here calls what it checks but to compare: a GPU has 79.1 GiB, eight ranks share a model that
learns with a reference in bf16, each step has 96 x 16 samples of up to 1024 + 2560 tokens, rows of
8192 tokens are recomputed, and vLLM has .8 of a GPU.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from rvpo.config.run import RunConfig
from rvpo.plan.memory import Place, engine_memory, host_memory, memory
from rvpo.plan.shape import ModelShape, read_shape
from tests.configs import tiny_config

GIB = 2**30
GPU = 79.1 * GIB
PLACE = Place(ranks=8, prompt_tokens=1024, device=GPU)


class Published(NamedTuple):
    """Sizes of a model, as its config.json has them; heads have 128 numbers each."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    inside: int
    vocabulary: int
    tied: bool


MODELS = {
    "3B": Published(2048, 36, 16, 2, 11_008, 151_936, tied=True),
    "7B": Published(3584, 28, 28, 4, 18_944, 152_064, tied=False),
    "14B": Published(5120, 48, 40, 8, 13_824, 152_064, tied=False),
    "32B": Published(5120, 64, 40, 8, 27_648, 152_064, tied=False),
    "72B": Published(8192, 80, 64, 8, 29_568, 152_064, tied=False),
}
BILLIONS = {"3B": 3.09, "7B": 7.62, "14B": 14.77, "32B": 32.76, "72B": 72.71}


class Sums(NamedTuple):
    """GiB of a GPU, tokens and samples."""

    held: float
    start: float
    resume: float
    sync: float
    rollout: float
    update: float
    tokens: int
    at_once: int


TABLE = {
    "3B": Sums(11.4, 68.0, 15.3, 13.3, 68.0, 20.8, 1_629_205, 256),
    "7B": Sums(22.0, 70.2, 30.1, 25.1, 70.2, 34.3, 881_244, 245),
    "14B": Sums(38.7, 73.5, 53.4, 43.1, 73.5, 54.8, 185_147, 51),
    "32B": Sums(80.5, 81.9, 112.1, 85.0, 81.9, 98.8, -1014, 0),
    "72B": Sums(173.5, 100.5, 242.3, 180.6, 100.5, 200.9, -245_349, 0),
}


@cache
def shape_of(name: str, folder: Path) -> ModelShape:
    """Read from a model's folder that has its settings alone."""
    model = MODELS[name]
    settings = {
        "model_type": "qwen2",
        "hidden_size": model.hidden,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "intermediate_size": model.inside,
        "vocab_size": model.vocabulary,
        "tie_word_embeddings": model.tied,
        "max_position_embeddings": 32_768,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    return read_shape(str(folder))


def run(
    engine: dict[str, object] | None = None, ranks: int = 8, *, staleness: int = 0, **update: object
) -> RunConfig:
    """The settings of the table, but for those given."""
    vllm = {"name": "vllm", "gpu_memory": 0.8, "max_context_tokens": 3584}
    rows = {"beta": 0.001, "micro_batch_tokens": 8192, "activation_checkpointing": True}
    return tiny_config(
        Path("unused"),
        model={"precision": "bf16"},
        rollout={
            "engine": vllm | (engine or {}),
            "prompts_per_step": 96,
            "samples_per_prompt": 16,
            "max_completion_tokens": 2560,
            "staleness": staleness,
        },
        update=rows | update,
        distributed={"processes": ranks},
    )


def parameters(model: Published) -> int:
    """Embedding, output layer and last norm; in each layer queries, keys and values with their
    biases, the output of attention, the feed-forward part and two norms."""
    hidden, kv = model.hidden, model.kv_heads * 128
    table = model.vocabulary * hidden
    attention = hidden * hidden + hidden + 2 * (hidden * kv + kv) + hidden * hidden
    layer = attention + 3 * hidden * model.inside + 2 * hidden
    return table + (0 if model.tied else table) + model.layers * layer + hidden


def by_hand(model: Published) -> Sums:
    """The sums, each part in bytes first."""
    whole, table = parameters(model), model.vocabulary * model.hidden
    shard, kv = whole / 8, model.kv_heads * 128
    # What never leaves the GPU: the policy and its reference in bf16, CUDA and NCCL, 2 % in gaps.
    lasting = 2 * shard + 2 * shard + 1.75 * GIB + 0.02 * GPU
    # fp32 master weights, two moments, fp32 gradients, and DeepSpeed's buffer of 5e8 bf16.
    moving = 4 * shard + 8 * shard + 4 * shard + 2 * 500_000_000
    # vLLM: the whole model, one forward pass of 8192 tokens, graphs; it sleeps in as much.
    share, graphs = 0.8 * GPU, 1 * GIB
    # Of 256 sequences the sampler has logits in bf16, in fp32, and their log-probabilities.
    forward = 8192 * 2 * 3 * (model.hidden + model.inside)
    forward = max(forward, 256 * (2 + 4 + 4) * model.vocabulary)
    room = share - 2 * whole - forward - graphs
    tokens = int(room // (2 * 2 * model.layers * kv))
    # A row of 8192: each layer's input, and the inside of the one that is recomputed.
    inside = 2 * (6 * model.hidden + 4 * kv + 4 * model.inside) + 8 * model.hidden
    row = 8192 * (model.layers * 2 * model.hidden + inside)
    logits = 16 * 512 * model.vocabulary + (4 + 2) * table
    # A billion weights at most and the largest one, gathered; another buffer, sorted by rank.
    gathered = 2 * (min(whole, 10**9) + table + 500_000_000)
    step = 4 * min(shard, 10**9)
    return Sums(
        held=(lasting + moving) / GIB,
        start=(lasting + share) / GIB,
        resume=(lasting + moving + 8 * shard + graphs)
        / GIB,  # moments as read, beside the old ones
        # Gathered, handed over, and as vLLM copies them.
        sync=(lasting + 2 * whole + graphs + 3 * 2 * table) / GIB,
        rollout=(lasting + share) / GIB,
        update=(lasting + moving + graphs + max(gathered + row + logits, step)) / GIB,
        tokens=tokens,
        at_once=max(0, min(256, tokens // (1024 + 2560))),
    )


@pytest.mark.parametrize("name", MODELS)
def test_the_sums_are_those_by_hand(name: str, tmp_path: Path) -> None:
    model, shape = MODELS[name], shape_of(name, tmp_path)
    assert shape.parameters == parameters(model)
    assert round(shape.parameters / 1e9, 2) == BILLIONS[name]
    parts, found = memory(run(), shape, PLACE), engine_memory(run(), shape, PLACE).cache
    assert found is not None
    sums = [size / GIB for size in (parts.held, *parts.peaks.values())]
    hand = by_hand(model)
    assert sums == pytest.approx(hand[:6], rel=1e-12)
    assert (found.tokens, found.at_once(3584)) == hand[6:]
    assert [round(size, 1) for size in sums] == list(TABLE[name][:6])
    assert (found.tokens, found.at_once(3584)) == TABLE[name][6:]


def test_the_optimizer_of_14b_waits_in_165_gib_of_a_machine(tmp_path: Path) -> None:
    shape = shape_of("14B", tmp_path)
    # Master weights and two moments of fp32, and of each engine 1 GiB.
    assert host_memory(run(), shape, PLACE, 8) / GIB == 12 * shape.parameters / GIB + 8
    assert round(12 * shape.parameters / GIB) == 165


@pytest.mark.parametrize(
    ("engine", "ranks", "offload", "update"),
    [
        ({"gpu_memory": 0.5}, 8, False, 94.1),
        ({"gpu_memory": 0.5}, 8, True, 66.6),
        ({"gpu_memory": 0.9, "devices": [4, 5, 6, 7]}, 4, False, 88.2),
        ({"gpu_memory": 0.9, "devices": [4, 5, 6, 7]}, 4, True, 33.2),
    ],
)
def test_a_rollout_ahead_of_14b_fits_eight_gpus_with_the_optimizer_elsewhere_only(
    engine: dict[str, object], ranks: int, offload: bool, update: float, tmp_path: Path
) -> None:
    ahead = run(engine, ranks, staleness=1, offload_optimizer=offload)
    parts = memory(
        ahead, shape_of("14B", tmp_path), Place(ranks=ranks, prompt_tokens=1024, device=GPU)
    )
    assert round(parts.update / GIB, 1) == update
    assert (parts.peak <= GPU) is offload
