"""Optional packages, by the extra of `pip install 'rvpo[EXTRA]'` that brings them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import Final, NamedTuple

from rvpo.errors import ConfigError

_REPORT: Final = ("jinja2", "matplotlib", "scipy")

MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "train": (
        *("accelerate", "deepspeed", "huggingface_hub", "safetensors", "tokenizers"),
        "transformers",
        *_REPORT,  # a run ends with curves and a paired test
    ),
    "cpu": ("vllm",),
    "judge": ("aiohttp", "yarl"),
    "data": ("datasets", "huggingface_hub", "pyarrow"),
    "report": _REPORT,
    "wandb": ("wandb", "wandb_workspaces"),
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",),
    "lora": ("peft",),
    "bits": ("bitsandbytes",),
    "math": ("math_verify",),
    "language": ("py3langid",),
    "mcp": ("mcp",),
    "verifiers": (
        *("aiohttp", "anthropic", "math_verify", "mcp", "openai", "prime_sandboxes"),
        *("pydantic_config", "tomli_w"),
    ),
    "schema": ("jsonschema", "referencing"),
}
"""Modules that are imported of each extra. `gpu` brings the same vLLM as `cpu`, built for GPUs."""


class Need(NamedTuple):
    """An extra that something cannot do without."""

    extra: str
    instead: str = ""
    """The change that would make it unneeded; empty where there is none."""


def installed(module: str) -> bool:
    """True where a top-level module can be found. It is not imported."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # a finder refuses it; it was put in place without a spec
        return False


def require(who: str, *needs: Need) -> None:
    """Refuse, before any work, what needs packages that are not there.

    Args:
        who: begins the sentence.
        needs: all extras that it takes; those that are there are passed over.

    Raises:
        ConfigError: a package is missing. It says which, and the command that installs all.
    """
    lacking = [need for need in needs if not all(map(installed, MODULES[need.extra]))]
    if not lacking:
        return
    modules = {m for need in lacking for m in MODULES[need.extra] if not installed(m)}
    extras = [extra for extra in MODULES if any(need.extra == extra for need in lacking)]
    on_gpu = " (gpu for cpu on a machine with GPUs)" if "cpu" in extras else ""
    changes = list(dict.fromkeys(need.instead for need in lacking))
    instead = f", or {_listed(changes)}" if all(changes) else ""
    verb = "are" if len(modules) > 1 else "is"
    raise ConfigError(
        f"{who} needs {_listed(sorted(modules))}, which {verb} not installed; write: "
        f"pip install 'rvpo[{','.join(extras)}]'{on_gpu}{instead}"
    )


def _listed(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last
