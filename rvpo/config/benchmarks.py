"""The settings of benchmarks: a section for each that there is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from inspect import getdoc
from typing import TYPE_CHECKING

from pydantic import Field, create_model

from rvpo.benchmarks import BENCHMARKS, AnyBenchmark
from rvpo.config.judges import name_problems
from rvpo.fields import Section
from rvpo.sampling import Sampling

if TYPE_CHECKING:
    _Named = Section
else:
    _Named = create_model(
        "_Named",
        __base__=Section,
        **{
            name: (each | None, Field(default=None, description=getdoc(each)))
            for name, each in BENCHMARKS.items()
        },
    )


class BenchmarksConfig(_Named):
    """Benchmarks to run, each with its own settings."""

    def chosen(self) -> dict[str, AnyBenchmark]:
        """Those that are set, by name."""
        return {name: value for name in BENCHMARKS if (value := getattr(self, name)) is not None}

    def drawn(self, where: str) -> dict[str, Sampling]:
        """Way in which the answers of each that is set are drawn, by its section.

        Args:
            where: the setting that these are.
        """
        return {f"{where}.{name}": each.sampling for name, each in self.chosen().items()}

    @property
    def needs_judge(self) -> bool:
        """True where any of them asks a judge."""
        return any(each.needs_judge for each in self.chosen().values())

    def problems(self, judges: Collection[str], where: str, remedy: str) -> Iterator[str]:
        """Problems of settings that are each allowed, a sentence each.

        Args:
            judges: names of those that there are.
            where: the setting that these are.
            remedy: the settings that give it a judge.
        """
        for name, each in self.chosen().items():
            if not each.needs_judge:
                continue
            if judges:
                yield from name_problems(f"{where}.{name}", each.asked_judge, judges)
            else:
                yield f"{where}.{name}: needs a judge; {remedy}"
