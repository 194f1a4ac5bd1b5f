"""Weights in buckets, by real gloo between threads."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rvpo.rollout.servers.weights.aside import aside
from rvpo.rollout.servers.weights.buckets import receive_buckets, send_buckets
from rvpo.rollout.servers.weights.gloo_group import CUT, GlooGroup, GroupPatience, Meeting
from rvpo.rollout.servers.weights.own_address import address_for, own_address
from rvpo.runtime.port import LOOPBACK, free_port

PATIENCE = GroupPatience(60.0, 60.0)

Pairs = list[tuple[str, Tensor]]

DTYPES = [
    torch.bfloat16,
    torch.float32,
    torch.float16,
    torch.float64,
    torch.int8,
    torch.uint8,
    torch.int64,
    torch.int32,
    torch.bool,
    torch.float8_e4m3fn,
]


def drawn(kinds: Sequence[tuple[torch.dtype, tuple[int, ...]]]) -> Pairs:
    """A weight of each type and shape, of any bits, the first of them not contiguous."""
    weights: Pairs = []
    for number, (dtype, shape) in enumerate(kinds):
        size = math.prod(shape) * dtype.itemsize
        bits = torch.randint(0, 2 if dtype is torch.bool else 256, (size,), dtype=torch.uint8)
        weights.append((f"w{number}", bits.view(dtype).view(shape)))
    if weights and len(kinds[0][1]) == 2:
        name, first = weights[0]
        weights[0] = name, first.t().contiguous().t()
    return weights


def layout_of(weights: Pairs) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
    return [(name, each.dtype, tuple(each.shape)) for name, each in weights]


def bits(weights: Pairs) -> list[tuple[str, torch.dtype, torch.Size, bytes]]:
    return [
        (name, each.dtype, each.shape, bytes(each.reshape(-1).view(torch.uint8).tolist()))
        for name, each in weights
    ]


@pytest.fixture(scope="module")
def group() -> list[GlooGroup]:
    """A sender and two receivers."""
    meeting = Meeting(LOOPBACK, 60.0)
    joining = [
        aside(lambda rank=rank: GlooGroup.join(LOOPBACK, meeting.port, rank, 3, PATIENCE))
        for rank in (1, 2)
    ]
    sender = GlooGroup(meeting.store, 0, 3, address=LOOPBACK, patience=PATIENCE)
    return [sender, *(each.result() for each in joining)]


@given(
    kinds=st.lists(
        st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 5), max_size=3).map(tuple)),
        max_size=8,
    ),
    bucket_bytes=st.integers(1, 400),
    seed=st.integers(0, 2**16),
)
@settings(deadline=None, max_examples=60)
def test_any_weights_in_buckets_of_any_size_arrive_to_the_bit(
    group: list[GlooGroup],
    kinds: list[tuple[torch.dtype, tuple[int, ...]]],
    bucket_bytes: int,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    weights = drawn(kinds)
    layout = layout_of(weights)
    sender, *receivers = group
    taking = [
        aside(lambda each=each: list(receive_buckets(layout, bucket_bytes, each.broadcast)))
        for each in receivers
    ]
    send_buckets(weights, layout, bucket_bytes, sender.broadcast)
    for each in taking:
        assert bits([pair for bucket in each.result(60) for pair in bucket]) == bits(weights)


@given(sizes=st.lists(st.integers(0, 300), min_size=1), bucket_bytes=st.integers(1, 500))
@settings(deadline=None)
def test_a_bucket_is_no_larger_than_it_may_be_or_holds_one_weight(
    sizes: list[int], bucket_bytes: int
) -> None:
    layout = [(str(at), torch.uint8, (size,)) for at, size in enumerate(sizes)]
    filled: list[int] = []
    taken = list(receive_buckets(layout, bucket_bytes, lambda bucket: filled.append(len(bucket))))
    assert [name for bucket in taken for name, _ in bucket] == [name for name, _, _ in layout]
    for bucket, size in zip(taken, filled, strict=True):
        assert size <= bucket_bytes or len(bucket) == 1


@pytest.mark.parametrize(
    "given_instead",
    [
        [("a", torch.ones(2))],
        [("a", torch.ones(2)), ("b", torch.ones(3))],
        [("b", torch.ones(3)), ("a", torch.ones(2))],
        [("a", torch.ones(2)), ("b", torch.ones(4).bfloat16())],
    ],
)
def test_weights_that_are_not_those_of_the_layout_are_not_sent(given_instead: Pairs) -> None:
    layout = [("a", torch.float32, (2,)), ("b", torch.float32, (4,))]
    with pytest.raises(ValueError, match="where the layout has"):
        send_buckets(given_instead, layout, 1, lambda bucket: None)


def test_a_member_that_leaves_cuts_the_exchanges_of_all_others() -> None:
    meeting = Meeting(LOOPBACK, 60.0)

    def exchange(member: GlooGroup, leaves_at: int) -> None:
        for number in range(8):
            if number == leaves_at:
                member.leave()
                member.leave()
                return
            member.broadcast(torch.ones(100))

    def take(rank: int) -> None:
        member = GlooGroup.join(LOOPBACK, meeting.port, rank, 4, PATIENCE)
        exchange(member, leaves_at=3 if rank == 2 else 9)

    taking = [aside(lambda rank=rank: take(rank)) for rank in (1, 2, 3)]
    sender = GlooGroup(meeting.store, 0, 4, address=LOOPBACK, patience=PATIENCE)
    with pytest.raises(RuntimeError, match=CUT):
        exchange(sender, leaves_at=9)
    ends = [each.exception(60) for each in taking]
    assert ends[1] is None
    assert all(CUT in str(end) for end in (ends[0], ends[2]))


def test_the_place_where_a_group_meets_is_at_one_address_alone() -> None:
    with pytest.raises(OSError, match="assign"):
        Meeting("192.0.2.1", 1.0)


def test_the_own_address_is_that_of_the_network_that_leads_there() -> None:
    assert own_address("127.0.0.1") == LOOPBACK
    assert own_address("localhost") in (LOOPBACK, "::1")
    assert own_address("::1") == "::1"
    assert own_address("no-such-host.invalid") == LOOPBACK


def test_servers_of_this_machine_alone_reach_rank_0_at_the_loopback() -> None:
    urls = (f"http://127.0.0.1:{free_port()}", f"http://127.0.0.2:{free_port()}/path")
    assert address_for(urls) == LOOPBACK
