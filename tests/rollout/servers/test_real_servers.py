"""Two real vLLM servers on CPUs take weights and say what they compute with them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from string import ascii_letters
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from rvpo.evaluate.weights import SavedWeights
from rvpo.rollout.servers.command import Served, server_start
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.place import ServerPlace, ServerPlaces
from rvpo.rollout.servers.reply import SampledTokens, SampleRequest, read_reply
from rvpo.rollout.servers.settings import ServersConfig
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.rollout.servers.weights.aside import aside
from rvpo.rollout.servers.weights.broadcast import Broadcast
from rvpo.rollout.servers.weights.fan_out import Patience
from rvpo.rollout.servers.weights.gloo_link import GlooLink
from rvpo.rollout.supports import told
from rvpo.runtime.ignore import ignore
from rvpo.runtime.port import LOOPBACK
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.vllm_server import VllmServer
from rvpo.sampling import Sampling
from tests.fakes import make_prompt
from tests.tiny import save_tiny_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None or torch.cuda.is_available(),
        reason="these servers are those of vLLM for CPUs",
    ),
]

PROMPT = [65, 66, 67, 68] * 8
READY_S = 280.0
AGREE = 1e-4
"""Largest difference of two log-probabilities that are equal."""
CONTEXT = 512
RUN = RunLabel("0a1b2c3d")


class Telling(SavedWeights):
    """A model's weights, with a word at the tenth of them."""

    def __init__(self, path: Path, tell: Callable[[], object] = ignore) -> None:
        super().__init__(str(path), torch.float32, trust_remote_code=False)
        self._tell = tell

    def as_saved(self) -> Telling:
        return self

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for number, pair in enumerate(super().__iter__()):
            if number == 10:
                self._tell()
                self._tell = ignore
            yield pair


class RealServers:
    """Servers with a tiny model, of which others with the same shape are the weights.

    Args:
        folder: that of the models and logs.
    """

    def __init__(self, folder: Path, count: int = 2) -> None:
        self._folder = folder
        self.models = [save_tiny_model(folder / f"model-{seed}", seed=seed) for seed in range(4)]
        self._reference: dict[Path, Any] = {}
        self._places = ServerPlaces(LOOPBACK, count)
        self.urls = tuple(place.url for place in self._places.all)
        self._servers = [self._started(place) for place in self._places.all]
        self.http = Http()

    def _started(self, place: ServerPlace) -> VllmServer:
        config = ServersConfig(urls=self.urls, max_context_tokens=CONTEXT)
        served = Served(path=str(self.models[0]), dtype="float32", trust_remote_code=False, seed=1)
        log = self._folder / f"{place.port}.log"
        start = server_start(config, served, place, where="a test", log=log)
        # On a CPU vLLM's worker then needs no process of its own, to import all once more.
        alone = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
        return VllmServer(replace(start, environment={**start.environment, **alone}))

    def ready(self) -> None:
        for server in self._servers:
            server.ready(READY_S)

    def kill(self, number: int) -> None:
        """SIGKILL all its processes."""
        port = str(self._places.all[number].port)
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if port in process.cmdline():
                    for each in (*process.children(recursive=True), process):
                        with suppress(psutil.NoSuchProcess):
                            each.kill()

    def start_again(self, number: int) -> None:
        self._servers[number].close()
        self._servers[number] = self._started(self._places.all[number])
        self._servers[number].ready(READY_S)

    def weights(self, seed: int, tell: Callable[[], object] = ignore) -> Telling:
        return Telling(self.models[seed], tell)

    def version(self, url: str) -> str:
        answer = self.http.run(self.http.ask("GET", url, "/weight_info", timeout_s=60.0))
        return str(answer["weight_version"])

    def sample(self, url: str, tokens: int = 8) -> Any:
        """One choice of a server's answer, drawn at temperature 1."""
        sampling = {"max_tokens": tokens, "logprobs": 0, "ignore_eos": True, "detokenize": False}
        body = {"token_ids": PROMPT, "sampling_params": sampling}
        route = "/inference/v1/generate"
        answer = self.http.run(self.http.ask("POST", url, route, json=body, timeout_s=120.0))
        return answer["choices"][0]

    def asked(self, drawn: Sampling, told_tokens: int) -> SampledTokens:
        """A sample of the first server, as an engine asks for it."""
        request = SampleRequest(
            row=0,
            prompt=make_prompt(),
            prompt_ids=tuple(PROMPT),
            seed=1,
            drawn=drawn,
            stop_ids=(),
            vocabulary=int(self._model(self.models[0]).config.vocab_size),
            told_tokens=told_tokens,
        )
        body = {"token_ids": PROMPT, "sampling_params": {**request.sampling, "ignore_eos": True}}
        route = "/inference/v1/generate"
        text = self.http.run(
            self.http.fetch("POST", self.urls[0], route, json=body, timeout_s=120.0)
        )
        return read_reply(text, self.urls[0], request, range(9, 10), RUN, str)

    def error(self, choice: Any, seed_of: Callable[[int], int]) -> float:
        """Largest difference between a sample's log-probabilities and those of transformers, each
        token's by the weights of its version, given all tokens before it."""
        ids = PROMPT + choice["token_ids"]
        told = torch.tensor([each["logprob"] for each in choice["logprobs"]["content"]])
        errors = []
        for span in choice["weight_versions"]:
            version = RUN.read(span["version"])
            assert version is not None
            model = self._model(self.models[seed_of(version)])
            with torch.no_grad():
                logits = model(torch.tensor([ids])).logits[0, len(PROMPT) - 1 : -1]
            right = logits.log_softmax(-1).gather(1, torch.tensor([ids[len(PROMPT) :]]).T)[:, 0]
            part = slice(span["start"], span["end"])
            errors.append(float((right[part] - told[part]).abs().max()))
        return max(errors)

    def _model(self, path: Path) -> Any:
        if path not in self._reference:
            model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
            self._reference[path] = model.eval()
        return self._reference[path]

    def close(self) -> None:
        self.http.close()
        for server in self._servers:
            server.ask()
        for server in self._servers:
            server.close()
        self._places.close()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServers]:
    servers = RealServers(tmp_path_factory.mktemp("servers"))
    try:
        servers.ready()
        yield servers
    finally:
        servers.close()


