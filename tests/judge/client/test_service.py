"""A judge says at its start what will slow it down."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rvpo.config.judge import JudgeConfig
from rvpo.judge.client.service import JudgeService
from rvpo.runtime.ranks import Ranks


@pytest.mark.parametrize("kind", ["lustre", "ext4"])
def test_a_cache_on_a_disk_that_machines_share_is_told_of_once(tmp_path: Path, kind: str) -> None:
    path, mounts = tmp_path / "cache.sqlite", tmp_path / "mounts"
    mounts.write_text(f"22 1 0:21 / / rw - {kind} server:/export rw\n")
    settings: dict[str, Any] = {"model": "m", "endpoints": [{"url": "http://127.0.0.1:9/v1"}]}
    told: dict[Path | None, list[str]] = {path: [], None: []}
    for cache, said in told.items():
        config = JudgeConfig.model_validate(settings | {"cache": cache})
        with closing(JudgeService(config, Ranks.alone(), said.append, mounts)) as service:
            service.start()
    assert told[None] == []
    assert [said.partition(", ")[0] for said in told[path]] == (
        [f"judge.cache: {path} is on a disk that machines share (lustre)"]
        if kind == "lustre"
        else []
    )
