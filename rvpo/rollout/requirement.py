"""A package that an engine needs and a run can do without."""

from __future__ import annotations

from dataclasses import dataclass

from rvpo.errors import ConfigError
from rvpo.runtime.extras import installed


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A package, and the distributions that bring it."""

    title: str
    """Its name in a sentence."""
    module: str
    """Its name in an import statement."""
    distributions: tuple[str, ...]
    """One of them has to be installed."""
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

    @property
    def advice(self) -> str:
        """The way out where it cannot be imported."""
        extras = [f"'rvpo[{extra}]'" for extra in (self.extra_cpu, self.extra_gpu) if extra]
        packages = " or ".join(dict.fromkeys(extras)) or self.distributions[0]
        return f"install it with pip install {packages}, or set rollout.engine.name=transformers"
