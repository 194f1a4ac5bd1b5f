"""What `performance.versions` says of packages that have moved on."""

from __future__ import annotations

from pathlib import Path

from performance.versions import breaks, engine_options, imports


def test_what_rvpo_uses_of_the_libraries_is_read_from_its_own_source() -> None:
    assert ("vllm", "SamplingParams") in imports()
    assert ("deepspeed.runtime.zero.config", "ZeroStageEnum") in imports()
    assert {"gpu_memory_utilization", "weight_transfer_config"} <= engine_options()
    assert "backend" not in engine_options()  # one of the transport's


def test_each_name_and_option_that_is_gone_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "vllm" / "engine").mkdir(parents=True)
    (tmp_path / "vllm" / "llm.py").write_text("class LLM:\n    pass\n")
    options = sorted(engine_options() - {"dtype"})
    fields = "".join(f"    {option}: int = 0\n" for option in options)
    (tmp_path / "vllm" / "engine" / "arg_utils.py").write_text(f"class EngineArgs:\n{fields}")
    said = list(breaks("vllm", tmp_path))
    assert "vllm: vllm has no SamplingParams" in said
    assert not [line for line in said if "has no LLM" in line]
    gone = [line for line in said if "is gone" in line]
    assert any(line.startswith("vllm: vllm.sampling_params is gone") for line in gone)
    assert [line for line in said if "option" in line] == ["vllm: the engine has no option dtype"]
