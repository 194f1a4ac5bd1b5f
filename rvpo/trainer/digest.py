"""Digests of what a run is made of, which tell whether it is still the same."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import platform
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final
from uuid import UUID

from rvpo import __version__
from rvpo.config.judges import OWN, place_of
from rvpo.config.rewards import FunctionRewardConfig, classifiers
from rvpo.config.run import RunConfig
from rvpo.environments import EnvironmentConfig
from rvpo.judge.prompt import PROMPT_VERSION
from rvpo.judge.template import JudgeTemplate
from rvpo.report.provenance import PACKAGES, installed_version
from rvpo.types import Prompt

PROMPTS: Final = "token ids of the prompts"
"""Name of the one digest that must stay as it was."""
FIRST_PROMPTS: Final = "token ids of the first prompts"
"""The same of a run that does not read all of its prompts as tokens."""

WEIGHTS: Final = "weights of the model"
"""Name of the digest of what adapters are trained beside."""

_WHOLE: Final = 1 << 28
"""Larger files of weights are sampled, so that a start never reads a large model twice."""
_SAMPLES: Final = 64
_SAMPLE_BYTES: Final = 1 << 16
_OF_FILES: Final = (bytes, Decimal, date, time, timedelta, complex, UUID)
"""Types that Parquet and Python's own files give beside JSON's; a datetime is a date."""


class TokenDigest:
    """Digest of the token ids of prompts, in their order.

    Args:
        fixed: number of prompts, after which others change nothing; None where all count.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self.name: Final = PROMPTS if fixed is None else FIRST_PROMPTS
        self._hash = hashlib.sha256()
        self._places = count() if fixed is None else iter(range(fixed))

    def add(self, ids: Sequence[int]) -> None:
        """Add the next prompt."""
        if next(self._places, None) is not None:
            self._hash.update(array("q", [len(ids), *ids]).tobytes())

    def __str__(self) -> str:
        return self._hash.hexdigest()


def digests(
    config: RunConfig,
    model_path: str,
    tokenizer: Any,
    prompts: Mapping[str, Sequence[Prompt]],
    tokens: TokenDigest,
) -> dict[str, str]:
    """Everything a run reads beside its settings, by a name that a sentence can hold.

    Args:
        model_path: the folder or Hub id that the model is read from.
        prompts: those of each setting that has some, by its name.
        tokens: digest of these prompts, as the model reads them.
    """
    found = {f"rows of {where}": _of_prompts(rows) for where, rows in prompts.items()}
    found |= {tokens.name: str(tokens)}
    for name, reward in config.rewards.items():
        if isinstance(reward, FunctionRewardConfig):
            found[f"code of rewards.{name}"] = code_digest(reward.function.partition(":")[0])
    for module in _modules(config.environment):
        found[f"code of environment, {module}"] = code_digest(module)
    values = config.model.chat_template_kwargs
    template = [tokenizer.chat_template, values] if values else tokenizer.chat_template
    found["chat template"] = _of_text(json.dumps(template))
    found["tokenizer"] = _of_tokenizer(tokenizer)
    found |= of_model(model_path, "model")
    for name, judge in config.every_judge.items():
        found["judge prompt"] = f"version {PROMPT_VERSION}"
        if (template := JudgeTemplate.of(judge, place_of(name))) is not None:
            found[f"template of {place_of(name)}"] = template.sha256
        if judge.serve is not None:
            served = "served judge" if name == OWN else f"served judge {name}"
            found |= of_model(judge.serve.model, served)
    for name, classifier in classifiers(config.rewards).items():
        if classifier.serve is not None:
            served = f"classifier of rewards.{name.partition('.')[0]}"
            found |= of_model(classifier.serve.model, served)
    versions = {"rvpo": __version__, "Python": platform.python_version()}
    versions |= {name: version for name in PACKAGES if (version := installed_version(name))}
    return found | {f"version of {name}": version for name, version in versions.items()}


def _modules(environment: EnvironmentConfig | None) -> list[str]:
    """The modules that an environment has imported functions or classes from."""
    texts = _texts({} if environment is None else environment.model_dump())
    named = {text.partition(":")[0] for text in texts if ":" in text}
    return sorted(named & sys.modules.keys())


