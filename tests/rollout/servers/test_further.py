"""Turns that arise while servers generate: none lost or doubled, and each where its prefix is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.rollout.encoder import Encoder
from rvpo.rollout.further import TurnRequest
from rvpo.types import Prompt, Rollout, Sample
from tests.rollout.servers.engines import LONGEST, NO_WEIGHTS, asking, is_right, make_prompts
from tests.rollout.servers.server import FakeServer, Faults
from tests.rollout.talking import Talking, check_all_turns

SEED = 5


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    read = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    return replace(read, max_context_tokens=4096)  # of servers that are functions


def most(row: int, turn: int) -> int:
    """Tokens of the longest completion of a turn."""
    return LONGEST - row % 3 - turn if turn else LONGEST


def check_samples(talk: Talking, encoder: Encoder) -> None:
    """Fail where a sample is not the one that its seed draws."""
    turns: Counter[int] = Counter()
    for row, sample in talk.heard:
        turn = turns[row]
        turns[row] += 1
        own = TurnRequest(row, turn, sample.prompt, most(row, turn)).seed(SEED)
        assert is_right(sample, own, encoder, most(row, turn))


def servers_of(talk: Talking, servers: Sequence[FakeServer]) -> dict[int, list[str]]:
    """Addresses of the servers that were asked for the turns of each row."""
    found = defaultdict(list)
    turns: Counter[int] = Counter()
    for row, sample in talk.heard:
        own = TurnRequest(row, turns[row], sample.prompt, 1).seed(SEED)
        turns[row] += 1
        at = [server.url for server in servers if (sample.prompt_ids, own) in server.seen.rows]
        found[row].append(at[-1] if len(at) == 1 else "several")
    return found


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=12),
    st.dictionaries(
        st.tuples(st.integers(0, 11), st.integers(1, 3)), st.sampled_from([0.0, 0.001, 0.02])
    ),
    st.integers(1, 3),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=12, deadline=None)
def test_whenever_turns_come_and_servers_fail_none_is_lost_doubled_or_wrong(
    encoder: Encoder,
    turns: list[int],
    delays: Mapping[tuple[int, int], float],
    count: int,
    at_once: int,
    faults: float,
) -> None:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(FakeServer(Faults.passing(faults), seed=n)) for n in range(count)
        ]
        engine = stack.enter_context(asking(encoder, servers, at_once=at_once))
        talk = stack.enter_context(closing(Talking(turns, delays, most)))
        rollout = engine.generate(
            make_prompts(len(turns)), 1, seed=SEED, on_sample=talk.hear, further=talk
        )
    check_all_turns(talk, turns, rollout.samples)
    check_samples(talk, encoder)
    answered = sum(server.seen.answered for server in servers)
    assert answered == sum(turns)


def test_rows_that_begin_later_are_sampled_as_if_they_had_been_there(encoder: Encoder) -> None:
    turns = [1 + row % 3 for row in range(12)]
    prompts = [prompt for prompt in make_prompts(4) for _ in range(3)]
    delays = {(row, 0): 0.01 * (row % 5) for row in range(12)}
    said = []
    for begins_later in (False, True):
        with (
            FakeServer() as one,
            FakeServer() as two,
            asking(encoder, [one, two], at_once=2) as engine,
            closing(Talking(turns, delays, most)) as talk,
        ):
            if begins_later:
                talk.begin(prompts)
                rollout = engine.generate([], 1, seed=SEED, on_sample=talk.hear, further=talk)
                assert rollout.samples == ()
            else:
                engine.generate(make_prompts(4), 3, seed=SEED, on_sample=talk.hear, further=talk)
        check_samples(talk, encoder)
        said.append([[s.completion_ids for s in talk.of_row(row)] for row in range(12)])
        assert list(map(len, said[-1])) == turns
    assert said[0] == said[1]


def test_siblings_that_begin_together_go_to_one_server(encoder: Encoder) -> None:
    prompts = [prompt for prompt in make_prompts(6) for _ in range(4)]
    with (
        FakeServer() as one,
        FakeServer() as two,
        asking(encoder, [one, two], at_once=8) as engine,
        closing(Talking([1] * 24, most=lambda row, turn: 8)) as talk,
    ):
        talk.begin(prompts)
        talk.settle()
        engine.generate([], 1, seed=SEED, on_sample=talk.hear, further=talk)
        at = servers_of(talk, [one, two])
    for start in range(0, 24, 4):
        assert len({at[row][0] for row in range(start, start + 4)}) == 1


def test_an_episode_stays_with_its_server(encoder: Encoder) -> None:
    turns = [1 + row % 4 for row in range(40)]
    with (
        FakeServer(latency_s=0.002) as one,
        FakeServer() as two,
        asking(encoder, [one, two], at_once=3) as engine,
        closing(Talking(turns, most=most)) as talk,
    ):
        engine.generate(make_prompts(10), 4, seed=SEED, on_sample=talk.hear, further=talk)
        at = servers_of(talk, [one, two])
    assert all(len(set(urls)) == 1 for urls in at.values())
    assert {url for urls in at.values() for url in urls} == {one.url, two.url}
    assert max(one.seen.most_in_flight, two.seen.most_in_flight) <= 3


def test_an_episode_whose_server_died_goes_elsewhere(encoder: Encoder) -> None:
    """While the world answers, and while a turn is being made."""
    turns = [3] * 16
    with (
        FakeServer() as dying,
        FakeServer() as other,
        asking(encoder, [dying, other]) as engine,
        closing(Talking(turns, {(row, 1): 0.01 * (row % 3) for row in range(16)}, most)) as talk,
    ):

        def hear(row: int, sample: Sample) -> None:
            talk.hear(row, sample)
            if len(talk.heard) == 20:
                dying.kill()

        rollout = engine.generate(make_prompts(4), 4, seed=SEED, on_sample=hear, further=talk)
    check_all_turns(talk, turns, rollout.samples)
    check_samples(talk, encoder)
    assert dying.seen.answered < 24 < other.seen.answered


def test_turns_join_what_is_under_way(encoder: Encoder) -> None:
    """One server answers for nothing until the other's rows are through with all their turns."""
    turns = [4] * 8
    with (
        FakeServer() as slow,
        FakeServer() as fast,
        asking(encoder, [slow, fast]) as engine,
        closing(Talking(turns, most=most)) as talk,
    ):
        slow.held = True

        def hear(row: int, sample: Sample) -> None:
            talk.hear(row, sample)
            if len(talk.heard) == 16:
                slow.release()

        rollout = engine.generate(make_prompts(2), 4, seed=SEED, on_sample=hear, further=talk)
    check_all_turns(talk, turns, rollout.samples)
    assert slow.seen.answered == fast.seen.answered == 16


def test_turns_behind_new_weights_are_of_their_version(encoder: Encoder) -> None:
    turns = [4] * 6
    with (
        FakeServer() as one,
        FakeServer() as two,
        asking(encoder, [one, two]) as engine,
        closing(Talking(turns, {(0, 1): 0.02}, most)) as talk,
    ):

        def hear(row: int, sample: Sample) -> None:
            if len(talk.heard) == 10:
                engine.load_weights(NO_WEIGHTS, version=2)
            talk.hear(row, sample)

        engine.generate(make_prompts(3), 2, seed=SEED, on_sample=hear, further=talk)
    check_samples(talk, encoder)
    versions = {row: [s.policy_version for s in talk.of_row(row)] for row in range(6)}
    assert all(each == sorted(each) for each in versions.values())
    assert {each[0] for each in versions.values()} == {1}
    assert versions[0][-1] == 2


def test_a_rollout_without_prompts_ends(encoder: Encoder) -> None:
    with (
        FakeServer() as server,
        asking(encoder, [server]) as engine,
        closing(Talking([])) as talk,
    ):
        none: list[Prompt] = []
        rollout = engine.generate(none, 2, seed=SEED, on_sample=talk.hear, further=talk)
    assert rollout == Rollout(samples=(), group_size=2)
