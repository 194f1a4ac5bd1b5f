"""The numbers that a plan of times rests on, each of which may be given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from rvpo.config.run import RunConfig
from rvpo.config.sentences import validated
from rvpo.docstrings import docstrings
from rvpo.errors import ConfigError
from rvpo.fields import Float, NonNegativeFloat, PositiveFloat, PositiveInt, Section
from rvpo.plan.card import USUAL, Card
from rvpo.plan.machine import Finding

Share = Annotated[Float, Field(gt=0, le=1)]


class Assumptions(Section):
    """Assumptions of `rvpo plan --nodes`, by the names that `--assume` takes."""

    card: str | None = None
    """The GPU, whose data sheet is taken."""
    completion_tokens: PositiveInt | None = None
    """Tokens of a completion in the mean."""
    mfu: Share = 0.4
    """Share of a GPU's arithmetic that an update uses."""
    prefill: Share = 0.5
    """The same of an engine that reads prompts, or decodes many samples at once."""
    memory: Share = 0.7
    """Share of the bandwidth of memory that decoding uses."""
    step_ms: NonNegativeFloat = 1.0
    """Milliseconds of each decoding step beside that: launches, scheduling, sampling."""
    hop_us: NonNegativeFloat = 10.0
    """Microseconds in which the GPUs of one engine meet, twice in each layer."""
    network_gbit: PositiveFloat = 400.0
    """Rate of the network between nodes in Gbit/s, for each GPU"""
    wire: Share = 0.7
    """Share of links and network that the exchange of weights and gradients uses."""
    host_gb: PositiveFloat = 50.0
    """Rate between a GPU and the memory of its machine in GB/s."""
    sync_s: NonNegativeFloat = 1.0
    """Seconds of each change of weights beside what travels: waiting, HTTP, sleep and waking."""
    slowest: Annotated[Float, Field(ge=1)] = 1.1
    """Work of the busiest engine or process, by the mean of all."""

    def tokens(self, config: RunConfig) -> int:
        """Mean length of a completion, half of the longest if it was not given."""
        most = config.rollout.max_completion_tokens
        return min(self.completion_tokens or -(-most // 2), most)

    def findings(self, config: RunConfig, card: Card) -> Iterator[Finding]:
        """One for each of them."""
        yield Finding("  card", "ok", f"{card}, as data sheets have it")
        tokens = f"completion_tokens={self.tokens(config)}: {_about('completion_tokens')}"
        yield Finding("  lengths", "ok", f"{tokens}, half of the most if it is not given")
        for name in type(self).model_fields:
            if name not in ("card", "completion_tokens"):
                yield Finding(f"  {name}", "ok", f"{name}={getattr(self, name):g}: {_about(name)}")


def _about(name: str) -> str:
    text = docstrings(Assumptions)[name]
    return text[0].lower() + text[1:].removesuffix(".")


def read_assumptions(given: Sequence[str]) -> Assumptions:
    """Assumptions as `--assume` gives them.

    Args:
        given: each NAME=VALUE.

    Raises:
        ConfigError: a name is unknown, or a value is none that it can have.
    """
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--assume: must be NAME=VALUE, such as mfu=0.4, got {text!r}")
        values[name.strip()] = value.strip()
    return validated(Assumptions, values, "--assume")


def card_of(assumed: Assumptions, sold: float | None, device: str | None) -> Card | None:
    """The card that is planned for, None where nothing tells it.

    Args:
        sold: GB that it is sold by, where that was given.
        device: name of this machine's GPU, where that is planned for.

    Raises:
        ConfigError: `card` names none that is known.
    """
    name = assumed.card or device or (USUAL.get(int(sold)) if sold else None)
    card = Card.of(name, sold) if name else None
    if card is None and assumed.card:
        raise ConfigError(
            f"--assume: card: the speed of {assumed.card!r} is not known; give one of "
            f"{', '.join(sorted(set(USUAL.values())))}, or another by its maker's name"
        )
    return card
