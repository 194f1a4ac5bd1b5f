"""The estimators that are asked for on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field

from rvpo.advantage import Estimator
from rvpo.advantage.check import check_risk
from rvpo.config import yaml_file
from rvpo.config.sentences import validated
from rvpo.config.spellings import estimator
from rvpo.errors import ConfigError
from rvpo.fields import Section


class _Asked(Section):
    advantage: Annotated[Estimator, Field(discriminator="name"), BeforeValidator(estimator)]


def estimators_of(
    texts: Sequence[str], ks: Sequence[float], own: Estimator
) -> dict[str, Estimator]:
    """Estimators by what tells them apart, the run's own left out.

    Args:
        texts: each a name, or a table of settings as YAML.
        ks: risk coefficients; each is the run's own estimator with that one.
        own: the run's.

    Raises:
        ConfigError: a text is no estimator, or the run's own has no k.
    """
    every = [_read(text) for text in texts] + [_with_k(own, k) for k in ks]
    return {title(each): each for each in every if each != own}


def title(each: Estimator) -> str:
    """An estimator's name with the settings that are not its usual ones."""
    told = [
        f"{f.name}={_shown(value)}"
        for f in fields(each)
        if f.name != "name" and f.default is not MISSING
        if (value := getattr(each, f.name)) != f.default
    ]
    return " ".join([each.name, *told])


def _read(text: str) -> Estimator:
    try:
        value = yaml_file.load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--advantage {text}: {yaml_file.reason(error)}; give a name, or a table such as "
            "'{name: rvpo, k: 2}'"
        ) from None
    return validated(_Asked, {"advantage": value}, f"--advantage {text} is no estimator").advantage


def _with_k(own: Estimator, k: float) -> Estimator:
    settings: Mapping[str, Any] = {"k": k}
    if "k" not in {field.name for field in fields(own)}:
        raise ConfigError(
            f"--k {k:g}: the run's estimator {own.name} has no k; name one that has, as in "
            f"--advantage '{{name: rvpo, k: {k:g}}}'"
        )
    try:
        check_risk(k)
    except ValueError as error:
        raise ConfigError(f"--k {k:g}: {error}") from None
    return replace(own, **settings)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, str | bool | int):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return f"{value.start:g}..{value.end:g}" if hasattr(value, "start") else str(value)
