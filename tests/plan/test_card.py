"""A GPU has less memory than the number that it is sold by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rvpo.plan.card import USABLE, usable
from rvpo.plan.device import Devices, device_findings
from rvpo.plan.memory import GIB
from rvpo.plan.shape import published_shape
from tests.configs import tiny_config
from tests.plan.test_machine import CPU, GPU

VLLM = {"rollout": {"engine": {"name": "vllm"}}}


@pytest.mark.parametrize(
    ("typed", "there"),
    [(24, 22.0), (40, 39.4), (48, 44.3), (80, 79.1), (96, 94.5), (141, 139.8), (192, 178.3)],
)
def test_a_number_that_cards_are_sold_by_means_such_a_card(typed: float, there: float) -> None:
    assert usable(typed) == usable(float(typed)) == there
    devices = Devices.of(tiny_config(Path("unused")), CPU, 8, typed)
    assert devices == Devices(gpus=8, memory=there * GIB, given=True, sold=typed)


@pytest.mark.parametrize("typed", [79.1, 80.5, 79.0, 1.0, 64.0, 0.25, 1000.0])
def test_any_other_number_is_the_memory_itself(typed: float) -> None:
    assert usable(typed) == typed


def test_no_card_has_more_than_it_is_sold_by_or_much_less() -> None:
    assert all(0.88 * sold < there < sold for sold, there in USABLE.items())


def test_measured_memory_stays_as_it_is() -> None:
    there = replace(GPU, devices=("one", "two"), device_memory=(80.0, 79.25))
    devices = Devices.of(tiny_config(Path("unused")), there, None, None)
    assert devices == Devices(gpus=2, memory=79.25 * GIB, given=False, sold=None)


@pytest.mark.parametrize(
    ("typed", "words"),
    [(80, "1 GPU of 79.1 GiB, as torch finds of those sold as 80 GB"), (79, "1 GPU of 79.0 GiB")],
)
def test_the_plan_says_which_memory_it_took(typed: float, words: str) -> None:
    config = tiny_config(Path("unused"), **VLLM)
    shape = published_shape("Qwen2.5-1.5B")
    assert shape is not None
    devices = Devices.of(config, CPU, 1, typed)
    found = device_findings(config, shape, {}, 100, devices, CPU)
    assert (found[0].part, found[0].found) == ("GPUs", words)