def _texts(value: Any) -> Iterator[str]:
    """Every text in lists and tables."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def code_digest(module: str) -> str:
    """Digest of an imported module's source, and of the modules beside it that it uses.

    Args:
        module: its full name.
    """
    file = _file(sys.modules[module])
    if file is None:
        return _of_parts([])
    depth = module.count(".") + (file.name == "__init__.py")
    root = file.parents[depth]  # which Python finds the module in
    files = sorted({file for each in _used(sys.modules[module], root) if (file := _file(each))})
    return _of_parts(file.read_bytes() for file in files)


def _used(first: ModuleType, root: Path) -> Iterator[ModuleType]:
    """A module and whatever it uses, near or far, of those below a folder."""
    seen: dict[str, ModuleType] = {}
    unread = [first]
    while unread:
        module = unread.pop()
        if module.__name__ in seen:
            continue
        seen[module.__name__] = module
        if first.__name__.partition(".")[0] == "rvpo":  # which has a version
            break
        for value in (*vars(module).values(), *_imported_inside(module)):
            other = value if isinstance(value, ModuleType) else sys.modules.get(_home(value))
            file = None if other is None else _file(other)
            if other is not None and file is not None and root in file.parents:
                unread.append(other)
    yield from seen.values()


def _imported_inside(module: ModuleType) -> Iterator[ModuleType]:
    """Modules that functions of a module import when they are called."""
    file = _file(module)
    if file is None or file.suffix != ".py":
        return
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # nobody has imported it either
        return
    for node in ast.walk(tree):
        names: list[str] = []
        match node:
            case ast.Import(names=aliases):
                names = [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(name), level=0, names=aliases):
                names = [name, *(f"{name}.{alias.name}" for alias in aliases)]
        for name in names:
            found = sys.modules.get(name) or _unloaded(name)
            if found is not None:
                yield found


def _unloaded(name: str) -> ModuleType | None:
    """A module that nobody has imported yet, without running it."""
    try:
        parent = name.rpartition(".")[0]  # which looking for a part of it would run
        spec = importlib.util.find_spec(name) if not parent or parent in sys.modules else None
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    found = ModuleType(name)
    found.__file__ = spec.origin
    return found


def _home(value: Any) -> str:
    """The module that defines a function or class, or the class of a value."""
    owner = value if isinstance(value, FunctionType | type) else type(value)
    return str(getattr(owner, "__module__", ""))


def _file(module: ModuleType) -> Path | None:
    """The source of a module that is nobody's package: those have versions."""
    path = vars(module).get("__file__")
    file = Path(path) if isinstance(path, str) else None
    is_own = file is not None and file.is_file() and "site-packages" not in file.parts
    return file if is_own else None


def _of_prompts(prompts: Sequence[Prompt]) -> str:
    texts = (json.dumps(_row(prompt), default=_told) for prompt in prompts)
    return _of_parts(text.encode() for text in texts)


def _row(prompt: Prompt) -> list[Any]:
    """All that a prompt holds; what most prompts lack only where it is there."""
    more = [prompt.is_raw, prompt.prefill] if prompt.is_raw or prompt.prefill else []
    messages = [dict(message) for message in prompt.messages]
    return [prompt.id, messages, dict(prompt.columns), list(prompt.tools), *more]


def _told(value: Any) -> str:
    """A value that is not JSON's. Functions may give any, of which none but the type is sure to
    stay; those of files are what they show."""
    shown = repr(value) if isinstance(value, _OF_FILES) else ""
    return f"{type(value).__name__} {shown}"


def _of_tokenizer(tokenizer: Any) -> str:
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None:
        return _of_text(fast.to_str())
    return _of_text(json.dumps(sorted(tokenizer.get_vocab().items())))


def of_model(path: str, name: str) -> dict[str, str]:
    """Digests of a model's settings and weights; of large files a sample, empty if not here.

    Args:
        path: the folder or Hub id.
        name: the model's, in the names of the digests.
    """
    folder = _folder(path)
    if folder is None:
        return {}
    settings = sorted(f for f in folder.iterdir() if f.suffix == ".py" or _is_settings(f))
    weights = sorted(
        f for f in folder.iterdir() if f.suffix in {".safetensors", ".bin", ".pt", ".gguf"}
    )
    return {
        f"settings of the {name}": _of_parts(file.read_bytes() for file in settings),
        f"weights of the {name}": _of_parts(part for file in weights for part in _sampled(file)),
    }


def weights_digest(path: str) -> str:
    """Digest of a model's weights alone; empty if they are not here."""
    return of_model(path, "model").get(WEIGHTS, "")


def _is_settings(file: Path) -> bool:
    return file.name in {"config.json", "generation_config.json"}


def _folder(path: str) -> Path | None:
    """Folder of a model's files: for a Hub id, in the cache of the Hub, if they are there."""
    if Path(path).expanduser().is_dir():
        return Path(path).expanduser()
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(path, "config.json")
    except HFValidationError:  # neither a folder nor a Hub id, as what a package brings
        return None
    return Path(found).parent if isinstance(found, str) else None


def _sampled(file: Path) -> Iterator[bytes]:
    """Size and content of a file; of a large one, samples at regular distances."""
    size = file.stat().st_size
    yield str(size).encode()
    if size <= _WHOLE:
        yield file.read_bytes()
        return
    with file.open("rb") as stream:
        for number in range(_SAMPLES):
            stream.seek(number * (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
            yield stream.read(_SAMPLE_BYTES)


def _of_text(text: str) -> str:
    return _of_parts([text.encode(errors="surrogatepass")])


def _of_parts(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()
