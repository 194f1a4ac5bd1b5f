"""The servers of a run, asked about themselves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rvpo.rollout.servers.http import ServerError
from rvpo.rollout.servers.weights.fan_out import Member, Patience
from rvpo.rollout.servers.weights.roster import Roster
from tests.rollout.servers.engines import RUN

PATIENCE = Patience(look_s=45.0, glance_s=5.0)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([0, -1, 10**6, 10**4200, "9" * 5000, json.loads("[" * 500 + "]" * 500)]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


class Answers:
    """An `Http` whose servers answer from a table by address and route; others answer 500."""

    def __init__(self, table: dict[str, dict[str, Any]]) -> None:
        self.table = table
        self.asked: list[tuple[str, str, float]] = []
        self.told = str

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    async def ask(self, method: str, url: str, route: str, *, timeout_s: float, **_: Any) -> Any:
        self.asked.append((url, route, timeout_s))
        if route not in self.table[url]:
            raise ServerError(url, f"answered {route} with 500", "failed")
        return self.table[url][route]


def roster(http: Any) -> Roster:
    return Roster(http, PATIENCE, RUN, in_flight=False)


def server(version: Any = "3", size: Any = 2) -> dict[str, Any]:
    return {"/get_world_size": {"world_size": size}, "/weight_info": {"weight_version": version}}


def test_those_that_answer_are_there_with_their_workers_and_versions() -> None:
    found = roster(Answers({"a": server(), "b": server("default", 4)})).present(["a", "b"])
    assert found == {Member("a", 2): "3", Member("b", 4): "default"}


def test_nobody_waits_long_for_a_server_that_was_left_out() -> None:
    http = Answers({"a": server(), "b": server()})
    roster(http).present(["a", "b"], glanced_at=["b"])
    assert {(url, seconds) for url, _, seconds in http.asked} == {("a", 45.0), ("b", 5.0)}


def test_a_server_of_another_kind_is_left_out_with_what_it_said() -> None:
    others = [{"/get_world_size": {"size": 1}}, {"/get_world_size": [1]}, server(size="many")]
    table = {f"s{number}": other for number, other in enumerate(others)}
    asked = roster(Answers(table))
    assert asked.present(table) == {}
    assert asked.losses["s0"] == (
        "answered /get_world_size with {'size': 1}, and is no vLLM server of version 0.32"
    )
    assert set(asked.losses) == set(table)


def test_an_update_is_ended_where_one_is_open_and_where_none_is() -> None:
    ended = {"/pause": None, "/finish_weight_update": None, "/shutdown_weight_transfer_engine": {}}
    table = {"open": server() | ended, "none": server() | ended | {"/start_weight_update": None}}
    members = [Member("open", 1), Member("none", 1)]
    assert roster(Answers(table)).prepare(members) == tuple(members)


@given(st.sampled_from(["/get_world_size", "/weight_info"]), JSON, st.booleans())
def test_a_server_that_lies_costs_the_others_nothing(
    route: str, other: Any, is_field: bool
) -> None:
    """It is left out, or has said what a server may say."""
    (name,) = server()[route]
    lying = server() | {route: {name: other} if is_field else other}
    asked = roster(Answers({"liar": lying, "sound": server()}))
    found = asked.present(["liar", "sound"])
    assert found[Member("sound", 2)] == "3"
    for member, version in found.items():
        assert type(member.workers) is int
        assert 1 <= member.workers <= 1024
        assert isinstance(version, str)
    assert ("liar" in asked.losses) == (len(found) == 1)
