"""The memory of a rollout engine, from its settings and the sizes of a model, in bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """The sizes that each device of an engine is to hold, and the memory that it has for them."""

    width: int = 2
    """A number in the type that computes."""
    weights: float
    """Weights of the model, in the type that computes: all, or the part of one of several GPUs."""
    adapters: float = 0.0
    """Room for the adapters of LoRA, where the engine gets these instead of weights."""
    token: int
    """Keys and values of one token, over all layers."""
    activations: int = 0
    """Activations of one token while a layer is computed and nothing is kept for a gradient."""
    logits: int = 0
    """Logits of one token, as computed and as the sampler copies them."""
    prompt_tokens: int = 0
    """Length of the longest prompt."""
    completion_tokens: int
    """Length of the longest completion."""
    context_tokens: int = 0
    """Length of the longest prompt plus completion that the model itself allows."""
    device: float | None
    """Memory of a GPU; None on a CPU."""
    concurrent: bool
    """It generates while the policy learns."""

    @property
    def sample_tokens(self) -> int:
        """Length of the longest prompt with the longest completion."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class KvCache:
    """The keys and values that an engine has room for."""

    size: float
    """Bytes; negative where not even the rest of the engine has room."""
    tokens: int
    """Tokens that they are of."""
    longest: int
    """Tokens of a sequence of full length, of which it has to hold one."""
    most: int
    """Sequences that the engine generates at once at most, however much room there is."""

    @property
    def fits(self) -> bool:
        """True where one sequence of full length has room."""
        return self.tokens >= self.longest

    def at_once(self, tokens: int) -> int:
        """Sequences of so many tokens that are generated at the same time."""
        return max(0, min(self.most, self.tokens // max(tokens, 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMemory:
    """The memory that an engine takes."""

    awake: float
    """Bytes of its training process's device while it generates."""
    resting: float
    """Bytes of the same device while the policy learns."""
    loading: float | None = None
    """Bytes of the same device while it takes new weights; None where those are `awake`."""
    sending: float = 0.0
    """Bytes of the same device for weights on their way to other GPUs."""
    context: float = 0.0
    """Bytes of the same device beside those, for a process of its own."""
    host: float = 0.0
    """Memory of the machine itself, beside a GPU's."""
    own: float = 0.0
    """Bytes of each GPU of its own, on which nothing else works."""
    about: str
    """The thing that takes the memory, in a few words."""
    cache: KvCache | None = None
    """Room for keys and values, where that is limited."""
