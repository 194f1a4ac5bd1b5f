"""Weights that no trainer sends are read."""

from __future__ import annotations

import pytest

from rvpo.rollout.vllm.engine import has_scales


@pytest.mark.parametrize(
    ("options", "scaled"),
    [
        ({}, False),
        ({"kv_cache_dtype": "auto", "quantization": None}, False),
        ({"kv_cache_dtype": "fp8"}, True),
        ({"quantization": "fp8"}, True),
        ({"quantization_config": {"quant_method": "fp8"}}, True),
    ],
)
def test_scales_of_a_quantised_engine_come_from_the_checkpoint(
    options: dict[str, object], scaled: bool
) -> None:
    assert has_scales(options) is scaled
