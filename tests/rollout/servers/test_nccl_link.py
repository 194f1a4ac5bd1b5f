"""The group that vLLM's own sender is asked to form; NCCL itself needs GPUs."""

from __future__ import annotations

import importlib.util
import socket
from typing import Any

import pytest
import torch

from rvpo.rollout.servers.weights.buckets import Layout
from rvpo.rollout.vllm.nccl_link import NcclLink

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None or torch.cuda.is_available(),
    reason="it asks vLLM's classes, on a machine whose GPUs they would use",
)

ALIKE: Layout = [("a", torch.bfloat16, (3, 5)), ("b", torch.bfloat16, (700, 2))]
MIXED: Layout = [*ALIKE, ("steps", torch.int64, ())]


class Told:
    """Takes what a sender says to the servers, and looks at the place where they are to meet."""

    def __init__(self) -> None:
        self.info: dict[str, Any] = {}
        self.is_held = False

    def init_weight_transfer_engine(self, info: dict[str, Any]) -> None:
        self.info = info
        with socket.socket() as other:
            try:
                other.bind((info["master_address"], info["master_port"]))
            except OSError:
                self.is_held = True


def test_servers_are_told_of_one_group_whose_port_nobody_else_can_take() -> None:
    told: Any = Told()
    link = NcclLink(torch.device("cpu"), bucket_bytes=1024)
    with pytest.raises(RuntimeError, match="accelerator"):  # there is no GPU for rank 0's end
        link.connect(told, "127.0.0.1", 4, ALIKE)
    assert told.is_held
    assert told.info == {
        "master_address": "127.0.0.1",
        "master_port": told.info["master_port"],
        "rank_offset": 1,
        "world_size": 4,
        "packed": True,
        "packed_buffer_size_bytes": 2800,
        "packed_num_buffers": 2,
    }


@pytest.mark.parametrize(("layout", "packed"), [(ALIKE, True), (MIXED, False)])
def test_weights_of_several_sizes_are_not_packed_into_one_bucket(
    layout: Layout, packed: bool
) -> None:
    info = NcclLink(torch.device("cpu")).info("127.0.0.1", 1, 2, layout)
    assert info.packed is packed
