"""The optimizer's state in the machine's own memory, while a GPU has other work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from rvpo.errors import ConfigError


def host_buffer(like: Tensor) -> Tensor:
    """Memory of the machine for what is in a tensor: page-locked beside a GPU, whose copies are
    several times faster then."""
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=like.is_cuda)


class Offload:
    """The optimizer's state of a ZeRO-3 engine, away from the device but while it is `at_hand`.

    Master weights and moments are copied, each into a buffer that is kept for the next time. The
    gradients' buffers hold nothing between two updates, and are given up. The weights that compute
    stay on the device, where an engine gets them from. A checkpoint may be written meanwhile: the
    tensors are the same, elsewhere. DeepSpeed's `offload_states` takes no optimizer but its own.

    Args:
        engine: DeepSpeed's, with an optimizer that was never used or is between two updates.
        allocate: gives memory of the machine for what is in a tensor.

    Raises:
        ConfigError: the machine has too little memory.
    """

    def __init__(self, engine: Any, allocate: Callable[[Tensor], Tensor] = host_buffer) -> None:
        self._zero = engine.optimizer
        self._device: torch.device = engine.device
        self._allocate = allocate
        self._buffers: dict[tuple[int, str], Tensor] = {}
        self._away: list[Tensor] = []
        self._given_up: list[tuple[Tensor, int]] = []
        self._send()

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Have the state on its device meanwhile. It stays there after an exception, which ends a
        run: copying from a broken device would hide what broke it."""
        self._fetch()
        yield
        self._send()

    @torch.no_grad()
    def _send(self) -> None:
        for place, tensor in self._states():
            if place not in self._buffers:
                self._buffers[place] = self._new_buffer(tensor)
            tensor.data = self._buffers[place].copy_(tensor)
            self._away.append(tensor)
        for buffer in self._gradients():
            self._given_up.append((buffer, buffer.untyped_storage().nbytes()))
            buffer.untyped_storage().resize_(0)
        torch.cuda.empty_cache()  # which gives the memory to whoever else is on the device

    @torch.no_grad()
    def _fetch(self) -> None:
        for tensor in self._away:
            tensor.data = torch.empty_like(tensor, device=self._device).copy_(tensor)
        for buffer, size in self._given_up:
            buffer.untyped_storage().resize_(size)
            if buffer is self._zero.grad_partitions_flat_buffer:
                buffer.zero_()  # where a weight that gets no gradient has that of no other update
        self._away, self._given_up = [], []

    def _states(self) -> Iterator[tuple[tuple[int, str], Tensor]]:
        """Master weights and moments that are on the device, each with its place."""
        zero = self._zero
        computing = zero.fp16_partitioned_groups_flat
        for number, master in enumerate(zero.fp32_partitioned_groups_flat):
            # Weights that compute in fp32 are their own master weights.
            named = {} if _same_memory(master, computing[number]) else {"master": master}
            named |= zero.optimizer.state[master]
            for name, kept in named.items():  # a count of steps may be a plain number
                if isinstance(kept, Tensor) and _is_flat(kept, master, self._device):
                    yield (number, name), kept

    def _gradients(self) -> Iterator[Tensor]:
        """Buffers on the device in which gradients are summed, and reduced over the ranks."""
        zero = self._zero
        reduced = [bucket.buffer for bucket in zero.ipg_buckets.values()]
        for buffer in (zero.grad_partitions_flat_buffer, *reduced):
            if buffer is not None and buffer.device.type == self._device.type:
                yield buffer

    def _new_buffer(self, tensor: Tensor) -> Tensor:
        try:
            return self._allocate(tensor)
        except RuntimeError as error:  # of CUDA, which locks the pages
            raise ConfigError(
                f"the machine has no room for {tensor.nbytes / 1e9:.1f} GB more of the optimizer's "
                f"state in its own memory ({error}); write update.offload_while_generating=false, "
                "with a rollout.engine.gpu_memory that leaves room for it on the GPU"
            ) from error


def _is_flat(tensor: Tensor, master: Tensor, device: torch.device) -> bool:
    """True of what has a number for each weight, and is on the device."""
    return tensor.shape == master.shape and tensor.device.type == device.type


def _same_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
