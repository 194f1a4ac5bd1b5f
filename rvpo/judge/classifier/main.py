"""The process that serves a sequence classifier on a Unix socket.

    python -m rvpo.judge.classifier.main --model PATH --served-model-name NAME --uds SOCKET

It speaks vLLM's `/classify` for one input a call: `input`, a text, with or without a `text_pair`,
or `messages`, put into the chat template of the tokenizer; `use_activation: false` for the scores
before softmax or sigmoid. `/health` answers once the model is there. An input that it cannot score
is refused with status 400 and a sentence; nothing is cut off.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from aiohttp import web
from pydantic import BaseModel, ValidationError, model_validator

from rvpo.judge.classifier.batches import Batches
from rvpo.judge.classifier.model import DTYPES, Classifier, InputRefused, Loading

_MOST_BYTES: Final = 2**26


class ClassifyCall(BaseModel):
    """The body of a call: a text, alone or with its pair, or a chat."""

    input: str | None = None
    text_pair: str | None = None
    messages: list[dict[str, str]] | None = None
    use_activation: bool = True

    @model_validator(mode="after")
    def _one_input(self) -> Self:
        if (self.input is None) == (self.messages is None):
            raise ValueError("either `input` or `messages` is required, and not both")
        return self


class ClassifierApp:
    """The routes of a server.

    Args:
        classifier: the one that is served.
        name: its name in replies.
        most: inputs of a forward pass.
    """

    def __init__(self, classifier: Classifier, name: str, most: int) -> None:
        self._classifier = classifier
        self._name = name
        self._batches: Batches[Mapping[str, list[int]], list[float]] = Batches(
            classifier.logits, most if classifier.batches else 1
        )

    async def serve(self, socket: Path) -> None:
        """Serve on a Unix socket, until cancelled."""
        app = web.Application(client_max_size=_MOST_BYTES)
        app.router.add_post("/v1/classify", self._classify)
        app.router.add_get("/health", self._health)
        # A call whose client has gone shall not be computed.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        try:
            await web.UnixSite(runner, str(socket)).start()
            await self._batches.run()
        finally:
            await runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _classify(self, request: web.Request) -> web.Response:
        try:
            call = ClassifyCall.model_validate_json(await request.read())
            given = self._classifier.tokens(call.model_dump(exclude_none=True))
            scores = await self._batches.add(given)
            if not all(map(math.isfinite, scores)):
                raise InputRefused("its scores are no finite numbers; see precision")
        except (InputRefused, ValidationError) as error:
            return _error(400, str(error))
        except (RuntimeError, ValueError, IndexError) as error:  # of the model, such as its memory
            return _error(500, f"{type(error).__name__}: {error}")
        if call.use_activation:
            scores = self._classifier.probabilities(scores)
        best = max(range(len(scores)), key=scores.__getitem__)
        label = self._classifier.labels.get(best)
        item = {"index": 0, "label": label, "probs": scores, "num_classes": len(scores)}
        tokens = len(given["input_ids"])
        return web.json_response(
            {
                "object": "list",
                "created": int(time.time()),
                "model": self._name,
                "data": [item],
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }
        )


def _error(status: int, message: str) -> web.Response:
    error = {"message": message, "code": status}
    return web.json_response({"error": error}, status=status)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 2 where there is no such classifier."""
    options = _options().parse_args(arguments)
    loading = Loading(
        path=options.model,
        precision=options.precision,
        device=options.device,
        max_input_tokens=options.max_input_tokens,
        allow_pickle=options.allow_pickle,
    )
    try:
        classifier = Classifier.load(loading)
    except Exception as error:  # at a broken file the loaders raise anything
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        print(line, file=sys.stderr, flush=True)
        return 2
    app = ClassifierApp(classifier, options.served_model_name, options.batch)
    asyncio.run(app.serve(options.uds))
    return 0


def _options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser()
    options.add_argument("--model", required=True)
    options.add_argument("--served-model-name", required=True)
    options.add_argument("--uds", required=True, type=Path)
    options.add_argument("--precision", choices=list(DTYPES), default="fp32")
    options.add_argument("--device", default="cpu")
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--max-input-tokens", type=int)
    options.add_argument("--allow-pickle", action="store_true")
    return options


if __name__ == "__main__":
    sys.exit(main())
