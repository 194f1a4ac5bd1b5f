"""Ranks that meet again in what an earlier start of them has left."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist

from rvpo.runtime.meeting import meeting_store
from rvpo.runtime.port import LOOPBACK

PATIENCE = timedelta(seconds=60)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The store that torchrun keeps over its restarts."""
    store = dist.TCPStore(LOOPBACK, 0, 2, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    place = {"MASTER_ADDR": LOOPBACK, "MASTER_PORT": str(store.port), "RANK": "0"}
    for name, value in {**place, "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.delenv("RVPO_RENDEZVOUS", raising=False)
    return store


def at(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rank begins where the launcher sends it."""
    monkeypatch.setenv("MASTER_ADDR", LOOPBACK)
    monkeypatch.setenv("MASTER_PORT", str(kept.port))


def test_each_start_meets_in_a_store_of_its_own(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for attempt in range(3):
        at(kept, monkeypatch)
        first = meeting_store(0, 2, PATIENCE)
        at(kept, monkeypatch)
        second = meeting_store(1, 2, PATIENCE)
        assert first.port == second.port != kept.port
        assert not second.check(["left"])
        first.set("left", str(attempt))
        assert second.get("left") == str(attempt).encode()


def test_a_rank_that_restarts_first_waits_for_the_new_rank_0(
    kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = meeting_store(0, 2, PATIENCE)
    at(kept, monkeypatch)
    meeting_store(1, 2, PATIENCE)
    at(kept, monkeypatch)
    with pytest.raises(dist.DistError, match="timed out"):  # the old one still listens
        meeting_store(1, 2, timedelta(seconds=1))
    new = meeting_store(0, 2, PATIENCE)
    at(kept, monkeypatch)
    assert meeting_store(1, 2, PATIENCE).port == new.port != old.port


def test_a_place_that_no_longer_answers_is_looked_up_again(
    kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.set("rvpo/place", f"0123 1 {LOOPBACK}")
    with pytest.raises(dist.DistError, match="timed out"):  # type: ignore[attr-defined]
        meeting_store(1, 2, timedelta(seconds=1))
    at(kept, monkeypatch)
    new = meeting_store(0, 2, PATIENCE)
    at(kept, monkeypatch)
    assert meeting_store(1, 2, PATIENCE).port == new.port
