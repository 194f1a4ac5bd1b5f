"""The engine of a run or an evaluation, from its settings."""

from __future__ import annotations

from pathlib import Path

from rvpo.config.run import ModelConfig, RolloutConfig
from rvpo.rollout import EngineInputs
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.runtime.ranks import Ranks


def check_engine(rollout: RolloutConfig, ranks: Ranks) -> None:
    """Refuse before any work an engine that is not here.

    Raises:
        ConfigError: what it needs is not installed, or a device is not there.
    """
    rollout.engine.check()
    rollout.engine.check_place(ranks, concurrent=rollout.staleness > 0)


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
) -> RolloutEngine:
    """The engine that the settings name, without weights of its own choosing.

    Args:
        model_path: the model's folder or Hub id.
        seed: the run's.
        output: its folder.
        patience_minutes: those that it waits for a rank that says nothing.
    """
    return rollout.engine.build(
        EngineInputs(
            model_path=model_path,
            encoder=encoder,
            dtype=model.dtype,
            trust_remote_code=model.trust_remote_code,
            temperature=rollout.temperature,
            max_completion_tokens=rollout.max_completion_tokens,
            concurrent=rollout.staleness > 0,
            seed=seed,
            ranks=ranks,
            output=output,
            patience_minutes=patience_minutes,
        )
    )
