"""The server of a classifier, asked as a run asks it, over its Unix socket."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, UnixConnector

from rvpo.config.classifier import ClassifierConfig, ClassifierJudge
from rvpo.judge.classifier.main import ClassifierApp, main
from rvpo.judge.classifier.model import Classifier, Loading
from rvpo.judge.scores import Scores
from rvpo.judge.types import Answer, Job, Question
from rvpo.judge.worker.asker import Asker
from tests.classifiers import save_tiny_classifier

CHAT, LOGITS = Question("score", "chat"), Question("score", "chat", logits=True)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    folder = save_tiny_classifier(tmp_path_factory.mktemp("guard"))
    return Classifier.load(Loading(str(folder)))


def at(socket: Path, **given: Any) -> ClassifierJudge:
    endpoints = [{"url": "http://localhost/v1", "socket": str(socket)}]
    told = {"model": "guard", "endpoints": endpoints, "cache": None, **given}
    return ClassifierConfig.model_validate(told).as_judge("classify")


def served(classifier: Classifier, work: Callable[[Path], Awaitable[Any]]) -> Any:
    """What some work with the server's socket gives."""

    async def run() -> Any:
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            socket = Path(folder) / "http"
            serving = asyncio.create_task(ClassifierApp(classifier, "guard", 1).serve(socket))
            while not socket.exists():
                await asyncio.sleep(0.001)
            try:
                return await work(socket)
            finally:
                serving.cancel()
                with suppress(asyncio.CancelledError):
                    await serving

    return asyncio.run(run())


def ask(classifier: Classifier, *questions: Question, response: str = "Yes.") -> list[Answer]:
    job = Job(conversation=(("user", "Hello?"),), response=response, questions=questions)

    async def work(socket: Path) -> list[Answer]:
        async with Asker(at(socket, attempts=1)) as asker:
            return await asker.answer(job)

    found: list[Answer] = served(classifier, work)
    return found


def test_a_run_gets_the_scores_of_the_classifier(classifier: Classifier) -> None:
    probable, logits = ask(classifier, CHAT, LOGITS)
    chat = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Yes."}]
    given = classifier.tokens({"messages": chat})
    (expected,) = classifier.logits([given])
    assert Scores.from_text(logits.reason).values == tuple(expected)
    found = Scores.from_text(probable.reason)
    assert sum(found.values) == pytest.approx(1)
    assert found.label == ("safe", "unsafe")[found.best]
    assert (probable.model, probable.usage.input_tokens) == ("guard", len(given["input_ids"]))


def test_an_input_that_is_too_long_is_missing_with_this_reason(classifier: Classifier) -> None:
    (answer,) = ask(classifier, CHAT, response="x" * 300)
    assert (answer.value, answer.failure) == (None, "input too long")
    assert "and the classifier reads 256" in answer.detail
    assert answer.usage.requests == 1


class Broken(Classifier):
    """Computes what is told."""

    def __init__(self, whole: Classifier, found: float | Exception) -> None:
        self.__dict__ |= vars(whole)
        self._found = found

    def logits(self, inputs: Any) -> list[list[float]]:
        if isinstance(self._found, Exception):
            raise self._found
        return [[self._found] * 2 for _ in inputs]


@pytest.mark.parametrize(
    ("found", "failure", "detail"),
    [
        (float("nan"), "http 400", "no finite numbers"),
        (RuntimeError("out of memory"), "http 500", "RuntimeError: out of memory"),
    ],
)
def test_what_a_model_cannot_compute_is_missing(
    classifier: Classifier, found: Any, failure: str, detail: str
) -> None:
    (answer,) = ask(Broken(classifier, found), CHAT)
    assert (answer.value, answer.failure) == (None, failure)
    assert detail in answer.detail


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"input": 3}', b'{"messages": [3]}', b"\xff"]
)
def test_a_call_that_is_none_is_refused_and_the_server_goes_on(
    classifier: Classifier, body: bytes
) -> None:
    async def work(socket: Path) -> tuple[int, Any]:
        async with ClientSession(connector=UnixConnector(str(socket))) as session:
            async with session.post("http://localhost/v1/classify", data=body) as reply:
                first = reply.status, json.loads(await reply.read())
            async with session.get("http://localhost/health") as reply:
                assert reply.status == 200
        return first

    status, said = served(classifier, work)
    assert status == 400
    assert said["error"]["message"]


def test_a_folder_without_a_classifier_is_one_sentence(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["--served-model-name", "x", "--uds", str(tmp_path / "http")]
    assert main(["--model", str(tiny_model), *options]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"'{tiny_model}' is no trained")
    assert main(["--model", str(tmp_path), *options]) == 2
