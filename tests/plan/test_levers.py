"""A change that is said to help does."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.config.run import RunConfig
from rvpo.plan.card import USABLE
from rvpo.plan.gpu import gpu_findings
from rvpo.plan.levers import Way, way_to_room, ways_to_fit
from rvpo.plan.machine import Finding
from rvpo.plan.memory import GIB, Place
from rvpo.plan.shape import ModelShape, published_shape
from tests.configs import tiny_settings

PLACE = Place(ranks=8, prompt_tokens=1024, device=79.1 * GIB)


@cache
def shape(size: str = "14B") -> ModelShape:
    found = published_shape(f"Qwen2.5-{size}")
    assert found is not None
    return found


def sections(engine: dict[str, Any] | None = None, **update: Any) -> dict[str, Any]:
    vllm = {"name": "vllm", "gpu_memory": 0.5, "max_context_tokens": 3584}
    rollout = {
        "engine": vllm | (engine or {}),
        "prompts_per_step": 96,
        "samples_per_prompt": 16,
        "max_completion_tokens": 2560,
    }
    rows = {"beta": 0.001, "micro_batch_tokens": 8192, "activation_checkpointing": True}
    return {"model": {"precision": "bf16"}, "rollout": rollout, "update": rows | update}


def config(given: dict[str, Any]) -> RunConfig:
    return RunConfig.model_validate(tiny_settings(Path("unused"), Path("unused"), **given))


def obeyed(words: str, given: dict[str, Any], place: Place) -> Way:
    """The run of somebody who writes what the words say."""
    engine, update = dict(given["rollout"]["engine"]), dict(given["update"])
    for name, value in re.findall(r"rollout\.engine\.(\w+)=([\d.]+)", words):
        engine[name] = float(value) if "." in value else int(value)
    for name, value in re.findall(r"update\.(\w+)=(\w+)", words):
        update[name] = value
    if ranks := re.search(r"(\d+) such GPUs \(distributed\.processes=(\d+)\)", words):
        assert ranks[1] == ranks[2]
        place = replace(place, ranks=int(ranks[1]))
    if sold := re.search(r"GPUs sold as (\d+) GB", words):
        assert place.device is not None
        place = replace(place, device=USABLE[int(sold[1])] * GIB)
    changed = given | {"rollout": given["rollout"] | {"engine": engine}, "update": update}
    return Way(config(changed), place)


RUNS = st.builds(
    sections,
    st.fixed_dictionaries(
        {"gpu_memory": st.sampled_from([0.2, 0.5, 0.8, 0.95])},
        optional={"max_context_tokens": st.sampled_from([None, 4096])},
    ),
    micro_batch_tokens=st.sampled_from([2048, 8192, 32_768]),
    activation_checkpointing=st.booleans(),
    offload_optimizer=st.booleans(),
    offload_while_generating=st.booleans(),
)
PLACES = st.builds(
    Place,
    ranks=st.sampled_from([1, 2, 4, 8]),
    prompt_tokens=st.sampled_from([100, 1024]),
    device=st.sampled_from([22.0, 44.3, 79.1]).map(lambda gib: gib * GIB),
)


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(["1.5B", "7B", "14B"]), RUNS, PLACES)
def test_what_is_said_to_cure_does(size: str, given: dict[str, Any], place: Place) -> None:
    if Way(config(given), place).fits(shape(size)):
        return
    ways = ways_to_fit(config(given), shape(size), place)
    assert len(ways) <= 3
    for way in ways:
        assert way.fits(shape(size))
        assert obeyed(str(way), given, place).fits(shape(size))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["1.5B", "7B", "14B"]), RUNS, PLACES)
def test_what_is_said_to_give_room_fits_and_gives_it(
    size: str, given: dict[str, Any], place: Place
) -> None:
    now = Way(config(given), place)
    if (way := way_to_room(now.config, shape(size), place)) is not None:
        then = obeyed(str(way), given, place)
        assert then.fits(shape(size))
        assert then.at_once(shape(size)) == way.at_once(shape(size)) > now.at_once(shape(size))


def words(given: dict[str, Any], place: Place = PLACE) -> list[str]:
    return [str(way) for way in ways_to_fit(config(given), shape(), place)]


@pytest.mark.parametrize(
    ("given", "place", "ways"),
    [
        (
            sections({"gpu_memory": 0.9}),
            PLACE,
            ["rollout.engine.gpu_memory=0.85", "16 such GPUs (distributed.processes=16)"],
        ),
        (
            sections({"gpu_memory": 0.8}, offload_while_generating=False),
            PLACE,
            [
                "rollout.engine.gpu_memory=0.5",
                "update.offload_while_generating=true",
                "24 such GPUs (distributed.processes=24)",
            ],
        ),
        (
            sections({"gpu_memory": 0.44, "max_context_tokens": None}),
            PLACE,
            ["rollout.engine.max_context_tokens=3584", "rollout.engine.gpu_memory=0.85"],
        ),
        (
            sections(),
            replace(PLACE, ranks=4),
            ["update.offload_optimizer=true", "6 such GPUs (distributed.processes=6)"],
        ),
    ],
)
def test_the_fewest_changes_come_first_and_the_cheapest_of_those(
    given: dict[str, Any], place: Place, ways: list[str]
) -> None:
    assert words(given, place) == ways


def verdict(findings: list[Finding]) -> Finding:
    return next(finding for finding in findings if finding.part == "memory")


def test_what_does_not_fit_is_one_sentence_with_its_remedy() -> None:
    broken = config(sections({"gpu_memory": 0.95}))
    found = gpu_findings(broken, shape(), PLACE)
    assert [f.part for f in found if f.state == "missing"] == [
        *("start peak", "rollout peak", "memory")
    ]
    assert verdict(found).found == (
        "does not fit: it takes 85.4 GiB of a GPU's 79.1 when the engine has started"
    )
    assert verdict(found).remedy == "rollout.engine.gpu_memory=0.85; it fits, by the same sums"


def test_a_share_too_small_for_the_model_is_told_like_one_too_large() -> None:
    found = verdict(gpu_findings(config(sections({"gpu_memory": 0.3})), shape(), PLACE))
    assert found.found.startswith("does not fit: the engine's share of a GPU holds the weights and")
    assert found.remedy.startswith("rollout.engine.gpu_memory=0.85")


def test_a_model_that_no_gpu_holds_is_not_given_hope() -> None:
    huge = replace(shape(), parameters=400_000_000_000)
    found = verdict(gpu_findings(config(sections()), huge, PLACE))
    assert found.found.endswith(
        "and no other setting helps: an engine has 745.1 GiB of weights on a GPU"
    )
    assert found.remedy.startswith("a smaller model, or one that servers divide; --nodes N")


def decoding(given: dict[str, Any]) -> Finding:
    found = gpu_findings(config(given), shape(), PLACE)
    return next(finding for finding in found if finding.part == "decoding")


def test_starved_generation_is_told_with_the_setting_that_feeds_it() -> None:
    starved = decoding(sections())
    assert starved.state == "note"
    assert starved.found.startswith("15 samples at once of 3,584 tokens, prompt and completion")
    assert "a rollout has 192. Generation is starved: a step reads 27.5 GiB" in starved.found
    assert starved.remedy == "rollout.engine.gpu_memory=0.85: 57 at once"
    fed = decoding(sections({"gpu_memory": 0.85}))
    assert (fed.state, fed.remedy) == ("ok", "")
    beside = decoding(sections(offload_while_generating=False))
    assert beside.remedy == (
        "update.offload_while_generating=true and rollout.engine.gpu_memory=0.85: 57 at once"
    )


def test_samples_of_full_length_are_told_where_they_are_longer() -> None:
    long = decoding(sections({"gpu_memory": 0.85, "max_context_tokens": 16_384}))
    assert long.found == (
        "57 samples at once of 3,584 tokens, prompt and completion (12 of the full context, "
        "16,384); a rollout has 192"
    )
