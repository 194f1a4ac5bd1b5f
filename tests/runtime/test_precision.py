"""What is said of bf16 on processors with and without instructions for it."""

from __future__ import annotations

import pytest
import torch

from rvpo.runtime.precision import slow_precision

BF16 = {"model.precision": "bf16"}


@pytest.mark.parametrize("name", ["amx_bf16", "avx512_bf16", "bf16", "sve_bf16"])
def test_bf16_is_advised_against_only_where_no_instruction_computes_it(name: str) -> None:
    has, lacks = {"avx2": True, name: True}, {"avx2": True, name: False}
    assert not list(slow_precision(BF16, on_gpu=False, processor=has))
    (line,) = slow_precision(BF16, on_gpu=False, processor=lacks)
    assert "model.precision=fp32" in line
    assert not list(slow_precision(BF16, on_gpu=True, processor=lacks))
    assert not list(slow_precision({"model.precision": "fp32"}, on_gpu=False, processor=lacks))


def test_torch_tells_of_bf16_by_a_name_that_is_looked_for() -> None:
    assert {"amx_bf16", "bf16"} & set(torch.cpu.get_capabilities())