def made(real: RealServers, *, in_flight: bool = False) -> Broadcast:
    """With buckets of a few weights each."""
    link = GlooLink(Patience(), bucket_bytes=8192)
    return Broadcast(real.http, link, real.urls, Ranks.alone(), RUN, in_flight=in_flight)


def test_after_each_update_every_server_computes_with_the_weights_of_its_version(
    real: RealServers,
) -> None:
    sync = made(real)
    for version in range(5):
        seed = version % len(real.models)
        assert sync.send(real.weights(seed), version) == real.urls
        for url in real.urls:
            assert real.version(url) == RUN.of(version)
            choice = real.sample(url)
            assert [span["version"] for span in choice["weight_versions"]] == [RUN.of(version)]
            assert real.error(choice, lambda _, seed=seed: seed) < AGREE
    sync.close()


def test_a_server_tells_the_tokens_that_could_be_drawn_and_ends_where_a_text_comes_up(
    real: RealServers,
) -> None:
    sync = made(real)
    sync.send(real.weights(0), 9)
    sync.close()
    limits = {"top_p": 0.9, "top_k": 64, "min_p": 0.02}
    drawn = Sampling(temperature=1.0, max_completion_tokens=64, **limits)
    free = real.asked(drawn, told(64, 2**17))
    assert free.supports is not None
    ids, counts = free.supports
    start, model = 0, real._model(real.models[0])
    with torch.no_grad():
        table = model(torch.tensor([[*PROMPT, *free.token_ids]])).logits[0, len(PROMPT) - 1 : -1]
    for row, token, logprob, count in zip(
        table, free.token_ids, free.logprobs, counts, strict=True
    ):
        support = list(ids[start : start + count])
        start += count
        assert count < 80
        right = row[support].log_softmax(-1)[support.index(token)]
        assert logprob == pytest.approx(float(right), abs=AGREE)
    ended = real.asked(replace(drawn, stop=tuple(ascii_letters)), 0)
    assert ended.supports is None
    assert ended.finish_reason == "stop"
    assert len(ended.token_ids) < 64


class Torn(Exception):
    """What gathering raises."""


def test_weights_that_were_torn_leave_nothing_behind(real: RealServers) -> None:
    """Of the layers that were not complete vLLM keeps the parts that came."""
    sync = made(real)

    def tear() -> None:
        raise Torn

    with pytest.raises(Torn):
        sync.send(real.weights(1, tear), 10)
    assert sync.send(real.weights(2), 11) == real.urls
    assert all(real.error(real.sample(url), lambda _: 2) < AGREE for url in real.urls)
    sync.close()


def test_a_sample_in_flight_goes_on_under_new_weights_as_if_they_had_read_all_of_it(
    real: RealServers,
) -> None:
    sync = made(real, in_flight=True)
    sync.send(real.weights(0), 20)
    version = 20
    for _ in range(20):
        sampling = aside(lambda: real.sample(real.urls[0], CONTEXT - len(PROMPT)))
        while not sampling.done():
            version += 1
            assert sync.send(real.weights(version % 4), version) == real.urls
        choice = sampling.result()
        assert real.error(choice, lambda of: of % 4) < AGREE
        if len(choice["weight_versions"]) > 1:
            break
    else:
        pytest.fail("no weights came while a sample was generated")
    sync.close()


def test_a_server_killed_during_an_update_costs_the_other_nothing_and_comes_back(
    real: RealServers,
) -> None:
    sync = made(real)
    assert sync.send(real.weights(0), 100) == real.urls
    assert sync.send(real.weights(1, lambda: real.kill(0)), 101) == real.urls[1:]
    assert set(sync.losses()) == {real.urls[0]}
    assert real.version(real.urls[1]) == RUN.of(101)
    assert real.error(real.sample(real.urls[1]), lambda _: 1) < AGREE
    real.start_again(0)
    assert real.version(real.urls[0]) == "default"
    assert sync.send(real.weights(3), 102) == real.urls
    assert all(real.version(url) == RUN.of(102) for url in real.urls)
    assert all(real.error(real.sample(url), lambda _: 3) < AGREE for url in real.urls)
    sync.close()
