"""`rvpo push`: a trained model on the Hub, with its card."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rvpo.config.secret import masked
from rvpo.errors import ConfigError, HubError
from rvpo.model_files import DEMO_MODEL
from rvpo.report.best import read_best
from rvpo.report.run_folder import RunFolder, write_text, writing
from rvpo.runtime.extras import Need, require
from rvpo.runtime.hub import is_hub_id, is_repository

_CARD = "README.md"
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_UNFIT = re.compile(r"--|\.\.|\.git$")
"""Parts of names that the Hub does not take."""
_CURVES = "curves.png"
_PATIENCE_S = 10.0
"""Seconds in which the Hub must begin to answer what is asked before anything is sent."""


@dataclass(frozen=True)
class _Saved:
    """A model that a run has saved."""

    folder: Path
    step: int
    """Updates that it has behind it."""


def push(
    path: Path,
    name: str,
    licence: str | None,
    say: Callable[[str], None],
    *,
    best: bool = False,
    public: bool = False,
    dry_run: bool = False,
) -> None:
    """Write the card into the run's folder, and send it with the model.

    Args:
        path: folder of the run.
        name: the repository, made private unless it is there; `owner/name`.
        licence: None takes the one that the base model names.
        best: the model in `best/`.
        public: a new repository may be seen by all.
        say: told of each part that can take long before it begins.
        dry_run: nothing is sent.

    Raises:
        ConfigError: the run has no such model, its licence is unknown, or the name is none.
        CheckpointError: a file of the run is damaged, or the card cannot be written.
        HubError: the Hub refuses, or cannot be reached.
    """
    require("rvpo push", Need("train"))
    if not is_hub_id(name) or name.count("/") != 1 or _UNFIT.search(name):
        raise ConfigError(f"{name!r} is no repository of the Hub; write OWNER/NAME")
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise ConfigError(
            f"--license: {licence!r} is no identifier of a licence; write one such as apache-2.0, "
            "mit or other"
        )
    folder = RunFolder(path)
    if not folder.config.is_file():
        raise ConfigError(f"{path} holds no run; give the folder of one that has ended")
    saved = _saved(folder, best)
    say(f"run   {path}: its card is made, with the tests on held-out prompts")
    from rvpo.page.card import card_of  # which takes seconds, and more on a busy machine
    from rvpo.page.history import RunHistory

    run = RunHistory(folder)
    licence = licence or _licence_of(run.config.model.path, say)
    card = path / "card"
    picture = _CURVES if run.folder.curves.exists() else ""
    write_text(
        card / _CARD,
        card_of(run, name=name, step=saved.step, licence=licence, picture=picture),
    )
    if picture:
        with writing(card / picture):
            shutil.copyfile(run.folder.curves, card / picture)
    say(f"card  {card / _CARD}")
    if dry_run:
        say(f"model {saved.folder}, after {saved.step} updates; nothing was sent")
        return
    say(f"sends {saved.folder}, after {saved.step} updates, to {name}")
    say(f"pushed to {_sent(name, saved, card, private=not public)}")


def _saved(folder: RunFolder, best: bool) -> _Saved:
    """The model to push.

    Raises:
        ConfigError: there is none.
    """
    if best:
        known = read_best(folder)
        if known is None:
            raise ConfigError(
                f"{folder.path} has no best model; leave --best out for the last one, or train "
                "with checkpoint.best set"
            )
        return _Saved(folder.best, known.step)
    if not folder.model.is_dir():
        raise ConfigError(
            f"{folder.path} has no model yet, for its run has not ended; let it end with `rvpo "
            "train --resume`"
        )
    return _Saved(folder.model, folder.count_metrics())


def _licence_of(model: str, say: Callable[[str], None]) -> str:
    """The licence that a base model names in its card.

    Raises:
        ConfigError: it names none.
    """
    if model == DEMO_MODEL:
        return "apache-2.0"
    card = Path(model) / _CARD
    found: Any = None
    if card.is_file():
        found = _front_matter(card.read_text(encoding="utf-8", errors="replace")).get("license")
    elif is_repository(model):
        say(f"asks  the Hub for the licence of {model}")
        with _asking(f"the card of {model}", "give --license, and it is not asked"):
            found = _hub().model_info(model, timeout=_PATIENCE_S).card_data
        found = None if found is None else found.get("license")
    if not isinstance(found, str) or not found:
        raise ConfigError(
            f"--license: the base model {model!r} names none in its card; give the one that it is "
            "under, such as --license apache-2.0"
        )
    return found


def _front_matter(text: str) -> dict[str, Any]:
    """The metadata at the head of a card; empty where there is none that can be read."""
    head, _, _ = text.removeprefix("---").partition("\n---")
    try:
        found = yaml.safe_load(head) if text.startswith("---") else None
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def _sent(name: str, saved: _Saved, card: Path, *, private: bool) -> str:
    """Send model and card; the repository's address."""
    hub = _hub()
    about = f"rvpo: {saved.step} updates"
    cure = (
        "see that HF_TOKEN in the environment may write there, and that there is a network; "
        "nothing that was sent is lost, and the same command goes on"
    )
    with _asking(name, cure):
        address = hub.create_repo(name, private=private, exist_ok=True)
        # First what the Hub may refuse, and then the weights.
        hub.upload_folder(repo_id=name, folder_path=card, commit_message=f"{about}, card")
        hub.upload_folder(
            repo_id=name, folder_path=saved.folder, ignore_patterns=[_CARD], commit_message=about
        )
    return str(address)


def _hub() -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"))


@contextmanager
def _asking(what: str, cure: str) -> Iterator[None]:
    """Turn what the Hub's library raises into one sentence, which ends with the way out."""
    try:
        yield
    except Exception as error:  # foreign code over a network, which raises anything
        reason = " ".join(masked(str(error)).split())[:300] or type(error).__name__
        raise HubError(f"{what}: the Hub refused or did not answer ({reason}); {cure}") from error
