"""The settings of servers: what is given wrong is one sentence, before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.config.diff import check_unchanged
from rvpo.config.run import dump_config
from rvpo.errors import ConfigError
from rvpo.rollout import ServersConfig
from rvpo.rollout.servers.settings import server_url
from rvpo.runtime.ranks import Ranks
from tests.configs import tiny_config

ALONE = Ranks(rank=0, size=1, device=torch.device("cpu"))
ON_GPU = Ranks(rank=0, size=1, device=torch.device("cuda:0"))
LOCAL = "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"urls": [LOCAL], "start": {}}, "urls and start are both given"),
        (
            {"urls": ["http://Node3:8000/", "http://node3:8000"]},
            "urls: http://node3:8000 is named twice",
        ),
        ({"urls": [LOCAL], "least": 2}, "least: 2 is more than the 1 servers"),
        ({"start": {"servers": 2}, "least": 3}, "least: 3 is more than the 2 servers"),
        ({"start": {"devices": [4, 4]}}, "devices: [4, 4] must be different GPUs"),
        (
            {"start": {"servers": 2, "devices": [4, 5]}, "tensor_parallel": 2},
            "start.devices: 2 GPUs cannot be shared out as 2 servers of 2; name 4",
        ),
        ({"urls": ["node3:8000"]}, "must be an address such as http://node3:8000"),
        ({"urls": ["http://[::1:8000"]}, "must be an address such as http://node3:8000"),
        ({"urls": ["http://a b:8000"]}, "must be an address such as http://node3:8000"),
        ({"urls": ["http://0.0.0.0:8000"]}, "0.0.0.0 is no address that a server can be asked"),
        ({"options": {"tensor_parallel_size": 2}}, "write rollout.engine.tensor_parallel"),
        ({"options": {"no_such": 2}}, "no_such is no option of vLLM"),
    ],
)
def test_a_wrong_setting_is_a_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ServersConfig.model_validate(given)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        {"urls": ["http://rvpo:hunter2hunter2@node3:8000"]},
        {"urls": ["http://node3:8000?key=hunter2hunter2"]},
        {"key_variable": "hunter2hunter2"},
    ],
)
def test_a_key_in_the_wrong_place_is_not_repeated(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        ServersConfig.model_validate(given)
    (problem,) = refused.value.errors()
    assert "key_variable" in problem["msg"] or "environment variable" in problem["msg"]
    assert "hunter2" not in problem["msg"]


@given(
    st.sampled_from(["http", "https"]),
    st.sampled_from(["node3", "Node3.cluster", "10.0.0.7", "[fd00::1]"]),
    st.integers(1, 65535),
    st.sampled_from(["", "/", "/vllm", "/vllm/"]),
)
def test_an_address_has_one_spelling(scheme: str, host: str, port: int, path: str) -> None:
    found = server_url(f" {scheme}://{host}:{port}{path} ")
    assert found == server_url(found) == f"{scheme}://{host.lower()}:{port}{path.rstrip('/')}"


def refused_here(config: ServersConfig, ranks: Ranks = ALONE) -> str:
    with pytest.raises(ConfigError) as refused:
        config.check_place(ranks, concurrent=False)
    return str(refused.value)


def test_a_run_needs_servers() -> None:
    assert "has neither urls nor start; give urls" in refused_here(ServersConfig())


def test_servers_are_of_closed_networks_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    public = {"urls": ["http://8.8.8.8:8000"]}
    with pytest.raises(ValidationError, match=r"8\.8\.8\.8, which is of no closed network"):
        ServersConfig.model_validate(public)
    ServersConfig.model_validate(public | {"public_addresses": True}).check_place(
        ALONE, concurrent=False
    )
    for host in ("127.0.0.1", "localhost", "10.1.2.3", "192.168.0.9", "[fd00::1]"):
        ServersConfig(urls=(f"http://{host}:8000",)).check_place(ALONE, concurrent=False)
    # A name is looked up where the run is to begin.
    named = ServersConfig(urls=("http://node3:8000",))
    monkeypatch.setattr(
        "rvpo.rollout.servers.settings.public_addresses", lambda host: ["9.9.9.9"] * (host != "")
    )
    said = refused_here(named)
    assert said.startswith("rollout.engine.urls: http://node3:8000 is at 9.9.9.9, which is of no")
    assert "public_addresses: true" in said


def test_weights_are_sent_from_closed_networks_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for address in ("8.8.8.8", "0.0.0.0", "2606:4700::1"):
        with pytest.raises(ValidationError, match=f"{address} is of no closed network"):
            ServersConfig(urls=(LOCAL,), address=address)
        ServersConfig(urls=(LOCAL,), address=address, public_addresses=True)
    ServersConfig(urls=(LOCAL,), address="127.0.0.1").check_place(ALONE, concurrent=False)
    monkeypatch.setattr(
        "rvpo.rollout.servers.settings.public_addresses",
        lambda host: ["9.9.9.9"] * (host == "head"),
    )
    said = refused_here(ServersConfig(urls=(LOCAL,), address="head"))
    assert said.startswith("rollout.engine.address: head is 9.9.9.9, which is of no closed")


@pytest.mark.parametrize("address", ["nonsense..host", "192.0.2.1", "fd00::192:0:2:1"])
def test_weights_are_sent_from_an_address_of_rank_0s_machine(address: str) -> None:
    config = ServersConfig(urls=(LOCAL,), address=address, public_addresses=True)
    said = refused_here(config)
    assert said.startswith(f"rollout.engine.address: {address} is no address of rank 0's machine (")
    other = Ranks(rank=1, size=2, device=torch.device("cpu"))
    config.check_place(other, concurrent=False)


@pytest.mark.parametrize(
    "urls",
    [
        ("http://localhost:8000", "http://127.0.0.1:8000"),
        ("http://127.1", "http://127.0.0.1:80"),
        ("https://[::1]", "https://[0:0::1]:443/"),
    ],
)
def test_a_server_has_one_name(urls: tuple[str, ...]) -> None:
    said = refused_here(ServersConfig(urls=urls))
    assert "are both at" in said
    assert said.endswith("and so one server; name it once")


def test_servers_of_one_machine_differ_by_port_or_path() -> None:
    urls = (LOCAL, "http://127.0.0.1:8001", f"{LOCAL}/a", f"{LOCAL}/b", "http://127.0.0.2:8000")
    ServersConfig(urls=urls).check_place(ALONE, concurrent=False)


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
@pytest.mark.parametrize("host", ["node3", "10.0.0.1", "[fd00::1]"])
def test_the_usual_port_is_written_out(scheme: str, port: int, host: str) -> None:
    assert server_url(f"{scheme}://{host}/") == f"{scheme}://{host}:{port}"
    with pytest.raises(ValidationError, match="is named twice"):
        ServersConfig(urls=(f"{scheme}://{host}", f"{scheme}://{host}:{port}"))


def test_the_key_has_to_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = ServersConfig(urls=(LOCAL,), key_variable="RVPO_SERVER_KEY")
    for text in ("", "  ", "two words", "line\nbreak", "\u00e4"):
        monkeypatch.setenv("RVPO_SERVER_KEY", text)
        said = refused_here(config)
        assert said.startswith("rollout.engine.key_variable: RVPO_SERVER_KEY holds no key")
        assert text.strip() == "" or text not in said
    monkeypatch.setenv("RVPO_SERVER_KEY", " secret ")
    assert config.key() == "secret"
    config.check_place(ALONE, concurrent=False)
    assert ServersConfig().key() is None


def test_servers_of_the_run_have_gpus_where_training_has_some() -> None:
    on_gpu = ServersConfig.model_validate(
        {"start": {"servers": 2, "devices": [4, 5, 6, 7]}, "tensor_parallel": 2}
    )
    assert "this machine has no GPU; leave it out here" in refused_here(on_gpu)
    bare = ServersConfig.model_validate({"start": {"servers": 2}, "tensor_parallel": 2})
    assert "start.devices: name the GPUs of the servers" in refused_here(bare, ON_GPU)
    assert bare.problem(on_gpu=False, concurrent=True, alone=False) == ""
    assert (on_gpu.own_gpus(), on_gpu.gpus_needed(4)) == ((4, 5, 6, 7), 8)
    assert on_gpu.gpu_remedy(4, 8) == ""
    assert on_gpu.gpu_remedy(5, 8).startswith("at least 9 GPUs, and rollout.engine.start.devices")
    nccl = ServersConfig(urls=(LOCAL,), weights="nccl")
    assert "rollout.engine.weights: nccl needs GPUs" in refused_here(nccl)


def test_vllm_is_required_only_where_servers_are_started() -> None:
    assert [each.module for each in ServersConfig(urls=(LOCAL,)).requires()] == ["aiohttp"]
    started = ServersConfig.model_validate({"start": {}})
    assert [each.module for each in started.requires()] == ["aiohttp", "vllm"]


def test_the_sender_over_nccl_is_vllms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rvpo.rollout.requirement.installed", lambda module: module != "vllm")
    config = ServersConfig(urls=(LOCAL,))
    assert "vllm is not installed" in refused_here(config, ON_GPU)
    config.check_place(ALONE, concurrent=False)
    ServersConfig(urls=(LOCAL,), weights="gloo").check_place(ON_GPU, concurrent=False)


def test_a_server_is_asked_for_as_many_samples_as_it_makes_at_once() -> None:
    assert ServersConfig().at_once == 256
    assert ServersConfig(options={"max_num_seqs": 16}).at_once == 16
    assert ServersConfig(options={"max_num_seqs": 16}, concurrency=9).at_once == 9


def test_a_resumed_run_may_have_other_servers(tmp_path: Path) -> None:
    def run(**engine: Any) -> Any:
        return tiny_config(tmp_path, rollout={"engine": {"name": "servers", **engine}})

    stored = tmp_path / "config.yaml"
    stored.write_text(dump_config(run(urls=[LOCAL])), encoding="utf-8")
    other = run(urls=["http://10.0.0.1:8000", "http://10.0.0.2:8000"], least=2, tensor_parallel=2)
    check_unchanged(other, stored)
    check_unchanged(run(start={"servers": 2}), stored)
    with pytest.raises(ConfigError, match="max_context_tokens"):
        check_unchanged(run(urls=[LOCAL], max_context_tokens=64), stored)
