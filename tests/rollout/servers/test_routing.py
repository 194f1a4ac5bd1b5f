"""Routing of samples to servers: each asked of one at a time, and nobody with much more to do."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.errors import EngineError
from rvpo.rollout.servers.pool import Pool
from rvpo.rollout.servers.routing import Routing


def pool_of(count: int, least: int = 1, rank: int = 0) -> Pool:
    urls = [f"http://node{number}:8000" for number in range(count)]
    pool = Pool(urls, least, rank)
    pool.renew(urls, {})
    return pool


def groups_of(sizes: Sequence[int]) -> list[list[int]]:
    rows = iter(range(sum(sizes)))
    return [[next(rows) for _ in range(size)] for size in sizes]


SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@given(SIZES, st.integers(1, 5), st.integers(1, 20), st.randoms(use_true_random=False))
def test_whatever_happens_to_servers_each_sample_is_answered_once(
    sizes: list[int], servers: int, at_once: int, drawn: random.Random
) -> None:
    pool, groups = pool_of(servers), groups_of(sizes)
    tokens = [drawn.randint(1, 100) for _ in range(sum(sizes))]
    routing = Routing(pool, groups, tokens, at_once)
    asked: dict[int, str] = {}
    ended: Counter[int] = Counter()
    for _ in range(10_000):
        while (found := routing.next()) is not None:
            row, url = found
            assert row not in asked
            assert row not in ended
            assert url in pool.ready
            asked[row] = url
            assert Counter(asked.values())[url] <= at_once
        if len(ended) == sum(sizes):
            break
        match drawn.choice(["answer", "answer", "fault", "lose", "doubt", "trust", "renew"]):
            case "answer" if asked:
                row = drawn.choice(sorted(asked))
                del asked[row]
                routing.end(row)
                ended[row] += 1
            case "fault" if asked:
                row = drawn.choice(sorted(asked))
                routing.end(row)
                routing.again([row], without=asked.pop(row))
            case "lose" if len(pool.servers) > 1:
                url = drawn.choice(pool.servers)
                pool.lose(url, "ended")
                rows = routing.leave(url)
                assert sorted(rows) == sorted(row for row, at in asked.items() if at == url)
                for row in rows:
                    del asked[row]
                    routing.again([row])
            case "doubt":
                pool.doubt(drawn.choice(pool.servers))
            case "trust" | "renew":
                for url in pool.servers:
                    pool.trust(url)
    assert ended == Counter(range(sum(sizes)))
    assert all(pool.tokens(url) == 0 for url in pool.servers)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_a_row_that_goes_on_stays_with_its_server_while_that_is_there(
    turns: list[int], servers: int, at_once: int, drawn: random.Random
) -> None:
    pool = pool_of(servers)
    routing = Routing(pool, [[row] for row in range(len(turns))], [7] * len(turns), at_once)
    asked: dict[int, str] = {}
    answered: Counter[int] = Counter()
    home: dict[int, str] = {}
    for _ in range(10_000):
        while (found := routing.next()) is not None:
            row, url = found
            assert row not in asked
            assert answered[row] < turns[row]
            assert url in pool.ready
            assert url == home.pop(row, url)
            asked[row] = url
            assert Counter(asked.values())[url] <= at_once
        if answered == Counter(dict(enumerate(turns))):
            break
        match drawn.choice(["answer", "answer", "answer", "fault", "lose", "doubt", "trust"]):
            case "answer" if asked:
                row = drawn.choice(sorted(asked))
                url = asked.pop(row)
                routing.end(row)
                answered[row] += 1
                if answered[row] < turns[row]:
                    routing.go_on(row, drawn.randint(1, 100))
                    home[row] = url
            case "fault" if asked:
                row = drawn.choice(sorted(asked))
                routing.end(row)
                routing.again([row], without=asked.pop(row))
            case "lose" if len(pool.servers) > 1:
                url = drawn.choice(pool.servers)
                pool.lose(url, "ended")
                home = {row: at for row, at in home.items() if at != url}
                for row in routing.leave(url):
                    del asked[row]
                    routing.again([row])
            case "doubt":
                pool.doubt(drawn.choice(pool.servers))
            case "trust":
                for url in pool.servers:
                    pool.trust(url)
    assert answered == Counter(dict(enumerate(turns)))
    assert all(pool.tokens(url) == 0 for url in pool.servers)
    assert routing.at == set()


def test_a_row_that_goes_on_when_its_server_is_gone_is_asked_of_another() -> None:
    pool = pool_of(2)
    first, second = pool.servers
    routing = Routing(pool, groups_of([1]), [1], at_once=4)
    assert routing.next() == (0, first)
    routing.end(0)
    pool.lose(first, "ended")
    routing.go_on(0, 1)
    assert routing.next() == (0, second)


@given(SIZES, st.integers(1, 5), st.randoms(use_true_random=False))
def test_a_group_is_asked_of_one_server_where_all_can_take_it(
    sizes: list[int], servers: int, drawn: random.Random
) -> None:
    pool, groups = pool_of(servers), groups_of(sizes)
    routing = Routing(pool, groups, [10] * sum(sizes), at_once=1000)
    at: dict[int, str] = {}
    while (found := routing.next()) is not None:
        at[found[0]] = found[1]
        if drawn.random() < 0.3:
            routing.end(found[0])
    assert len(at) == sum(sizes)
    assert all(len({at[row] for row in group}) == 1 for group in groups)


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=40),
    st.integers(1, 6),
    st.integers(1, 8),
)
def test_no_server_has_more_to_do_than_another_but_for_one_group(
    tokens: list[int], servers: int, size: int
) -> None:
    pool = pool_of(servers)
    each = [of_prompt for of_prompt in tokens for _ in range(size)]
    routing = Routing(pool, groups_of([size] * len(tokens)), each, at_once=10_000)
    while routing.next() is not None:
        pass
    to_do = [pool.tokens(url) for url in pool.servers]
    assert sum(to_do) == sum(each)
    assert max(to_do) - min(to_do) <= size * max(tokens)


@given(st.integers(2, 6), st.integers(1, 8), st.integers(1, 12))
def test_ranks_that_do_not_see_each_other_begin_with_different_servers(
    servers: int, ranks: int, groups: int
) -> None:
    to_do: Counter[str] = Counter()
    for rank in range(ranks):
        pool = pool_of(servers, rank=rank)
        routing = Routing(pool, groups_of([4] * groups), [1] * 4 * groups, at_once=1000)
        while (found := routing.next()) is not None:
            to_do[found[1]] += 1
    counts = [to_do[url] for url in pool_of(servers).servers]
    # Each rank spreads its own evenly, and what is left over of each begins at another server.
    rest = groups % servers
    assert max(counts) - min(counts) <= 4 * min(ranks, max(1, rest * ranks // servers + 1))


def test_what_waits_at_a_full_server_is_taken_by_one_that_has_nothing_to_do() -> None:
    pool = pool_of(2)
    routing = Routing(pool, groups_of([12]), [1] * 12, at_once=4)
    at: dict[str, list[int]] = defaultdict(list)
    while (found := routing.next()) is not None:
        at[found[1]].append(found[0])
    assert sorted(map(len, at.values())) == [4, 4]


def test_a_lost_sample_goes_elsewhere_unless_there_is_nobody_else() -> None:
    pool = pool_of(2)
    first, second = pool.servers
    routing = Routing(pool, groups_of([1]), [1], at_once=4)
    assert routing.next() == (0, first)
    routing.end(0)
    routing.again([0], without=first)
    assert routing.next() == (0, second)
    pool.lose(first, "ended")
    routing.end(0)
    routing.again([0], without=second)
    assert routing.next() == (0, second)


def test_the_words_of_all_that_are_out_are_told_below_least() -> None:
    pool = Pool(["http://a:1", "http://b:1", "http://c:1"], least=2)
    with pytest.raises(
        EngineError, match=r"0 of 3 servers.*a:1 has no weights yet; http://b:1 has"
    ):
        pool.check()
    pool.renew(["http://a:1", "http://c:1"], {"http://b:1": "said: no room"})
    pool.check()
    pool.lose("http://c:1", "closed the connection")
    pool.lose("http://c:1", "and is lost once only")
    with pytest.raises(EngineError) as below:
        pool.check()
    assert str(below.value) == (
        "1 of 3 servers can be asked, and rollout.engine.least is 2: http://b:1 said: no room; "
        "http://c:1 closed the connection; see that they run, then continue with --resume"
    )
    pool.renew(["http://a:1", "http://b:1", "http://c:1"], {})
    pool.check()
    assert pool.words == {}
