"""The place of a judge that a run serves, checked before any work."""

from __future__ import annotations

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import OWN
from rvpo.rollout.vllm.requirement import VLLM
from rvpo.runtime.ranks import Ranks


def check_served(judge: JudgeConfig, ranks: Ranks, where: str = OWN) -> None:
    """Refuse a judge that vLLM would have to serve and cannot, as it is installed.

    Args:
        where: the section of its settings, for messages.

    Raises:
        ConfigError: its build is for another place, or there are two.
    """
    if judge.needs_vllm:
        VLLM.check_build(
            on_gpu=ranks.device.type == "cuda",
            asked=f"{where}.serve",
            instead=f"name {where}.endpoints in its place",
        )
