"""The settings of LoRA, which the trainer and the engines read.

Hu et al. 2021, arXiv:2106.09685: a frozen matrix W gets a product of two small ones beside it, so
that a layer computes W x + (alpha / rank) B A x, and B, which is 0 at first, and A are trained.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from rvpo.fields import Float, PositiveFloat, PositiveInt, Section

ALL_LINEAR: Final = "all-linear"
"""The targets that are every linear layer of a model but its output layer."""


def _targets(value: Any) -> Any:
    if value == ALL_LINEAR:
        return value
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or not all(map(_is_name, names)):
        raise ValueError(
            f"must be {ALL_LINEAR}, or a list of names of linear layers such as "
            f"[q_proj, v_proj], got {value!r:.60}"
        )
    if twice := next((name for name in names if list(names).count(name) > 1), None):
        raise ValueError(f"names {twice} twice; name each layer once")
    return tuple(names)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != "" and not any(map(str.isspace, value))


class LoraConfig(Section):
    """Training of adapters beside a model that stays as it is."""

    rank: PositiveInt = 16
    """Rank of an adapter: the inner size of its two matrices."""
    alpha: PositiveFloat = 32.0
    """An adapter's product is multiplied by alpha / rank."""
    targets: Annotated[Literal["all-linear"] | tuple[str, ...], BeforeValidator(_targets)] = (
        "all-linear"
    )
    """Linear layers that get an adapter: all but the output layer, or those with one of these
    names, such as [q_proj, v_proj]; a name is the end of a layer's path, `mlp.up_proj` too."""
    dropout: Annotated[Float, Field(ge=0, lt=1)] = 0.0
    """Share of an adapter's inputs that are left out at random while its gradient is computed, and
    at no other time."""
    sync: Literal["adapter", "merged"] = "adapter"
    """Form in which the engine gets what was learned: the adapters as they are, or, for models
    whose adapters it does not take, all weights with the adapters added to them, whose rounding
    loses most of small updates."""

    @property
    def scaling(self) -> float:
        """Factor of an adapter's product."""
        return self.alpha / self.rank
