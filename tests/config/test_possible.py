"""What no system can look for, listen on or ask through is refused when settings are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.judge.worker.proxy import proxy_of
from tests.configs import tiny_settings

PLACES = {
    "output": lambda text: {"output": text},
    "model.path": lambda text: {"model": {"path": text}},
    "data.train.path": lambda text: {"data": {"train": {"path": text}}},
    "data.train.rubrics": lambda text: {
        "data": {"train": {"rubrics": text, "format": "healthbench"}}
    },
    "judge.cache": lambda text: {"judge": {"serve": "x", "cache": text}},
    "judge.serve.model": lambda text: {"judge": {"serve": text}},
}


def read(sections: dict[str, Any]) -> RunConfig:
    return RunConfig.model_validate({**tiny_settings(Path("m"), Path("run")), **sections})


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", ["a\0b", "\0", "a\x1bb", "\ud800", "a\u202eb"], ids=ascii)
def test_a_path_that_no_system_has_is_refused(place: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"path|valid unicode|valid string"):
        read(PLACES[place](text))


@pytest.mark.parametrize("place", ["output", "judge.cache"])
@pytest.mark.parametrize("text", ["x" * 256, "runs/" + "ü" * 128, "a/" * 2000], ids=len)
def test_a_path_that_cannot_be_written_is_refused(place: str, text: str) -> None:
    with pytest.raises(ValueError, match="is too long for a path"):
        read(PLACES[place](text))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", ["runs/[/x]", "größe/日本", "a b", "x" * 255, "/" + "a/" * 1500])
def test_a_path_that_can_be_is_taken(place: str, text: str) -> None:
    assert read(PLACES[place](text)) is not None


@pytest.mark.parametrize("host", ["a..b", "", " ", "a b", "a\0b", "x" * 64 + ".b", "a/b", "\ud800"])
def test_a_host_that_cannot_be_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"judge\.host"):
        read({"judge": {"serve": "x", "host": host}})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "node-7.cluster", "größe"])
def test_a_host_that_can_be_is_taken(host: str) -> None:
    assert read({"judge": {"serve": "x", "host": host}}) is not None


@pytest.mark.parametrize(
    "address", ["http://[::1", "proxy.example:3128", "socks5://p:1080", "http://", "http://h:x"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_cannot_be_asked_is_one_sentence(
    address: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(f"{scheme}_proxy", address)
    with pytest.raises(ConfigError, match=f"{scheme}_proxy in the environment"):
        proxy_of(URL(f"{scheme}://judge.example/v1"))
    assert proxy_of(URL(f"{scheme}://127.0.0.1/v1")) is None
    assert proxy_of(URL(f"{scheme}://[::1]/v1")) is None
    monkeypatch.setenv("no_proxy", "judge.example")
    assert proxy_of(URL(f"{scheme}://judge.example/v1")) is None


@pytest.mark.parametrize("number", [2**63, 10**400, -(2**63) - 1])
@pytest.mark.parametrize(
    "section", [{"steps": 0}, {"seed": 0}, {"rollout": {"prompts_per_step": 0}}]
)
def test_a_number_that_no_array_holds_is_refused(section: dict[str, Any], number: int) -> None:
    name, inner = next(iter(section.items()))
    value = dict.fromkeys(inner, number) if isinstance(inner, dict) else number
    with pytest.raises(ValueError, match=r"less than|greater than"):
        read({name: value})
