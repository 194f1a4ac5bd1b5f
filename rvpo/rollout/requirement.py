"""A package that an engine needs and a run can do without."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from rvpo.errors import ConfigError
from rvpo.report.provenance import installed_version
from rvpo.runtime.extras import installed

_OTHER_ENGINE: Final = "set rollout.engine.name=transformers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A package, and the distributions that bring it."""

    title: str
    """Its name in a sentence."""
    module: str
    """Its name in an import statement."""
    distributions: tuple[str, ...]
    """One of them has to be installed, and no more: all bring the same files."""
    built_for_cpus: str | None = None
    """The one of them that leaves a GPU unused, if one does."""
    built_for_gpus: str | None = None
    """The one of them that needs a GPU, if one does."""
    extra_cpu: str | None = None
    """The extra of rvpo that installs it for a CPU, if one does."""
    extra_gpu: str | None = None
    """The extra of rvpo that installs it for GPUs, if one does."""

    def check(self) -> None:
        """Look for it.

        Raises:
            ConfigError: it is not installed.
        """
        if not installed(self.module):
            raise ConfigError(f"rollout.engine.name: {self.module} is not installed; {self.advice}")

    def misfit(self, packages: Collection[str], *, on_gpu: bool) -> str:
        """Reason that the `distributions` among what is installed cannot work; empty where they
        can, and where there is none.

        Args:
            packages: names of installed distributions.
            on_gpu: torch has a GPU.
        """
        found = [name for name in self.distributions if name in packages]
        if len(found) > 1:
            return f"{' and '.join(found)} are installed together, and overwrote each other's files"
        if on_gpu and found == [self.built_for_cpus]:
            return f"{found[0]} is the build for CPUs, and torch has a GPU"
        if not on_gpu and found == [self.built_for_gpus]:
            return f"{found[0]} is the build for GPUs, and torch can use none"
        return ""

    def check_build(
        self, *, on_gpu: bool, asked: str = "rollout.engine.name", instead: str = _OTHER_ENGINE
    ) -> None:
        """Refuse builds of it that cannot work here.

        Args:
            on_gpu: torch has a GPU.
            asked: the setting that asks for it.
            instead: the change that would make it unneeded.

        Raises:
            ConfigError: there are several, or it is the wrong one.
        """
        found = [name for name in self.distributions if installed_version(name) is not None]
        if reason := self.misfit(found, on_gpu=on_gpu):
            extra = self.extra_gpu if on_gpu else self.extra_cpu
            wanted = f"'rvpo[{extra}]'" if extra else self.distributions[0]
            remedy = f"write pip install {wanted} in a new environment"
            if found == [self.built_for_gpus]:  # on a machine that may have some
                remedy = f"`rvpo doctor` says why, or {remedy}"
            raise ConfigError(f"{asked}: {reason}; {remedy}, or {instead}")

    @property
    def advice(self) -> str:
        """The way out where it cannot be imported."""
        extras = [f"'rvpo[{extra}]'" for extra in (self.extra_cpu, self.extra_gpu) if extra]
        packages = " or ".join(dict.fromkeys(extras)) or self.distributions[0]
        return f"install it with pip install {packages}, or {_OTHER_ENGINE}"
