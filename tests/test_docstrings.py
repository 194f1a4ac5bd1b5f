"""The texts below fields are those of the class that declares the field last."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, create_model

from rvpo.docstrings import docstrings
from rvpo.fields import Section


class Plain(Section):
    first: int = 1
    """The first,
    on two lines."""
    second: int = 2
    third: int = 3
    """The third."""

    def method(self) -> None:
        """Not of a field."""


class Further(Plain):
    second: int = 4
    """The second."""
    """Of nothing."""
    third: int = 5


@dataclass(frozen=True)
class Pair:
    left: float
    """The left one."""
    LETTER = "a"
    """No field."""


Made = create_model("Made", __base__=Plain, fourth=(int, 4))


def test_a_text_is_that_below_its_field() -> None:
    assert docstrings(Plain) == {"first": "The first,\non two lines.", "third": "The third."}
    assert docstrings(Pair) == {"left": "The left one."}
    assert docstrings(int) == {}


def test_fields_keep_the_texts_of_bases() -> None:
    assert docstrings(Further) == docstrings(Plain) | {"second": "The second."}
    assert docstrings(Made) == docstrings(Plain)


def test_a_schema_shows_them() -> None:
    class Holder(BaseModel):
        inner: Further

    (inner,) = Holder.model_json_schema()["$defs"].values()
    shown = {name: each.get("description") for name, each in inner["properties"].items()}
    assert shown == docstrings(Further)
