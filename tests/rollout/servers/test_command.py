"""The command line of a server says what a run's servers have to be, and holds no secret."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.fields import COUNT, FLAG, LIST, NUMBER, SIZES, TABLE, TEXT, WHOLE
from rvpo.rollout.lora_config import LoraConfig
from rvpo.rollout.servers.command import (
    ADAPTER_RANKS,
    Served,
    as_words,
    model_name,
    server_options,
    server_start,
)
from rvpo.rollout.servers.place import ServerPlace
from rvpo.rollout.servers.settings import ServersConfig
from rvpo.rollout.vllm.options import VLLM_OPTIONS
from tests.rollout.vllm.test_options import class_of


def served(path: str = "org/model", **given: Any) -> Served:
    usual = {"dtype": "bfloat16", "trust_remote_code": False, "seed": 3}
    return Served(path=path, **(usual | given))


def options(
    engine: ServersConfig | None = None, model: Served | None = None, *, on_gpu: bool = True
) -> list[str]:
    return list(server_options(engine or ServersConfig(), model or served(), on_gpu=on_gpu))


def value_of(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_a_server_gives_token_ids_and_the_log_probabilities_of_sampling() -> None:
    words = options()
    assert "--enable-scale-out" in words
    assert value_of(words, "--logprobs-mode") == "processed_logprobs"
    assert value_of(words, "--generation-config") == "vllm"
    assert value_of(words, "--dtype") == "bfloat16"


def test_a_server_is_of_the_size_that_the_settings_say() -> None:
    engine = ServersConfig(tensor_parallel=4, gpu_memory=0.8, max_context_tokens=4096)
    words = options(engine)
    assert value_of(words, "--tensor-parallel-size") == "4"
    assert value_of(words, "--gpu-memory-utilization") == "0.8"
    assert value_of(words, "--max-model-len") == "4096"
    assert "--max-model-len" not in options(ServersConfig())


@pytest.mark.parametrize(
    ("on_gpu", "asked", "backend"),
    [
        (True, None, "nccl"),
        (False, None, "rvpo_gloo"),
        (True, "gloo", "rvpo_gloo"),
        (True, "nccl", "nccl"),
    ],
)
def test_weights_come_by_nccl_on_gpus_and_by_gloo_elsewhere(
    on_gpu: bool, asked: Any, backend: str
) -> None:
    words = options(ServersConfig(weights=asked), on_gpu=on_gpu)
    assert json.loads(value_of(words, "--weight-transfer-config")) == {"backend": backend}
    assert value_of(words, "--load-format") == "dummy"
    assert ("--enforce-eager" in words) is not on_gpu
    assert ("--no-enable-chunked-prefill" in words) is not on_gpu
    assert ("--gpu-memory-utilization" in words) is on_gpu


def test_scales_of_fewer_bits_are_read_from_the_model() -> None:
    assert "--load-format" not in options(ServersConfig(options={"kv_cache_dtype": "fp8"}))


@given(st.integers(1, 512))
@settings(deadline=None)
def test_with_adapters_a_server_has_the_models_own_weights_and_room_for_one_adapter(
    rank: int,
) -> None:
    words = options(model=served(adapter=LoraConfig(rank=rank)))
    assert "--enable-lora" in words
    assert value_of(words, "--max-loras") == "1"
    room = int(value_of(words, "--max-lora-rank"))
    assert room in ADAPTER_RANKS
    assert room >= rank
    assert not {"--load-format", "--weight-transfer-config"} & set(words)


def test_the_ranks_of_adapters_are_those_of_vllm() -> None:
    lines = [
        line for line in class_of_module("config/lora.py").body if isinstance(line, ast.Assign)
    ]
    ranks = next(line.value for line in lines if "MaxLoRARanks" in ast.unparse(line.targets[0]))
    assert ast.literal_eval(ast.unparse(ranks).removeprefix("Literal")) == list(ADAPTER_RANKS)


def class_of_module(file: str) -> ast.Module:
    import importlib.util

    spec = importlib.util.find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    return ast.parse((Path(spec.origin).parent / file).read_text())


def test_every_option_that_is_written_is_one_of_vllms_server() -> None:
    engine = ServersConfig(max_context_tokens=8, tensor_parallel=2)
    written = {
        word.removeprefix("--").removeprefix("no-").replace("-", "_")
        for adapter in (None, LoraConfig())
        for on_gpu in (True, False)
        for word in options(engine, served(adapter=adapter, trust_remote_code=True), on_gpu=on_gpu)
        if word.startswith("--")
    }
    known = {
        line.target.id
        for file, name in (
            ("engine/arg_utils.py", "EngineArgs"),
            ("entrypoints/launchers/cli_args.py", "BaseFrontendArgs"),
            ("entrypoints/launchers/cli_args.py", "FrontendArgs"),
        )
        for line in class_of(file, name).body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    }
    renamed = {"max_lora_rank", "max_loras", "enable_lora"}  # of its class of adapters
    assert written - known - renamed == set()


VALUES = {
    COUNT: st.integers(1, 10**6),
    WHOLE: st.integers(0, 10**6),
    NUMBER: st.floats(0, 10, allow_nan=False),
    FLAG: st.booleans(),
    TEXT: st.text("abc-_=. 9", min_size=1),
    TABLE: st.dictionaries(st.text("ab", min_size=1), st.integers() | st.booleans(), max_size=2),
    LIST: st.lists(st.text("abc", min_size=1), min_size=1, max_size=3),
    SIZES: st.lists(st.integers(1, 99), min_size=1, max_size=3),
}


@given(st.sampled_from(sorted(VLLM_OPTIONS.allowed)), st.data())
@settings(deadline=None)
def test_every_option_of_a_user_arrives_with_its_value(name: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[VLLM_OPTIONS.allowed[name]])
    first, *rest = as_words(name, value)
    flag = "--" + name.replace("_", "-")
    match value:
        case bool():
            assert [first, *rest] == [flag if value else flag.replace("--", "--no-", 1)]
        case dict():
            assert first == flag
            assert [json.loads(word) for word in rest] == [value]
        case list():
            assert [first, *rest] == [flag, *map(str, value)]
        case _:
            assert first == f"{flag}={value}"
            assert rest == []
    assert options(ServersConfig(options={name: value}))[-1 - len(rest) :] == [first, *rest]


def test_an_option_that_is_null_is_left_to_vllm() -> None:
    assert not any(
        "seqs" in word for word in options(ServersConfig(options={"max_num_seqs": None}))
    )


def test_the_number_of_gpus_has_a_setting_of_its_own() -> None:
    with pytest.raises(ValueError, match=r"write rollout\.engine\.tensor_parallel"):
        ServersConfig(options={"tensor_parallel_size": 2})


def test_the_key_is_in_the_environment_and_in_no_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "of another server")
    place = ServerPlace("127.0.0.1", 8000, "2,3")
    start = server_start(ServersConfig(), served(), place, where="a test", key="secret")
    assert start.environment["VLLM_API_KEY"] == "secret"
    assert not any("secret" in word for word in (*start.program, *start.options))
    assert start.environment["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert start.environment["VLLM_SERVER_DEV_MODE"] == "1"
    keyless = server_start(ServersConfig(), served(), place, where="a test")
    assert "VLLM_API_KEY" not in keyless.environment


def test_adapters_may_be_loaded_where_the_run_has_some(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"
    monkeypatch.delenv(name, raising=False)
    place = ServerPlace("127.0.0.1", 8000)
    plain = server_start(ServersConfig(), served(), place, where="")
    assert name not in plain.environment
    lora = server_start(ServersConfig(), served(adapter=LoraConfig()), place, where="")
    assert lora.environment[name] == "1"


def test_foreign_code_runs_only_where_it_is_allowed() -> None:
    assert "--trust-remote-code" not in options()
    assert "--trust-remote-code" in options(model=served(trust_remote_code=True))


@pytest.mark.parametrize(
    ("host", "url"), [("10.0.0.3", "http://10.0.0.3:80"), ("fd00::3", "http://[fd00::3]:80")]
)
def test_an_address_of_ipv6_is_bracketed(host: str, url: str) -> None:
    assert ServerPlace(host, 80).url == url


def test_a_model_has_one_name_wherever_it_is_and_another_where_it_differs(tmp_path: Path) -> None:
    def saved(folder: str, config: str, weights: str = "w") -> Served:
        path = tmp_path / folder / "my model"
        path.mkdir(parents=True)
        (path / "config.json").write_text(config)
        (path / "model.safetensors").write_text(weights)
        return served(str(path))

    def with_adapter(model: Served) -> Served:
        return served(model.path, adapter=LoraConfig())

    here, there = saved("here", "{}"), saved("there", "{}")
    other, learned = saved("other", '{"hidden_size": 2}'), saved("learned", "{}", "weights")
    assert model_name(here) == model_name(there)
    assert model_name(here).startswith("my-model@")
    assert model_name(other) != model_name(here)
    # Weights of the model's own count only where adapters are added to them.
    assert model_name(learned) == model_name(here)
    assert model_name(with_adapter(there)) == model_name(with_adapter(here))
    assert model_name(with_adapter(learned)) != model_name(with_adapter(here))
    assert model_name(served("org/model")) == "org/model"
