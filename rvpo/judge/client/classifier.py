"""A classifier served for the time of a run, and what its files say before it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from rvpo.config.classifier import ClassifierJudge, ClassifierServeConfig
from rvpo.config.judge import JudgeConfig, ServeConfig
from rvpo.errors import ConfigError
from rvpo.judge.client.server import JudgeServer
from rvpo.model_files import resolve_model
from rvpo.runtime.process import python_module
from rvpo.runtime.vllm_server import ServerStart, VllmServer, server_environment

_PROGRAM: Final = python_module("rvpo.judge.classifier.main")
_NO_LIMIT: Final = 10**9  # tokenizers without a limit name a number far beyond
_SAFE: Final = ("model.safetensors", "model.safetensors.index.json")
_PICKLED: Final = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_NO_KV_CACHE_GIB: Final = 1  # of vLLM's environment, which the program does not read


def served_by(config: JudgeConfig) -> Callable[..., JudgeServer]:
    """The function that starts the server of a judge, or of a classifier."""
    own = config.own if isinstance(config, ClassifierJudge) else None
    return JudgeServer.start if own is None else partial(start_classifier, own)


def start_classifier(
    own: ClassifierServeConfig,
    config: ServeConfig,
    model_path: str,
    *,
    on_gpu: bool,
    visible: str | None = None,
    where: str = "classifier",
) -> JudgeServer:
    """Start the server of a classifier and return at once; see `JudgeServer.start`.

    Args:
        own: the settings of this server.
        where: the section that describes it, for messages.
        on_gpu: training is; the server itself computes on a GPU only where it has `devices`.
    """
    options = ["--model", model_path, "--served-model-name", config.model]
    options += ["--precision", own.precision, "--batch", str(own.inputs)]
    options += ["--device", "cuda" if own.devices and on_gpu else "cpu"]
    if own.max_input_tokens is not None:
        options += ["--max-input-tokens", str(own.max_input_tokens)]
    if own.allow_pickle:
        options += ["--allow-pickle"]
    start = ServerStart(
        where=f"{where}.serve",
        model=config.model,
        options=tuple(options),
        environment=server_environment(visible),
        cpu_kv_cache_gib=_NO_KV_CACHE_GIB,
        folder="rvpo-score-",
        program=_PROGRAM,
        server="the classifier",
    )
    return JudgeServer(VllmServer(start), config)


@dataclass(frozen=True, slots=True)
class ClassifierCard:
    """Facts about a classifier, by its files."""

    labels: tuple[str, ...]
    """Names of its scores, in their order."""
    architecture: str
    """Class that it was saved by; empty where its files do not say."""
    has_chat_template: bool
    longest: int | None
    """Positions of its longest input; None where its files do not say."""

    @classmethod
    def read(cls, model: str, setting: str, *, allow_pickle: bool = True) -> ClassifierCard:
        """Read the settings of a model, and those of its tokenizer.

        Args:
            model: a folder or a Hub id.
            setting: the one that names it, for messages.
            allow_pickle: its weights need not be in safetensors files.

        Raises:
            ConfigError: they cannot be read, or are not those of a classifier, or a folder has no
                weights that may be loaded.
        """
        card = _read(resolve_model(model, setting), setting)
        if card.architecture and not card.architecture.endswith("ForSequenceClassification"):
            raise ConfigError(
                f"{setting}: {model!r} is a {card.architecture} and gives no scores; give a model "
                "that was saved by AutoModelForSequenceClassification"
            )
        _check_weights(Path(resolve_model(model, setting)), setting, allow_pickle)
        return card


def _check_weights(folder: Path, setting: str, allow_pickle: bool) -> None:
    """Refuse a folder without weights that may be loaded. Those of a Hub id are not here yet."""
    if not folder.is_dir() or _has_any(folder, _SAFE):
        return
    if not _has_any(folder, _PICKLED):
        raise ConfigError(
            f"{setting}: there are no weights in {str(folder)!r}, neither {_SAFE[0]} nor "
            f"{_PICKLED[0]}; give a folder saved by save_pretrained"
        )
    if not allow_pickle:
        raise ConfigError(
            f"{setting}: the weights in {str(folder)!r} are a pickle, which can run code, and no "
            "safetensors; save them as safetensors, or write classifier.serve.allow_pickle: true "
            "if you trust their source"
        )


def _has_any(folder: Path, names: tuple[str, ...]) -> bool:
    return any((folder / name).is_file() for name in names)


@lru_cache(maxsize=32)
def _read(path: str, setting: str) -> ClassifierCard:
    from transformers import AutoTokenizer, PretrainedConfig

    try:
        settings, _ = PretrainedConfig.get_config_dict(path)
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # at a broken file the loaders raise anything
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(
            f"{setting}: cannot read a classifier with its tokenizer from {path!r} "
            f"({type(error).__name__}: {reason}); give a folder saved by save_pretrained, or a Hub "
            "id"
        ) from error
    architectures = settings.get("architectures") or [""]
    limits = (settings.get("max_position_embeddings"), tokenizer.model_max_length)
    return ClassifierCard(
        labels=_labels(settings),
        architecture=str(architectures[0]),
        has_chat_template=tokenizer.chat_template is not None,
        longest=min((each for each in limits if each and each < _NO_LIMIT), default=None),
    )


def _labels(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The names in a config.json; those that transformers makes up where it has none."""
    named = settings.get("id2label")
    if named:
        return tuple(str(named[key]) for key in sorted(named, key=int))
    return tuple(f"LABEL_{number}" for number in range(settings.get("num_labels", 2)))


def labels_here(model: str | None) -> tuple[str, ...]:
    """The names of the scores of a model at an endpoint, where its folder is on this machine too;
    none where it is not."""
    folder = Path(model or "")
    if not (folder / "config.json").is_file():
        return ()
    from transformers import PretrainedConfig

    settings, _ = PretrainedConfig.get_config_dict(str(folder))
    return _labels(settings)
