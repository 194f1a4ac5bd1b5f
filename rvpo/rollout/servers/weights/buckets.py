"""Weights as a stream of buckets: many weights, of any types and shapes, in one exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod
from typing import Final

import torch
from torch import Tensor

Layout = Sequence[tuple[str, torch.dtype, tuple[int, ...]]]
"""Name, type and shape of weights, in order."""

_ALIGNED: Final = 16
"""Bytes at whose multiples a weight begins, as a view of any type demands."""


def send_buckets(
    weights: Iterable[tuple[str, Tensor]],
    layout: Layout,
    bucket_bytes: int,
    broadcast: Callable[[Tensor], None],
) -> None:
    """Broadcast all weights in the order of their layout, with one bucket in memory.

    Args:
        bucket_bytes: size of a bucket; a larger weight has one of its own.
        broadcast: sends a tensor of bytes, and has sent it when it returns.

    Raises:
        ValueError: the weights are not those of the layout.
    """
    coming = iter(weights)
    for places, size in _plan(layout, bucket_bytes):
        bucket = torch.empty(size, dtype=torch.uint8)
        for (name, dtype, shape), at in places:
            given, weight = next(coming, ("nothing", torch.empty(0)))
            if (given, weight.dtype, tuple(weight.shape)) != (name, dtype, tuple(shape)):
                raise ValueError(f"{given!r} came where the layout has {name!r}")
            flat = weight.detach().reshape(-1).view(torch.uint8)
            bucket[at : at + flat.numel()].copy_(flat)
        broadcast(bucket)


def receive_buckets(
    layout: Layout, bucket_bytes: int, broadcast: Callable[[Tensor], None]
) -> Iterator[list[tuple[str, Tensor]]]:
    """The weights of each bucket that `send_buckets` sends, as views of memory that is used for
    nothing else.

    Args:
        broadcast: fills a tensor of bytes.
    """
    for places, size in _plan(layout, bucket_bytes):
        bucket = torch.empty(size, dtype=torch.uint8)
        broadcast(bucket)
        yield [
            (name, bucket[at : at + _bytes(dtype, shape)].view(dtype).view(tuple(shape)))
            for (name, dtype, shape), at in places
        ]


def largest(layout: Layout) -> int:
    """Bytes of the largest weight."""
    return max(_bytes(dtype, shape) for _, dtype, shape in layout)


_Places = list[tuple[tuple[str, torch.dtype, tuple[int, ...]], int]]


def _plan(layout: Layout, bucket_bytes: int) -> Iterator[tuple[_Places, int]]:
    """The weights of each bucket with the byte at which each begins, and the bucket's size."""
    places: _Places = []
    end = 0
    for each in layout:
        size = _bytes(each[1], each[2])
        at = -(-end // _ALIGNED) * _ALIGNED
        if places and at + size > bucket_bytes:
            yield places, end
            places, at = [], 0
        places.append((each, at))
        end = max(at + size, 1)  # of nothing there is no exchange
    if places:
        yield places, end


def _bytes(dtype: torch.dtype, shape: Sequence[int]) -> int:
    return dtype.itemsize * prod(shape)
