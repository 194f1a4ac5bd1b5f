"""Tokens a second, the share of a GPU's arithmetic that they take, and memory."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import torch

from rvpo.runtime.device_memory import MemoryPeak
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.peak_flops import peak_flops
from rvpo.trainer.quantised import whole_shape
from rvpo.types import Generation

T = TypeVar("T")

FORWARD: Final = 2
"""Operations of a parameter for one token in a forward pass: it is multiplied, and added up."""
TRAINED: Final = 6
"""The same with the backward pass, which has two products of that size."""
FROZEN: Final = 4
"""The same for a parameter that does not learn, in a layer that gradients pass through: the product
for its own gradient is not made."""
_GIB: Final = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One rank's part of an update."""

    tokens: int
    """Tokens of prompts and completions in the rows that were computed, once for each epoch."""
    passes: float
    """Operations that each of them asks of each parameter; recomputed activations are no work."""
    frozen_passes: float = 0.0
    """The same of each parameter that does not learn."""
    seconds: float
    peak: float | None
    """Operations a second of its device in bf16; None where unknown."""
    memory: int | None
    """Bytes of its device taken at most; None on a CPU."""


def update_metrics(
    parts: Sequence[Work], parameters: int, frozen_parameters: int = 0
) -> dict[str, float]:
    """The throughput of an update, from the work of each rank.

    Args:
        parameters: those that each token is multiplied by, and that learn.
        frozen_parameters: those of them that do not.
    """
    seconds = max(part.seconds for part in parts)  # the ranks wait for the slowest
    tokens = sum(part.tokens for part in parts)
    metrics: dict[str, float] = {"tokens_per_second/update": tokens / seconds}
    peaks = _known(part.peak for part in parts)
    if peaks is not None:
        work = parameters * sum(part.tokens * part.passes for part in parts)
        work += frozen_parameters * sum(part.tokens * part.frozen_passes for part in parts)
        metrics["mfu/update"] = work / (seconds * sum(peaks))
    if (memory := _known(part.memory for part in parts)) is not None:
        metrics["memory/update_gib"] = max(memory) / _GIB
    return metrics


def generation_metrics(parts: Sequence[Generation], completion_tokens: int) -> dict[str, float]:
    """The throughput of a rollout, from what each rank's engine told of it.

    Args:
        completion_tokens: those of all ranks.
    """
    metrics: dict[str, float] = {}
    if seconds := _known(part.seconds for part in parts):
        metrics["tokens_per_second/generate"] = completion_tokens / max(seconds)
    if (usage := _known(part.cache_usage for part in parts)) is not None:
        metrics["kv_cache/usage_max"] = max(usage)
    if (preemptions := _known(part.preemptions for part in parts)) is not None:
        metrics["kv_cache/preemptions"] = sum(preemptions)
    if (tokens := _known(part.cache_tokens for part in parts)) is not None:
        metrics["kv_cache/tokens"] = min(tokens)
    if (memory := _known(part.memory for part in parts)) is not None:
        metrics["memory/generate_gib"] = max(memory) / _GIB
    if (servers := _known(part.servers for part in parts)) is not None:
        metrics["servers/present"] = min(servers)
    if (again := _known(part.asked_again for part in parts)) is not None:
        metrics["servers/asked_again"] = sum(again)
    if (waited := _known(part.world_wait for part in parts)) is not None:
        metrics["episodes/wait_exposed_s"] = max(waited)
    return metrics


class Stopwatch:
    """Measures this rank's part of an update.

    Args:
        model: the model that learns, with sharded weights.
        frozen_parameters: those that each token is multiplied by and that do not learn.
    """

    def __init__(self, model: Any, device: torch.device, frozen_parameters: int = 0) -> None:
        self.parameters = multiplied_parameters(model)
        self.frozen_parameters = frozen_parameters
        self._memory = MemoryPeak(device)
        is_bf16 = next(model.parameters()).dtype == torch.bfloat16
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        self._peak = peak_flops(name) if is_bf16 else None
        self._start = 0.0

    def begin(self) -> None:
        """Begin an update."""
        self._memory.begin()
        self._start = time.perf_counter()

    def end(
        self, tokens: int, passes: float, ranks: Ranks, frozen_passes: float = 0.0
    ) -> dict[str, float]:
        """Metrics of the update over all ranks; see `Work`."""
        seconds = time.perf_counter() - self._start
        mine = Work(
            tokens=tokens,
            passes=passes,
            frozen_passes=frozen_passes,
            seconds=seconds,
            peak=self._peak,
            memory=self._memory.end(),
        )
        parts = ranks.gather_objects(mine)
        return update_metrics(parts, self.parameters, self.frozen_parameters)


def multiplied_parameters(model: Any) -> int:
    """Parameters that learn and that a token is multiplied by: not those that it is looked up in,
    nor experts that it is not sent to.

    Args:
        model: a causal language model, whose weights may be sharded.
    """
    embeddings, output = model.get_input_embeddings(), model.get_output_embeddings()
    looked_up = None if embeddings is None else embeddings.weight
    if output is not None and output.weight is looked_up:
        looked_up = None
    share = _routed_share(model.config.get_text_config())
    total = 0.0
    for name, parameter in model.named_parameters():
        if parameter is looked_up or not parameter.requires_grad:
            continue
        size = math.prod(whole_shape(parameter))
        total += size * (share if "experts" in name.split(".") else 1.0)
    return round(total)


def _routed_share(config: Any) -> float:
    """Part of the experts that a token is sent to."""
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    experts = next((count for name in names if (count := getattr(config, name, None))), None)
    used = getattr(config, "num_experts_per_tok", None)
    return used / experts if experts and used else 1.0


def _known(values: Iterable[T | None]) -> list[T] | None:
    """All values, or None where one of them is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) else None
