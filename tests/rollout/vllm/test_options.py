"""Arguments of vLLM that a user hands through."""

from __future__ import annotations

import ast
import enum
import importlib.util
from collections.abc import Iterator
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.config.run import RunConfig, dump_config, load_config
from rvpo.config.sentences import validated
from rvpo.errors import ConfigError
from rvpo.rollout.vllm.arguments import check_arguments
from rvpo.rollout.vllm.options import VLLM_OPTIONS, passed_on
from rvpo.rollout.vllm.settings import VllmConfig
from rvpo.rollout.vllm.site import Site
from tests.configs import tiny_settings

BESIDE_A_TRAINER = Site("shared", in_process=True)


def tree_of(file: str) -> ast.Module:
    """A file of the installed vLLM, unimported."""
    spec = importlib.util.find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    return ast.parse((Path(spec.origin).parent / file).read_text())


def class_of(file: str, name: str) -> ast.ClassDef:
    """A class of the installed vLLM, unimported."""
    tree = tree_of(file)
    return next(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == name)


def arguments_of_vllm() -> Iterator[str]:
    """Names that `vllm.LLM` can be called with."""
    for line in class_of("engine/arg_utils.py", "EngineArgs").body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            yield line.target.id
    for line in class_of("entrypoints/llm.py", "LLM").body:
        if isinstance(line, ast.FunctionDef) and line.name == "__init__":
            yield from (argument.arg for argument in line.args.kwonlyargs)


def test_every_argument_of_vllm_is_allowed_or_refused_with_a_reason() -> None:
    named = {name for name in arguments_of_vllm() if not name.startswith("_")}
    allowed, refused = set(VLLM_OPTIONS.allowed), set(VLLM_OPTIONS.refused)
    assert len(named) > 200
    assert named == allowed | refused
    assert not allowed & refused
    assert all(len(reason) > 8 for reason in VLLM_OPTIONS.refused.values())


def problem(**options: Any) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        VLLM_OPTIONS.checked(options)
    return str(caught.value)


def test_an_argument_that_rvpo_decides_is_refused_whatever_its_value() -> None:
    for name, reason in VLLM_OPTIONS.refused.items():
        assert problem(**{name: None}) == f"{name} cannot be given here: {reason}"


@given(st.sampled_from(sorted(VLLM_OPTIONS.allowed)), st.data())
@settings(deadline=None)
def test_a_misspelt_option_is_answered_with_the_one_that_is_meant(
    name: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(name) - 1))
    misspelt = name[:place] + name[place + 1 :]
    if misspelt not in {*VLLM_OPTIONS.allowed, *VLLM_OPTIONS.refused}:
        assert "did you mean" in problem(**{misspelt: 1})


def test_an_option_of_another_kind_is_refused() -> None:
    assert problem(max_num_seqs=True) == "max_num_seqs must be a whole number above 0, got True"
    assert problem(max_num_seqs=0) == "max_num_seqs must be a whole number above 0, got 0"
    assert problem(enforce_eager=1) == "enforce_eager must be true or false, got 1"
    assert problem(replayssm_buffer_len=0).endswith("must be a whole number above 0, got 0")
    assert problem(cudagraph_capture_sizes=[8, 0]) == (
        "cudagraph_capture_sizes must be a list of whole numbers above 0, got [8, 0]"
    )
    assert "write rollout.engine.gpu_memory" in problem(num_gpu_blocks_override=10**8)
    assert problem(kv_cache_dtype=8) == "kv_cache_dtype must be text, got 8"
    assert problem(compilation_config=3) == "compilation_config must be a table, got 3"


def test_options_are_read_shown_and_read_again(tmp_path: Path) -> None:
    engine = {"name": "vllm", "options": {"max_num_seqs": 64, "kv_cache_dtype": "fp8"}}
    tree = tiny_settings(tmp_path, tmp_path / "run", rollout={"engine": engine})
    config = validated(RunConfig, tree, "refused")
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    assert load_config(file) == config
    changed = load_config(file, ["rollout.engine.options.max_num_seqs=8"])
    assert changed.model_dump()["rollout"]["engine"]["options"] == {
        "max_num_seqs": 8,
        "kv_cache_dtype": "fp8",
    }


def test_a_run_says_where_an_option_is_wrong(tmp_path: Path) -> None:
    engine = {"name": "vllm", "options": {"max_num_seq": 64, "gpu_memory_utilization": 0.9}}
    tree = tiny_settings(tmp_path, tmp_path / "run", rollout={"engine": engine})
    with pytest.raises(ConfigError) as caught:
        validated(RunConfig, tree, "refused")
    first, second = str(caught.value).splitlines()[1:]
    assert first.strip() == (
        "rollout.engine.options: max_num_seq is no option of vLLM that rvpo knows; did you mean "
        "max_num_seqs?"
    )
    assert "write rollout.engine.gpu_memory" in second


