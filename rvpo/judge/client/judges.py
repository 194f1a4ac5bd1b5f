"""The judges that a run asks, each with workers, limits and a cache of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import place_of
from rvpo.judge.client.classifier import served_by
from rvpo.judge.client.service import JudgeService
from rvpo.runtime.ignore import ignore
from rvpo.runtime.ranks import Ranks


class Judges(Mapping[str, JudgeService]):
    """Judges by name; they may be handed on before they are up.

    Args:
        configs: those that are asked, by name.
        ranks: those of the run, or this process alone.
        say: see `JudgeService`.

    Raises:
        ConfigError: see `JudgeService`.
    """

    def __init__(
        self,
        configs: Mapping[str, JudgeConfig],
        ranks: Ranks,
        say: Callable[[str], None] = ignore,
    ) -> None:
        self._services = {
            name: _service(config, ranks, say, place_of(name)) for name, config in configs.items()
        }

    def __getitem__(self, name: str) -> JudgeService:
        return self._services[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    def __len__(self) -> int:
        return len(self._services)

    def start(self) -> None:
        """See `JudgeService.start`. Every rank must call."""
        for service in self.values():
            service.start()

    def connect(self) -> None:
        """See `JudgeService.connect`. Every rank must call."""
        for service in self.values():
            service.connect()

    def close(self) -> None:
        """Drop what is unanswered and leave nothing running. A second call does nothing."""
        for service in self.values():
            service.close()


def _service(
    config: JudgeConfig, ranks: Ranks, say: Callable[[str], None], where: str
) -> JudgeService:
    return JudgeService(config, ranks, say, serve=served_by(config, where), where=where)
