"""The engine of a run or an evaluation, from its settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rvpo.config.model import ModelConfig
from rvpo.config.rollout import RolloutConfig
from rvpo.errors import ConfigError
from rvpo.rollout import EngineInputs
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.rollout.lora_config import LoraConfig
from rvpo.runtime.ignore import ignore
from rvpo.runtime.ranks import Ranks


def check_engine(rollout: RolloutConfig, ranks: Ranks, adapted: ModelConfig | None = None) -> None:
    """Refuse before any work an engine that is not here.

    Args:
        adapted: the model that may be trained by adapters.

    Raises:
        ConfigError: what it needs is not installed, a device is not there, or it takes no such
            adapters.
    """
    rollout.engine.check()
    if adapted is not None:
        on_gpu = ranks.device.type == "cuda"
        if problem := adapter_problem(adapted, rollout, on_gpu=on_gpu):
            raise ConfigError(problem)
    rollout.engine.check_place(ranks, concurrent=rollout.staleness > 0)


def adapter_problem(model: ModelConfig, rollout: RolloutConfig, *, on_gpu: bool) -> str:
    """Reason that the engine takes no such adapters as the model is trained by; empty where it
    does, and where it is given whole weights."""
    adapter = model.sent_adapter
    if adapter is None:
        return ""
    return rollout.engine.adapter_problem(
        adapter, width=model.weight_bytes, on_gpu=on_gpu, in_flight=rollout.in_flight
    )


def check_adapted(model: ModelConfig, rollout: RolloutConfig, model_path: str) -> None:
    """Refuse a model whose adapters the engine does not take, by its settings alone.

    Args:
        model_path: the model's folder or Hub id.

    Raises:
        ConfigError: it is one.
    """
    if model.sent_adapter is not None:
        rollout.engine.check_adapted(model_path, trust_remote_code=model.trust_remote_code)


def check_running(
    rollout: RolloutConfig,
    model_path: str,
    encoder: Encoder,
    ranks: Ranks,
    say: Callable[[str], None],
    adapter: LoraConfig | None = None,
) -> None:
    """Refuse before a model is loaded an engine that runs elsewhere and is another model's.

    Args:
        model_path: the model's folder or Hub id.
        adapter: see `ModelConfig.sent_adapter`.
        say: told of what is not there yet.

    Raises:
        ConfigError: it is one, or does not let this run in.
    """
    if ranks.is_main:
        room = encoder.max_context_tokens
        rollout.engine.check_running(model_path, adapter, room, say)


def build_engine(
    model: ModelConfig,
    rollout: RolloutConfig,
    model_path: str,
    encoder: Encoder,
    seed: int,
    ranks: Ranks,
    *,
    output: Path = Path(),
    patience_minutes: float = 20.0,
    adapter: LoraConfig | None = None,
    say: Callable[[str], None] = ignore,
) -> RolloutEngine:
    """The engine that the settings name, without weights of its own choosing.

    Args:
        model_path: the model's folder or Hub id.
        seed: the run's.
        output: its folder.
        patience_minutes: those that it waits for a rank that says nothing.
        adapter: see `ModelConfig.sent_adapter`.
        say: told of things that it goes on with.
    """
    return rollout.engine.build(
        EngineInputs(
            model_path=model_path,
            encoder=encoder,
            dtype=model.dtype,
            trust_remote_code=model.trust_remote_code,
            sampling=rollout.sampling,
            concurrent=rollout.staleness > 0,
            seed=seed,
            ranks=ranks,
            output=output,
            patience_minutes=patience_minutes,
            adapter=adapter,
            say=say,
            in_flight=rollout.in_flight,
        )
    )
