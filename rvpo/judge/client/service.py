"""All the judging of a run on one rank: a served judge, the workers, and the line to them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from rvpo.config.judge import JudgeConfig
from rvpo.judge.client.client import JudgeAddresses, JudgeClient
from rvpo.judge.client.server import JudgeServer, fingerprint
from rvpo.judge.client.workers import JudgeWorkers
from rvpo.judge.types import Usage
from rvpo.judge.worker.endpoint import all_endpoints
from rvpo.model_files import resolve_model


class JudgeService:
    """Starts what the settings name, and ends all of it.

    Rank 0 has the served judge and the workers, so that limits hold over all ranks. A served
    judge takes half a minute to come up: it starts at once, and `connect` waits for it.

    Args:
        is_main: True on rank 0.
        on_gpu: True where a served judge runs on a GPU.
        spent: usage of the judge before, for whoever counts.

    Raises:
        ConfigError: there is no such model to serve, or an endpoint cannot be used.
    """

    def __init__(
        self, config: JudgeConfig, *, is_main: bool, on_gpu: bool, spent: Usage | None = None
    ) -> None:
        self.spent = spent
        self._config = config
        self._is_main = is_main
        self._open = ExitStack()
        self._server: JudgeServer | None = None
        if is_main:
            # Workers would find out too, after minutes of loading models. The last has least.
            all_endpoints(config, (config.workers - 1, config.workers))
        if config.serve is not None and is_main:
            self._model_path = resolve_model(config.serve.model, "judge.serve.model")
            self._server = JudgeServer.start(config.serve, self._model_path, on_gpu=on_gpu)
            self._open.callback(self._server.close)

    def connect(
        self, exchange: Callable[[JudgeAddresses | None], list[JudgeAddresses | None]]
    ) -> JudgeClient:
        """This rank's line to the workers. Every rank must call.

        Args:
            exchange: gives every rank the value of each, in rank order.

        Raises:
            EngineError: the served judge does not come up.
            RewardError: a worker does not start.
        """
        addresses: JudgeAddresses | None = None
        if self._is_main:
            config = self._with_endpoints()
            judge_end = (lambda: None) if self._server is None else self._server.end_of
            workers = JudgeWorkers.start(config, judge_end=judge_end)
            self._open.callback(workers.close)
            addresses = workers.addresses
        addresses = exchange(addresses)[0]
        assert addresses is not None
        client = JudgeClient(addresses)
        self._open.callback(client.close)
        return client

    def close(self) -> None:
        """Drop what is unanswered and leave nothing running. A second call does nothing."""
        self._open.close()

    def _with_endpoints(self) -> JudgeConfig:
        """The settings once the served judge, if there is one, answers."""
        if self._server is None:
            return self._config
        self._server.ready()
        served = {
            "serve": None,
            "endpoints": [self._server.endpoint()],
            # Verdicts of other weights under the same name must not be taken for this judge's.
            "revision": " ".join(
                filter(None, (self._config.revision, fingerprint(self._model_path)))
            ),
            "model": self._config.model or self._server.endpoint().model,
        }
        return JudgeConfig.model_validate(self._config.model_dump() | served)
