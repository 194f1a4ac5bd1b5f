"""All weights from rank 0 to all servers, over real HTTP and real gloo; the servers are threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest
import torch
from torch import Tensor

from rvpo.errors import EngineError
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.rollout.servers.weights.broadcast import Broadcast
from rvpo.rollout.servers.weights.fan_out import Patience
from rvpo.rollout.servers.weights.gloo_link import GlooLink
from rvpo.runtime.ignore import ignore
from rvpo.runtime.port import LOOPBACK, free_port
from rvpo.runtime.ranks import Ranks
from tests.fakes import on_each_rank
from tests.rollout.servers.engines import OTHER_RUN, RUN
from tests.rollout.servers.taking import Died, TakingServer

FORMING = [
    "pause",
    "start_weight_update",
    "finish_weight_update",
    "shutdown_weight_transfer_engine",
    "init_weight_transfer_engine",
]
SENDING = ["start_weight_update", "update_weights", "finish_weight_update", "resume"]


class Drawn:
    """Weights of a version, of several types and shapes."""

    def __init__(self, version: int, on_weight: Callable[[int], object] = ignore) -> None:
        torch.manual_seed(version)
        self.tensors = {
            "embed": torch.randn(7, 5),
            "half": torch.randn(3, 3).bfloat16(),
            "head": torch.randn(7, 5),
            "steps": torch.tensor(version),
            "mask": torch.tensor([True, False, True]),
        }
        self.on_weight = on_weight
        self.walks = 0

    def layout(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        return [(name, each.dtype, tuple(each.shape)) for name, each in self.tensors.items()]

    def as_saved(self) -> Drawn:
        return self

    def walk(self) -> None:
        self.walks += 1

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for number, (name, tensor) in enumerate(self.tensors.items()):
            self.on_weight(number)
            yield name, tensor.clone()
        self.walks += 1


def has(server: TakingServer, weights: Drawn) -> bool:
    return all(
        taken.keys() == weights.tensors.keys()
        and all(torch.equal(taken[name], each) for name, each in weights.tensors.items())
        for taken in server.weights
    )


@pytest.fixture
def http() -> Iterator[Http]:
    http = Http()
    yield http
    http.close()


@pytest.fixture
def servers() -> Iterator[list[TakingServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(TakingServer(workers=workers)) for workers in (1, 2, 1)]


def made(
    http: Http,
    servers: Sequence[TakingServer],
    ranks: Ranks | None = None,
    *,
    more: Sequence[str] = (),
    in_flight: bool = False,
    label: RunLabel = RUN,
) -> Broadcast:
    """With buckets that hold one weight each."""
    urls = [*(server.url for server in servers), *more]
    link = GlooLink(Patience(), bucket_bytes=1)
    ranks = ranks or Ranks.alone()
    return Broadcast(http, link, urls, ranks, label, in_flight=in_flight)


def urls_of(*servers: TakingServer) -> tuple[str, ...]:
    return tuple(server.url for server in servers)


def test_every_worker_of_every_server_has_all_weights_to_the_bit(
    http: Http, servers: list[TakingServer]
) -> None:
    sync = made(http, servers)
    for version in (0, 1, 2):
        weights = Drawn(version)
        assert sync.send(weights, version) == urls_of(*servers)
        assert all(has(server, weights) for server in servers)
        assert all(server.version == RUN.of(version) for server in servers)
        assert not any(server.is_paused for server in servers)
        assert sync.losses() == {}
    sync.close()


def test_a_group_is_formed_once_and_servers_pause_for_each_sending(
    http: Http, servers: list[TakingServer]
) -> None:
    sync = made(http, servers)
    sync.send(Drawn(0), 0)
    sync.send(Drawn(1), 1)
    for server in servers:
        assert server.routes == [*FORMING, *SENDING, "pause", *SENDING]
    assert servers[0].seen.calls[0][1] == {"mode": "wait", "clear_cache": "true"}


def test_requests_in_flight_are_kept_and_what_older_weights_computed_is_not(
    http: Http, servers: list[TakingServer]
) -> None:
    made(http, servers, in_flight=True).send(Drawn(0), 0)
    assert servers[0].seen.calls[0] == ("pause", {"mode": "keep", "clear_cache": "true"})


def test_other_ranks_walk_whenever_rank_0_sends(http: Http, servers: list[TakingServer]) -> None:
    weights = [Drawn(0), Drawn(0)]
    servers[1].after_bucket = dying_at(2, servers[1])

    def work(ranks: Ranks) -> tuple[str, ...]:
        sync = made(http, servers, ranks)
        serving = sync.send(weights[ranks.rank], 0)
        assert set(sync.losses()) == {servers[1].url}
        return serving

    assert on_each_rank(work) == [urls_of(servers[0], servers[2])] * 2
    assert weights[0].walks == weights[1].walks == 2


def dying_at(weights: int, server: TakingServer) -> Callable[[int], None]:
    def after(number: int) -> None:
        if number >= weights:
            raise Died

    return after


@pytest.mark.parametrize(("number", "weights"), [(0, 5), (1, 1), (2, 3)])
def test_a_server_that_ends_during_a_sending_costs_the_others_nothing(
    http: Http, servers: list[TakingServer], number: int, weights: int
) -> None:
    sync = made(http, servers)
    sync.send(Drawn(0), 0)
    lost = servers[number]
    others = [server for server in servers if server is not lost]
    lost.after_bucket = dying_at(weights, lost)
    assert sync.send(Drawn(1), 1) == urls_of(*others)
    assert set(sync.losses()) == {lost.url}
    assert all(has(server, Drawn(1)) and server.version == RUN.of(1) for server in others)
    assert not any(server.is_paused for server in others)
    lost.after_bucket = ignore
    lost.restart()
    assert sync.send(Drawn(2), 2) == urls_of(*servers)
    assert all(has(server, Drawn(2)) and server.version == RUN.of(2) for server in servers)


def test_a_server_that_was_started_again_between_sendings_is_given_all_weights(
    http: Http, servers: list[TakingServer]
) -> None:
    sync = made(http, servers)
    sync.send(Drawn(0), 0)
    servers[1].restart()
    assert sync.send(Drawn(1), 1) == urls_of(*servers)
    assert all(has(server, Drawn(1)) for server in servers)


def test_a_server_that_is_not_there_is_left_out_with_its_words_until_it_comes(
    http: Http, servers: list[TakingServer]
) -> None:
    servers[2].kill()
    sync = made(http, servers)
    assert sync.send(Drawn(0), 0) == urls_of(*servers[:2])
    assert "connect" in sync.losses()[servers[2].url].lower()
    servers[2].restart()
    assert sync.send(Drawn(1), 1) == urls_of(*servers)
    assert sync.losses() == {}


def test_where_no_server_is_there_nothing_is_gathered(http: Http) -> None:
    url = f"http://{LOOPBACK}:{free_port()}"
    sync, weights = made(http, [], more=[url]), Drawn(0)
    assert sync.send(weights, 0) == ()
    assert set(sync.losses()) == {url}
    assert weights.walks == 0


def test_a_server_that_refuses_the_weights_is_left_out_with_its_words(
    http: Http, servers: list[TakingServer]
) -> None:
    servers[1].after_bucket = refusing
    sync = made(http, servers)
    assert sync.send(Drawn(0), 0) == urls_of(servers[0], servers[2])
    assert "no parameter named 'head'" in sync.losses()[servers[1].url]
    assert set(sync.losses()) == {servers[1].url}


def test_weights_that_all_servers_refuse_leave_none_and_every_word(
    http: Http, servers: list[TakingServer]
) -> None:
    def work(ranks: Ranks) -> dict[str, str]:
        sync = made(http, servers, ranks)
        assert sync.send(weights[ranks.rank], 0) == ()
        return sync.losses()

    weights = [Drawn(0), Drawn(0)]
    for server in servers:
        server.after_bucket = refusing
    words, others = on_each_rank(work)
    assert words == others
    assert isinstance(words, dict)
    assert set(words) == set(urls_of(*servers))
    assert all("no parameter named 'head'" in each for each in words.values())
    assert weights[0].walks == weights[1].walks == 2


def refusing(number: int) -> None:
    if number == 3:
        raise RuntimeError("no parameter named 'head'")


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ("pause", "cannot pause"),
        ("finish_weight_update", "out of memory"),
        ("shutdown_weight_transfer_engine", "in use"),
        ("resume", "cannot go on"),
    ],
)
def test_a_server_that_fails_at_its_own_part_is_left_out_with_its_words(
    http: Http, servers: list[TakingServer], route: str, words: str
) -> None:
    servers[0].refuses = {route: words}
    sync = made(http, servers)
    assert sync.send(Drawn(0), 0) == urls_of(*servers[1:])
    assert words in sync.losses()[servers[0].url]
    servers[0].refuses = {}
    assert sync.send(Drawn(1), 1) == urls_of(*servers)
    assert sync.losses() == {}


def test_a_server_that_says_another_version_than_it_was_given_is_left_out(
    http: Http, servers: list[TakingServer]
) -> None:
    servers[1].forgets_versions = True
    sync = made(http, servers)
    assert sync.send(Drawn(4), 4) == urls_of(servers[0], servers[2])
    assert sync.losses()[servers[1].url] == (
        "says that its weights are version 'default' after it took 4"
    )


def test_servers_that_another_run_gave_the_same_version_are_given_all_weights(
    http: Http, servers: list[TakingServer]
) -> None:
    sync, other = made(http, servers), made(http, servers, label=OTHER_RUN)
    sync.send(Drawn(1), 1)
    assert other.send(Drawn(7), 1) == urls_of(*servers)
    assert all(server.version == OTHER_RUN.of(1) for server in servers)
    other.close()
    assert sync.send(Drawn(2), 2) == urls_of(*servers)
    assert all(has(server, Drawn(2)) and server.version == RUN.of(2) for server in servers)
    sync.close()


def test_an_update_that_another_trainer_left_open_is_brought_to_an_end(
    http: Http, servers: list[TakingServer]
) -> None:
    servers[0].is_open, servers[1].is_open = [True], [True, False]
    sync = made(http, servers)
    assert sync.send(Drawn(0), 0) == urls_of(*servers)
    assert all(has(server, Drawn(0)) for server in servers)


class Torn(Exception):
    """What gathering raises."""


def test_servers_whose_weights_were_torn_go_on_and_say_that_they_are_of_no_version(
    http: Http, servers: list[TakingServer]
) -> None:
    sync = made(http, servers)
    sync.send(Drawn(0), 0)

    def tear(number: int) -> None:
        if number == 3:
            raise Torn

    with pytest.raises(Torn):
        sync.send(Drawn(1, tear), 1)
    assert all(server.is_paused for server in servers)
    sync.close()
    assert all(server.version == "unsent" for server in servers)
    assert not any(server.is_paused for server in servers)


def test_after_weights_that_were_torn_all_is_sent_again(
    http: Http, servers: list[TakingServer]
) -> None:
    sync = made(http, servers)

    def tear(number: int) -> None:
        if number == 3:
            raise Torn

    with pytest.raises(Torn):
        sync.send(Drawn(0, tear), 0)
    assert sync.send(Drawn(1), 1) == urls_of(*servers)
    assert all(has(server, Drawn(1)) for server in servers)


def test_servers_that_serve_are_let_go_without_a_word(
    http: Http, servers: list[TakingServer]
) -> None:
    sync = made(http, servers)
    sync.send(Drawn(0), 0)
    asked = [len(server.routes) for server in servers]
    sync.close()
    sync.close()
    assert [len(server.routes) for server in servers] == asked
    assert all(server.version == RUN.of(0) for server in servers)


class Split(Drawn):
    """Weights that are saved as more than there are."""

    def as_saved(self) -> Drawn:
        saved = Drawn(0)
        saved.tensors["more"] = torch.ones(1)
        return saved


def test_a_mixture_of_experts_is_refused_before_a_server_is_asked(
    http: Http, servers: list[TakingServer]
) -> None:
    with pytest.raises(EngineError, match="mixture of experts"):
        made(http, servers).send(Split(0), 0)
    assert servers[0].routes == []
