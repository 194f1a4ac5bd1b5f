"""Weights by gloo, from the machine's memory: for servers on CPUs, or out of NCCL's reach."""

from __future__ import annotations

from typing import Final

from rvpo.rollout.servers.weights.aside import aside
from rvpo.rollout.servers.weights.buckets import Layout, largest, send_buckets
from rvpo.rollout.servers.weights.fan_out import FanOut, Patience
from rvpo.rollout.servers.weights.feed import Feed
from rvpo.rollout.servers.weights.gloo_group import GlooGroup, GroupPatience, Meeting
from rvpo.rollout.servers.weights.links import Sender

BUCKET_BYTES: Final = 256 * 2**20
"""Bytes that are sent at once; more where one weight is larger."""


class GlooLink:
    """Implements `WeightLink`; the servers' side is `rvpo.rollout.vllm.gloo_receiver`."""

    def __init__(self, patience: Patience, bucket_bytes: int = BUCKET_BYTES) -> None:
        self._patience = GroupPatience(patience.form_s, patience.silence_s)
        self._bucket_bytes = bucket_bytes

    def connect(self, fan_out: FanOut, address: str, size: int, layout: Layout) -> Sender:
        """See `WeightLink.connect`."""
        bucket = max(self._bucket_bytes, largest(layout))
        meeting = Meeting(address, self._patience.form_s)
        info = {
            "host": address,
            "port": meeting.port,
            "rank_offset": 1,
            "world_size": size,
            "bucket_bytes": bucket,
            "form_s": self._patience.form_s,
            "silence_s": self._patience.silence_s,
        }
        told = aside(lambda: fan_out.init_weight_transfer_engine(info))
        group = GlooGroup(meeting.store, 0, size, address=address, patience=self._patience)
        told.result()
        return GlooSender(fan_out, group, bucket)


class GlooSender:
    """Implements `Sender`."""

    def __init__(self, fan_out: FanOut, group: GlooGroup, bucket_bytes: int) -> None:
        self._fan_out = fan_out
        self._group = group
        self._bucket_bytes = bucket_bytes

    def send(self, feed: Feed) -> None:
        """See `Sender.send`."""
        update = {
            "names": [name for name, _, _ in feed.layout],
            "dtype_names": [str(dtype).removeprefix("torch.") for _, dtype, _ in feed.layout],
            "shapes": [list(shape) for _, _, shape in feed.layout],
        }
        self._fan_out.start_weight_update()
        taken = aside(lambda: self._fan_out.update_weights(update))
        send_buckets(feed, feed.layout, self._bucket_bytes, self._group.broadcast)
        taken.result()
        self._fan_out.finish_weight_update()

    def close(self) -> None:
        """See `Sender.close`."""
        self._group.leave()
