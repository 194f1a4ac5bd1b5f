"""A world that opens nothing is refused before a model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rvpo.commands.world import check_world
from rvpo.data.splits import SourcePrompts, Splits
from rvpo.errors import ConfigError
from rvpo.rollout.encoder import Encoder
from tests import worlds
from tests.fakes import make_prompt


class Mistaken(worlds.Nagging):
    """Takes no seed."""

    def session(self, prompt: Any) -> Any:  # type: ignore[override]
        return super().session(prompt, 0)


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (worlds.Unopened(), r"for prompt 'sum/0': KeyError: 'times' \(worlds.py:\d+\); mend its"),
        (Mistaken(), r"TypeError: .*takes 2 positional.* \(test_world.py:\d+\); mend its session"),
        (worlds.Sessionless(), "is a value of type NoneType, which has no begin; write one with"),
    ],
)
def test_a_world_that_opens_nothing_is_told_with_its_line(
    world: Any, reason: str, tiny_model: Path
) -> None:
    encoder = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    part = SourcePrompts(setting="data.train", place="rows.jsonl", prompts=(make_prompt(),))
    prompts = Splits.of([part], [])
    with pytest.raises(ConfigError, match=reason) as refused:
        check_world(world, prompts, encoder, "some/model")
    assert "\n" not in str(refused.value)
