"""The judges that a run asks, each with workers, limits and a cache of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from rvpo.config.filing import told_apart
from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import place_of
from rvpo.judge.client.classifier import served_by
from rvpo.judge.client.service import JudgeService
from rvpo.runtime.ignore import ignore
from rvpo.runtime.network import main_address
from rvpo.runtime.ranks import Ranks


class Judges(Mapping[str, JudgeService]):
    """Judges by name; they may be handed on before they are up.

    Args:
        configs: those that are asked, by name.
        ranks: those of the run, or this process alone.
        say: see `JudgeService`.
        books: folder of what each has cost, a file by its name; see `JudgeService`.

    Raises:
        ConfigError: see `JudgeService`.
    """

    def __init__(
        self,
        configs: Mapping[str, JudgeConfig],
        ranks: Ranks,
        say: Callable[[str], None] = ignore,
        books: Path | None = None,
    ) -> None:
        self._ranks = ranks
        self._services = {
            name: JudgeService(
                config,
                ranks,
                say,
                serve=served_by(config),
                where=place_of(name),
                books=None if books is None else books / name,
            )
            for name, config in told_apart(configs).items()
        }

    def __getitem__(self, name: str) -> JudgeService:
        return self._services[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)

    def start(self) -> None:
        """See `JudgeService.start`. Every rank must call."""
        # The ranks meet once: one that fails at a judge must not leave others at the next meeting.
        reached = main_address(self._ranks)
        # Those that are awaited, for they share GPUs, come last: the others come up meanwhile.
        for service in sorted(self.values(), key=lambda service: service.shares_gpus):
            service.start(reached)

    def connect(self) -> None:
        """See `JudgeService.connect`. Every rank must call."""
        for service in self.values():
            service.connect()

    def close(self) -> None:
        """Drop what is unanswered and leave nothing running. A second call does nothing."""
        with ExitStack() as stack:
            for service in self.values():
                stack.callback(service.close)