@pytest.mark.parametrize(
    ("given_options", "expected"),
    [
        ({}, (256, 8192)),
        ({"max_num_seqs": 32}, (32, 8192)),
        ({"max_num_seqs": 10_000}, (10_000, 10_000)),
        ({"max_num_batched_tokens": 100}, (100, 100)),
        ({"max_num_seqs": None}, (None, 8192)),
        ({"enable_chunked_prefill": False}, (256, None)),
        ({"enforce_eager": True}, (256, 8192)),
    ],
)
def test_beside_a_trainer_an_engine_sets_less_memory_aside_than_a_server(
    given_options: dict[str, Any], expected: tuple[int | None, int | None]
) -> None:
    found = passed_on(given_options, BESIDE_A_TRAINER)
    assert (found.get("max_num_seqs"), found.get("max_num_batched_tokens")) == expected


@given(st.none() | st.integers(1, 10**5), st.none() | st.integers(1, 10**5), st.booleans())
@settings(deadline=None)
def test_the_defaults_never_contradict_what_is_given(
    seqs: int | None, tokens: int | None, chunked: bool
) -> None:
    options: dict[str, Any] = {"enable_chunked_prefill": chunked}
    options |= {} if seqs is None else {"max_num_seqs": seqs}
    options |= {} if tokens is None else {"max_num_batched_tokens": tokens}
    found = passed_on(options, BESIDE_A_TRAINER)
    assert options.items() <= found.items()
    if seqs is None or tokens is None:
        assert found["max_num_seqs"] <= found.get("max_num_batched_tokens", 10**6)


@pytest.mark.parametrize("site", [Site(), Site("own", False), Site("shared", False)])
def test_elsewhere_vllm_keeps_its_own_defaults(site: Site) -> None:
    assert passed_on({}, site) == {}
    assert passed_on({"max_num_seqs": 7, "block_size": None}, site) == {"max_num_seqs": 7}


class Backend(enum.Enum):
    FLASH = "path.of.flash"
    TRITON = "path.of.triton"


def look(arguments: Any) -> None:
    if arguments.compilation_config not in (None, {"mode": 3}):
        raise ValueError("compilation_config has\nno such entry")


FakeArguments = make_dataclass(  # its annotations are types, as those of vLLM's are
    "FakeArguments",
    [
        ("model", str),
        ("kv_cache_dtype", Literal["auto", "fp8"], "auto"),
        ("attention_backend", Backend | None, None),
        ("scheduling_policy", Literal["fcfs", "priority"] | None, None),
        ("quantization", Literal["fp8"] | str | None, None),
        ("max_num_seqs", int | None, None),
        ("compilation_config", Any, None),
    ],
    namespace={"__post_init__": look},
)
"""As vLLM's, as far as values are looked at."""


def refusal(**options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        check_arguments(options, FakeArguments)
    return str(caught.value)


def test_a_value_that_vllm_does_not_know_is_refused_before_it_starts() -> None:
    assert refusal(kv_cache_dtype="fp9") == (
        "rollout.engine.options.kv_cache_dtype: vLLM knows no 'fp9'; did you mean fp8?"
    )
    assert refusal(scheduling_policy="x") == (
        "rollout.engine.options.scheduling_policy: vLLM knows no 'x'; there are fcfs, priority"
    )
    assert "did you mean FLASH?" in refusal(attention_backend="FLASHI")
    assert refusal(compilation_config={}) == (
        "rollout.engine.options: vLLM refuses compilation_config has no such entry"
    )


def test_a_value_that_vllm_knows_or_does_not_list_passes() -> None:
    check_arguments(
        {
            "kv_cache_dtype": "fp8",
            "attention_backend": "FLASH",
            "quantization": "a plugin's",
            "max_num_seqs": 4,
            "scheduling_policy": None,
            "compilation_config": {"mode": 3},
        },
        FakeArguments,
    )


def test_an_engine_has_vllm_look_at_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rvpo.rollout.vllm.arguments._imported", lambda: FakeArguments)
    with pytest.raises(ConfigError, match="vLLM knows no 'fp9'"):
        VllmConfig(options={"kv_cache_dtype": "fp9"}).check_options()


def test_without_options_vllm_is_not_even_imported() -> None:
    check_arguments({"max_num_seqs": None}, arguments=None)
