"""All the judging of a run on one rank: a served judge, the workers, and the line to them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from rvpo.config.judge import JudgeConfig, is_this_machine
from rvpo.config.judges import OWN
from rvpo.errors import ConfigError
from rvpo.judge.client.client import JudgeAddresses, JudgeClient
from rvpo.judge.client.gpus import judge_gpus
from rvpo.judge.client.probe import Counted
from rvpo.judge.client.server import JudgeServer, fingerprint
from rvpo.judge.client.workers import JudgeWorkers
from rvpo.judge.spending import Spending
from rvpo.judge.types import Answer, Job
from rvpo.model_files import resolve_model
from rvpo.runtime.ignore import ignore
from rvpo.runtime.mount import MOUNTS, network_disk
from rvpo.runtime.network import is_any, main_address
from rvpo.runtime.port import LOOPBACK
from rvpo.runtime.ranks import Ranks


class JudgeService:
    """A judge from its settings to its last answer; it may be handed on before it is up.

    Rank 0 has the served judge and the workers, so that limits hold over all ranks. `start` begins
    what takes long, `connect` waits for it, and from then on it answers.

    Args:
        ranks: those of the run, or this process alone.
        say: told where the cache is on a disk that slows it down, and of verdicts dropped from it.
        mounts: see `network_disk`.
        serve: starts the server of a judge that is served here.
        where: the section of its settings, for messages.
        books: the file of what the judge has cost, which outlives a start; a temporary one if left
            out.

    Raises:
        ConfigError: a served judge has `devices` that are not there, or that training has.
    """

    counted: Counted
    """The same judge, whose next answer also counts what a rehearsal took."""

    def __init__(
        self,
        config: JudgeConfig,
        ranks: Ranks,
        say: Callable[[str], None] = ignore,
        mounts: Path = MOUNTS,
        serve: Callable[..., JudgeServer] = JudgeServer.start,
        where: str = OWN,
        books: Path | None = None,
    ) -> None:
        self.counted = Counted(self)
        self.config = config
        self._ranks = ranks
        self._say = say
        self._where = where
        self._mounts = mounts
        self._books = books
        self._spending: Spending | None = None
        self._owed = 0.0
        self._reached = LOOPBACK
        self._open = ExitStack()
        self._serve = serve
        self._server: JudgeServer | None = None
        self._gpus: str | None = None
        if config.serve is not None and ranks.is_main:
            self._gpus = judge_gpus(config.serve, ranks, where=where)
        self._client: JudgeClient | None = None

    def start(self, reached: str | None = None) -> None:
        """Have a served judge come up, which takes half a minute, and return at once. Every rank
        must call.

        A judge on a GPU that others use too is up on return, and they must wait until then: vLLM
        measures by what is free there before and after, and would take their share for its own.

        Args:
            reached: address of rank 0 for all ranks, if that is known.

        Raises:
            ConfigError: there is no such model to serve, an endpoint cannot be used, or the other
                machines could not reach the workers.
            EngineError: a served judge does not come up, on such a GPU.
        """
        self._reached = main_address(self._ranks) if reached is None else reached
        if not self._ranks.is_main:
            return
        from rvpo.judge.worker.endpoint import all_endpoints

        self._check_host()
        self._open_books()
        self._tell_of_cache()
        self._shrink_cache()
        config = self.config
        # Workers would find out too, after minutes of loading models. The last has least.
        all_endpoints(config, (config.workers - 1, config.workers), self._where)
        if config.serve is not None:
            self._model_path = resolve_model(config.serve.model, f"{self._where}.serve.model")
            on_gpu = self._ranks.device.type == "cuda"
            self._server = self._serve(
                config.serve,
                self._model_path,
                on_gpu=on_gpu,
                visible=self._gpus,
                where=self._where,
            )
            self._open.callback(self._server.close)
            if on_gpu and self.shares_gpus:
                self._server.ready()

    def connect(self) -> None:
        """Wait for the judge, and open this rank's line to its workers. Every rank must call.

        Raises:
            EngineError: the served judge does not come up.
            RewardError: a worker does not start.
            RankError: either of these, on the other ranks.
        """
        with self._ranks.together():
            own = self._start_workers() if self._ranks.is_main else None
        addresses = self._ranks.first(own)
        assert addresses is not None
        self._client = JudgeClient(addresses)
        self._open.callback(self._client.close)

    def _start_workers(self) -> JudgeAddresses:
        config = self._with_endpoints()
        host = config.host or self._reached
        judge_end = (lambda: None) if self._server is None else self._server.end_of
        workers = JudgeWorkers.start(
            config, host, judge_end=judge_end, where=self._where, books=self._books
        )
        self._open.callback(workers.close)
        return workers.addresses.at(config.address or (self._reached if is_any(host) else host))

    def _open_books(self) -> None:
        """
        Raises:
            CheckpointError: they are damaged.
        """
        if not self.config.is_priced:
            self._books = None
            return
        if self._books is None:
            folder = self._open.enter_context(TemporaryDirectory(prefix="rvpo-spent-"))
            self._books = Path(folder) / "dollars"
        self._spending = Spending(self._books, 0)
        self._open.callback(self._spending.close)
        self._spending.total()

    def _check_host(self) -> None:
        host = self.config.host
        is_far = self._reached != LOOPBACK and self.config.address is None
        if is_far and host is not None and is_this_machine(host):
            raise ConfigError(
                f"{self._where}.host: {host} is reached from this machine alone, and there are "
                "ranks on others; leave it out, or give an address that they reach, such as "
                f"{self._reached}"
            )

    def _shrink_cache(self) -> None:
        path, most = self.config.cache, self.config.cache_gb
        if path is None or most is None or not path.exists():
            return
        from rvpo.judge.worker.cache import shrink

        if dropped := shrink(path, round(1e9 * most), self._mounts, self._where):
            self._say(
                f"{self._where}.cache: dropped {dropped:,} verdicts of {path}, which held more "
                f"than the {most:g} GB of {self._where}.cache_gb"
            )

    def _tell_of_cache(self) -> None:
        path = self.config.cache
        kind = None if path is None else network_disk(path, self._mounts)
        if kind is not None:
            self._say(
                f"{self._where}.cache: {path} is on a disk that machines share ({kind}), where "
                "SQLite cannot keep its fast journal; a slower one is used, and a path on a disk "
                "of this machine makes answers faster"
            )

    def submit(self, job: Job) -> Future[tuple[Answer, ...]]:
        """See `JudgeClient.submit`.

        Raises:
            RuntimeError: it is not connected, or closed.
        """
        if self._client is None:
            raise RuntimeError("the judge is not connected")
        return self._client.submit(job)

    @property
    def shares_gpus(self) -> bool:
        """True where it is served on GPUs that others use too, if on any."""
        serve = self.config.serve
        return self.config.needs_vllm and serve is not None and not serve.devices

    @property
    def is_spent(self) -> bool:
        """True where it has cost what it may in earlier starts; on the main rank.

        Raises:
            CheckpointError: the file that tells is damaged.
        """
        most = self.config.budget.dollars
        if most is None or self._books is None:
            return False
        return Spending(self._books, 0).total() >= most

    def owe(self, dollars: float) -> None:
        """Note what was paid for the judge beside its workers."""
        self._owed += dollars

    def spent(self) -> float:
        """Dollars that the judge has cost so far, over all starts; on the main rank, once it is
        started.

        Raises:
            CheckpointError: the file that tells is damaged, or cannot be written.
        """
        if self._spending is None:
            return 0.0
        self._spending.add(self._owed)
        self._owed = 0.0
        return self._spending.total()

    def cancel(self) -> None:
        """See `JudgeClient.cancel`."""
        if self._client is not None:
            self._client.cancel()

    def close(self) -> None:
        """Drop what is unanswered and leave nothing running. A second call does nothing."""
        self._open.close()

    def _with_endpoints(self) -> JudgeConfig:
        """The settings once the served judge, if there is one, answers."""
        own = self.config.serve
        if self._server is None or own is None:
            return self.config
        self._server.ready()
        weights = fingerprint(self._model_path, own.precision)
        served = {
            "serve": None,
            "endpoints": [self._server.endpoint()],
            # Verdicts of other weights under the same name must not be taken for this judge's.
            "revision": " ".join(filter(None, (self.config.revision, weights))),
            "model": self.config.model or self._server.endpoint().model,
        }
        return type(self.config).model_validate(self.config.model_dump() | served)
