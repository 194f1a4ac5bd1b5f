"""Replies: the completion that was asked for, or none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.rollout.servers.http import ServerError
from rvpo.rollout.servers.reply import SampledTokens, SampleRequest, read_reply
from rvpo.sampling import Sampling
from tests.fakes import make_prompt
from tests.rollout.servers.engines import OTHER_RUN, RUN

STOP = 9
REQUEST = SampleRequest(
    row=0,
    prompt=make_prompt(),
    prompt_ids=(1, 2),
    seed=0,
    drawn=Sampling(temperature=1.0, max_completion_tokens=4),
    stop_ids=(STOP,),
    vocabulary=10,
)
HUGE = (-1, 10, 10**11, 2**63, 10**4200)
JSON = st.recursive(
    st.none()
    | st.sampled_from(HUGE)
    | st.booleans()
    | st.integers(-3, 12)
    | st.floats(width=16)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def reply(
    ids: tuple[int, ...] = (5, 6, STOP), reason: str = "stop", version: str = RUN.of(3)
) -> dict[str, Any]:
    choice = {
        "index": 0,
        "finish_reason": reason,
        "token_ids": list(ids),
        "logprobs": {"content": [{"token_id": t, "logprob": -0.5, "rank": 1} for t in ids]},
        "weight_versions": [{"version": version, "start": 0, "end": len(ids)}],
        "stop_reason": None,
    }
    return {"request_id": "a", "choices": [choice], "usage": None}


def read(
    value: Any, versions: range = range(3, 4), request: SampleRequest = REQUEST
) -> SampledTokens:
    return read_reply(json.dumps(value).encode(), "http://a:1", request, versions, RUN, str)


def read_or_kind(value: Any) -> SampledTokens | str:
    try:
        return read(value)
    except ServerError as error:
        return error.kind


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each part of a JSON value."""
    if path:
        yield path
    listed = dict(enumerate(value)) if isinstance(value, list) else value
    for key, part in listed.items() if isinstance(listed, dict) else ():
        yield from places(part, (*path, key))


def test_a_reply_is_read_as_it_was_sampled() -> None:
    assert read(reply()) == SampledTokens(
        token_ids=(5, 6, STOP),
        logprobs=(-0.5, -0.5, -0.5),
        finish_reason="stop",
        versions=(3, ()),
    )
    assert read(reply((5, 6, 7, 8), "length")).finish_reason == "length"


@given(st.data(), JSON, st.booleans())
def test_a_reply_that_is_wrong_anywhere_is_refused_or_says_the_same(
    data: st.DataObject, other: Any, is_left_out: bool
) -> None:
    wrong: Any = deepcopy(reply())
    *way, last = data.draw(st.sampled_from(list(places(wrong))))
    part = wrong
    for key in way:
        part = part[key]
    if is_left_out:
        del part[last]
    else:
        part[last] = other
    try:
        found = read(wrong)
    except ServerError:
        return
    right = read(reply())
    assert (found.token_ids, found.versions) == (right.token_ids, right.versions)
    assert all(-9999 < logprob <= 1e-3 for logprob in found.logprobs)
    assert len(found.logprobs) == 3


def test_a_text_may_end_a_completion_where_one_was_asked_for() -> None:
    ended: Any = reply((5, 6), "stop")
    ended["choices"][0]["stop_reason"] = "END"
    drawn = replace(REQUEST.drawn, stop=("END",))
    found = read(ended, request=replace(REQUEST, drawn=drawn))
    assert (found.token_ids, found.finish_reason) == ((5, 6), "stop")
    with pytest.raises(ServerError, match="not at its one end token"):
        read(ended)
    ended["choices"][0]["stop_reason"] = "OTHER"
    with pytest.raises(ServerError, match="not at its one end token"):
        read(ended, request=replace(REQUEST, drawn=drawn))


@pytest.mark.parametrize(
    ("likely", "said"),
    [
        ([(5, -0.7), (10, -0.7)], "token 10, where the model has 10"),
        ([(5, -0.7), (6, -3.0)], r"which are 0\.55 together"),
    ],
)
def test_a_support_that_cannot_be_is_no_reply(likely: list[tuple[int, float]], said: str) -> None:
    wrong: Any = reply((5, STOP))
    for each in wrong["choices"][0]["logprobs"]["content"]:
        each["top_logprobs"] = [{"token_id": t, "logprob": p} for t, p in likely]
    with pytest.raises(ServerError, match=said):
        read(wrong, request=replace(REQUEST, told_tokens=2))


@given(st.binary(max_size=40))
def test_bytes_that_are_no_reply_are_refused(text: bytes) -> None:
    with pytest.raises(ServerError):
        read_reply(text, "http://a:1", REQUEST, range(3, 4), RUN, str)


@pytest.mark.parametrize(
    ("ids", "reason", "words"),
    [
        ((), "stop", "0 tokens where 1 to 4"),
        ((5, 6, 7, 8, STOP), "stop", "5 tokens where 1 to 4"),
        ((5, 6), "stop", "stopped, and not at its one end token"),
        ((5, STOP, 6, STOP), "stop", "stopped, and not at its one end token"),
        ((5, 6), "length", "cut off after 2 of 4 tokens; the server may have a smaller context"),
        ((5, 6, 7, STOP), "length", "cut off after 4 of 4 tokens"),
        ((5, 6, STOP), "abort", "ended with 'abort'"),
    ],
)
def test_a_completion_ends_where_it_can(ids: tuple[int, ...], reason: str, words: str) -> None:
    with pytest.raises(ServerError, match=words) as refused:
        read(reply(ids, reason))
    assert refused.value.kind == "failed"


@pytest.mark.parametrize(
    "version", [RUN.of(2), RUN.of(4), OTHER_RUN.of(3), "3", "default", "-3", "", RUN.run + "-³"]
)
def test_weights_of_another_version_are_stale(version: str) -> None:
    with pytest.raises(ServerError) as refused:
        read(reply(version=version))
    assert refused.value.kind == "stale"


def test_weights_may_come_while_a_sample_is_made() -> None:
    value = reply()
    spans = [
        {"version": RUN.of(3), "start": 0, "end": 1},
        {"version": RUN.of(4), "start": 1, "end": 3},
    ]
    value["choices"][0]["weight_versions"] = spans
    assert read(value, range(3, 5)).versions == (3, (3, 4, 4))
    for allowed in (range(3, 4), range(4, 6), range(2, 4)):
        with pytest.raises(ServerError) as refused:
            read(value, allowed)
        assert refused.value.kind == "stale"


@given(st.integers() | st.sampled_from(HUGE))
def test_a_token_that_the_model_does_not_have_is_a_fault(token: int) -> None:
    found = read_or_kind(reply((5, token, STOP)))
    assert found == "failed" or 0 <= token < REQUEST.vocabulary


@given(
    st.sampled_from(["version", "start", "end"]),
    JSON | st.sampled_from(["9" * 5000, RUN.run + "-" + "9" * 5000]),
)
def test_an_account_of_weights_that_is_wrong_is_stale_or_says_the_same(
    name: str, other: Any
) -> None:
    value = reply()
    value["choices"][0]["weight_versions"][0][name] = other
    assert read_or_kind(value) in ("stale", read(reply()))
