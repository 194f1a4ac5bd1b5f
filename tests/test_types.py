"""The reward matrix, and what stands beside it for reports."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import torch

from rvpo.types import Rewards, RolloutScores


def two(**fields: Any) -> Rewards:
    """Two groups of two samples, two rewards."""
    return Rewards(
        **{"values": torch.arange(8.0).reshape(4, 2), "names": "ab", "group_size": 2, **fields}
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"values": torch.zeros(4)}, r"values has shape \[4\]; expected \[samples, 2\]"),
        ({"names": "abc"}, r"expected \[samples, 3\], a column for each of \['a', 'b', 'c'\]"),
        ({"names": "aa"}, r"reward names repeat: \['a', 'a'\]"),
        ({"values": torch.zeros(4, 0), "names": ""}, "at least one reward is needed"),
        ({"group_size": 3}, "4 samples do not divide into groups of 3"),
        ({"group_size": 0}, "4 samples do not divide into groups of 0"),
        ({"valid": torch.ones(4, 2)}, r"valid must be a bool tensor of shape \[4, 2\]"),
        ({"weights": torch.ones(3)}, r"weights has shape \[3\]; expected \[2\] or \[4, 2\]"),
        ({"weights": torch.tensor([1.0, -1.0])}, "weights must be finite and at least 0"),
        ({"values": torch.full((4, 2), torch.nan)}, "reward 'a' holds NaN or infinity"),
        ({"prompts": ["p"]}, "prompts names 1 prompts; expected 2, one for each group"),
    ],
)
def test_a_matrix_that_does_not_fit_is_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        two(**fields)


def test_what_is_not_valid_is_stored_as_0() -> None:
    values = torch.tensor([[torch.nan, 1.0]] * 2)
    rewards = Rewards(values, "ab", 2, valid=torch.tensor([[False, True]] * 2))
    assert rewards.values.tolist() == [[0, 1]] * 2
    assert rewards.weighted.tolist() == [[False, True]] * 2


def test_a_matrix_is_frozen_and_can_be_replaced() -> None:
    rewards = two(prompts=["p", "q"])
    with pytest.raises(FrozenInstanceError):
        rewards.group_size = 4  # type: ignore[misc]
    assert replace(rewards, group_size=4, prompts=["p"]).prompts == ("p",)
    assert two().prompts is None


def test_every_column_is_a_mask() -> None:
    masks = two().columns
    assert list(masks) == ["a", "b"]
    assert masks["b"].tolist() == [[False, True]] * 4


def test_a_failure_stands_where_there_is_no_score() -> None:
    rewards = two(valid=torch.tensor([[False, True], *[[True, True]] * 3]))
    scored = RolloutScores(rewards=rewards, aspects={}, failures={(0, 0): "timed out"})
    with pytest.raises(ValueError, match="a failure may only stand where `valid` is false"):
        replace(scored, failures={(0, 1): "timed out"})


def test_an_aspect_is_a_mask_of_the_matrix() -> None:
    with pytest.raises(ValueError, match=r"aspect 'kind' must be a mask of shape \[4, 2\]"):
        RolloutScores(rewards=two(), aspects={"kind": torch.ones(2, 2, dtype=torch.bool)})
