"""The tools of the GPU checks, as far as they need no GPU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.gpu.card import Peak
from tests.gpu.conftest import reason_to_skip
from tests.gpu.results import Results


def test_without_a_gpu_or_beside_other_tests_nothing_is_measured() -> None:
    assert "rvpo doctor" in reason_to_skip(False, None)
    assert "pytest -m gpu tests/gpu" in reason_to_skip(True, "gw0")
    assert reason_to_skip(True, None) == ""


def test_a_peak_is_the_most_that_was_seen() -> None:
    sizes = iter([1.0, *[3.0] * 100_000])
    with Peak(lambda: next(sizes)) as peak:
        pass
    assert peak.gib == 3.0


def test_the_results_are_a_table_whatever_stands_in_them(tmp_path: Path) -> None:
    results = Results("A card, 79.1 GiB, CUDA 13.0")
    assert not results
    results.add("failed", "a | trace\nof  lines", "none")
    results.add_all("3B", {"plan": "45 GiB"})
    results.save(tmp_path / "results" / "gpu.md")
    text = (tmp_path / "results" / "gpu.md").read_text()
    assert text.startswith("A card, 79.1 GiB, CUDA 13.0; rvpo ")
    assert "| failed | a / trace of lines | none |\n| 3B: plan | 45 GiB |  |\n" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {4}
    assert not re.search(rf"{Path.home()}|{Path.cwd()}", text)


@pytest.mark.parametrize("completions", [(40, 30), (25, 7, 25)])
def test_the_gradient_of_a_shared_prompt_is_that_of_whole_samples(
    completions: tuple[int, ...],
) -> None:
    from tests.gpu.checks import gradient_error

    assert gradient_error(60, completions, heads=4, kv=2, device="cpu") < 0.03


def test_a_plan_is_read_as_numbers(tiny_model: Path) -> None:
    from tests.configs import tiny_config
    from tests.gpu.checks import planned_of

    engine = {"name": "vllm", "max_context_tokens": 128}
    config = tiny_config(tiny_model, rollout={"engine": engine})
    planned = planned_of(config, gpus=1, gpu_memory_gib=24)
    assert planned["fits"]
    assert 0 < planned["update"] <= 24
    assert 0 < planned["rollout"] <= 24
    assert planned["kv_tokens"] > 128
