"""All the judging of a run on one rank: a served judge, the workers, and the line to them."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import ExitStack

from rvpo.config.judge import JudgeConfig
from rvpo.judge.client.client import JudgeAddresses, JudgeClient
from rvpo.judge.client.probe import Counted
from rvpo.judge.client.server import JudgeServer, fingerprint
from rvpo.judge.client.workers import JudgeWorkers
from rvpo.judge.types import Answer, Job
from rvpo.model_files import resolve_model
from rvpo.runtime.network import is_any, main_address
from rvpo.runtime.port import LOOPBACK
from rvpo.runtime.ranks import Ranks


class JudgeService:
    """A judge from its settings to its last answer; it may be handed on before it is up.

    Rank 0 has the served judge and the workers, so that limits hold over all ranks. `start` begins
    what takes long, `connect` waits for it, and from then on it answers.

    Args:
        is_main: True on rank 0.
    """

    counted: Counted
    """The same judge, whose next answer also counts what a rehearsal took."""

    def __init__(self, config: JudgeConfig, is_main: bool = True) -> None:
        self.counted = Counted(self)
        self.config = config
        self._is_main = is_main
        self._open = ExitStack()
        self._server: JudgeServer | None = None
        self._client: JudgeClient | None = None

    def start(self, *, on_gpu: bool) -> None:
        """Have a served judge come up, which takes half a minute, and return at once.

        Args:
            on_gpu: True where a served judge runs on a GPU.

        Raises:
            ConfigError: there is no such model to serve, or an endpoint cannot be used.
        """
        if not self._is_main:
            return
        from rvpo.judge.worker.endpoint import all_endpoints  # with aiohttp

        config = self.config
        # Workers would find out too, after minutes of loading models. The last has least.
        all_endpoints(config, (config.workers - 1, config.workers))
        if config.serve is not None:
            self._model_path = resolve_model(config.serve.model, "judge.serve.model")
            self._server = JudgeServer.start(config.serve, self._model_path, on_gpu=on_gpu)
            self._open.callback(self._server.close)

    def connect(self, ranks: Ranks | None = None) -> None:
        """Wait for the judge, and open this rank's line to its workers. Every rank must call.

        Args:
            ranks: those of the run; this process alone if left out.

        Raises:
            EngineError: the served judge does not come up.
            RewardError: a worker does not start.
            RankError: either of these, on the other ranks.
        """
        if ranks is None:
            addresses: JudgeAddresses | None = self._start_workers(LOOPBACK)
        else:
            reached = main_address(ranks)
            with ranks.together():
                own = self._start_workers(reached) if self._is_main else None
            addresses = ranks.first(own)
        assert addresses is not None
        self._client = JudgeClient(addresses)
        self._open.callback(self._client.close)

    def _start_workers(self, reached: str) -> JudgeAddresses:
        config = self._with_endpoints()
        host = config.host or reached
        judge_end = (lambda: None) if self._server is None else self._server.end_of
        workers = JudgeWorkers.start(config, host, judge_end=judge_end)
        self._open.callback(workers.close)
        return workers.addresses.at(config.address or (reached if is_any(host) else host))

    def submit(self, job: Job) -> Future[tuple[Answer, ...]]:
        """See `JudgeClient.submit`.

        Raises:
            RuntimeError: it is not connected, or closed.
        """
        if self._client is None:
            raise RuntimeError("the judge is not connected")
        return self._client.submit(job)

    def cancel(self) -> None:
        """See `JudgeClient.cancel`."""
        if self._client is not None:
            self._client.cancel()

    def close(self) -> None:
        """Drop what is unanswered and leave nothing running. A second call does nothing."""
        self._open.close()

    def _with_endpoints(self) -> JudgeConfig:
        """The settings once the served judge, if there is one, answers."""
        if self._server is None:
            return self.config
        self._server.ready()
        served = {
            "serve": None,
            "endpoints": [self._server.endpoint()],
            # Verdicts of other weights under the same name must not be taken for this judge's.
            "revision": " ".join(
                filter(None, (self.config.revision, fingerprint(self._model_path)))
            ),
            "model": self.config.model or self._server.endpoint().model,
        }
        return JudgeConfig.model_validate(self.config.model_dump() | served)
