"""What steps have found out beside the policy comes back with its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rvpo.errors import CheckpointError
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.carried import CARRIED
from rvpo.trainer.checkpoint import Checkpoints
from tests.trainer.test_checkpoint import Plain


class Count:
    """So many steps."""

    def __init__(self, name: str, steps: int = 0) -> None:
        self.name = name
        self.steps = steps

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps} if self.steps else {}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]


def checkpoints(folder: Path, ranks: Ranks, *carried: Count) -> Checkpoints:
    return Checkpoints(folder, every=1, keep=2, ranks=ranks, carried=carried)


def test_each_goes_on_from_its_own_state_and_a_new_one_begins(tmp_path: Path, ranks: Ranks) -> None:
    policy: Any = Plain()
    checkpoints(tmp_path, ranks, Count("a", 3), Count("gone", 9)).after(3, policy, last=False)
    a, new = Count("a"), Count("new", 0)
    assert checkpoints(tmp_path, ranks, a, new).restore(policy) == 3
    assert (a.steps, new.steps) == (3, 0)


def test_a_checkpoint_of_nothing_more_has_no_such_file(tmp_path: Path, ranks: Ranks) -> None:
    policy: Any = Plain()
    checkpoints(tmp_path, ranks, Count("a")).after(1, policy, last=False)
    assert not list(tmp_path.glob(f"*/{CARRIED}"))
    assert checkpoints(tmp_path, ranks, Count("a")).restore(policy) == 1


def test_a_changed_file_is_a_damaged_checkpoint(tmp_path: Path, ranks: Ranks) -> None:
    policy: Any = Plain()
    checkpoints(tmp_path, ranks, Count("a", 3)).after(1, policy, last=False)
    (path,) = tmp_path.glob(f"*/{CARRIED}")
    path.write_text(path.read_text().replace("3", "4"))
    with pytest.raises(CheckpointError, match=CARRIED):
        checkpoints(tmp_path, ranks, Count("a")).restore(policy)
