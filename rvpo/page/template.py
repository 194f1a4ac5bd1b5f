"""The templates of the pages, of which each is one HTML file without anything beside it."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rvpo.report.tables import shown
from rvpo.runtime.terminal import printable


def rendered(template: str, **values: Any) -> str:
    """A page of these values.

    Args:
        template: name of a file beside this one.
    """
    return _environment().get_template(template).render(**values)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rvpo.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["number"] = lambda value, digits=3: shown(value, f".{digits}f")
    environment.finalize = lambda value: printable(value) if type(value) is str else value
    environment.filters["change"] = lambda value: shown(value, "+.3f")
    environment.filters["p"] = lambda value: shown(value, ".2g")
    environment.filters["count"] = lambda value: format(value, ",")
    return environment
