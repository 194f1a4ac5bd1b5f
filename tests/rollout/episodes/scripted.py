"""An engine that says what it is told, and worlds that do what they are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from transformers import AutoTokenizer

from rvpo.environments import EnvironmentConfig, WorldReply
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.episodes.engine import EpisodeEngine
from rvpo.rollout.further import Further, TurnRequest, awaited
from rvpo.runtime.ignore import ignore
from rvpo.sampling import Sampling
from rvpo.types import Message, Prompt, Rollout, Sample
from tests.tiny import TEMPLATE

CONTEXT = 4096


class ScriptedEngine:
    """Asks for further requests as they come. `rule` gives the text of a row's turn, with the text
    of a token that ends it."""

    def __init__(self, encoder: Encoder, rule: Callable[[int, int], str]) -> None:
        self.encoder = encoder
        self.rule = rule
        self.asked: list[TurnRequest] = []

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: Callable[[int, Sample], None] = ignore,
        sampling: Sampling | None = None,
        further: Further | None = None,
    ) -> Rollout:
        rows = [prompt for prompt in prompts for _ in range(samples_per_prompt)]
        requests: Sequence[TurnRequest] = [
            TurnRequest(n, 0, p, CONTEXT) for n, p in enumerate(rows)
        ]
        found: dict[int, Sample] = {}
        if not requests and further is not None:
            requests = awaited(further, all_of_them=False)
        while requests:
            for request in requests:
                self.asked.append(request)
                found[request.row] = self._sample(request)
                on_sample(request.row, found[request.row])
            requests = () if further is None else awaited(further, all_of_them=False)
        samples = tuple(found[row] for row in range(len(rows)))
        return Rollout(samples=samples, group_size=samples_per_prompt)

    def _sample(self, request: TurnRequest) -> Sample:
        encoder, text = self.encoder, self.rule(request.row, request.turn)
        prompt_ids = encoder.encode(request.prompt)
        ids = tuple(encoder.tokenizer(text, add_special_tokens=False)["input_ids"])
        is_cut = len(ids) > request.most_tokens
        ids = ids[: request.most_tokens]
        said = encoder.decode(ids)
        return Sample(
            prompt=request.prompt,
            prompt_ids=prompt_ids,
            completion_ids=ids,
            logprobs=(-0.5,) * len(ids),
            text=said,
            parts=encoder.split(prompt_ids, said, request.prompt.prefill),
            finish_reason="length" if is_cut else "stop",
            policy_version=0,
        )

    def load_weights(self, weights: object, version: int) -> None:
        pass

    def close(self) -> None:
        pass


class ScriptedConfig(EnvironmentConfig):
    name: Literal["scripted"] = "scripted"


async def nothing() -> Sequence[Message]:
    return ()


@dataclass
class ScriptedSession:
    """A world whose doings are given."""

    answers: Callable[[Message], Awaitable[WorldReply]]
    begins: Callable[[], Awaitable[Sequence[Message]]] = nothing
    closes: Callable[[], Awaitable[Any]] = nothing
    state: Any = None
    closed: int = 0
    heard: list[Message] = field(default_factory=list)

    async def begin(self) -> Sequence[Message]:
        return await self.begins()

    async def answer(self, message: Message) -> WorldReply:
        self.heard.append(message)
        return await self.answers(message)

    async def close(self) -> None:
        self.closed += 1
        await self.closes()


class ScriptedWorld:
    """Opens what it is given, by the number of worlds before."""

    def __init__(
        self,
        opened: Callable[[int], ScriptedSession],
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.tools = tools
        self.sessions: list[ScriptedSession] = []
        self.is_closed = False
        self._opened = opened

    def session(self, prompt: Prompt, seed: int) -> ScriptedSession:
        self.sessions.append(self._opened(len(self.sessions)))
        return self.sessions[-1]

    async def close(self) -> None:
        self.is_closed = True


def encoder_of(model: Path, template: str = TEMPLATE, special: Sequence[str] = ()) -> Encoder:
    """An encoder of a token for each byte.

    Args:
        special: further special tokens, of which the first one ends a turn.
    """
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = template
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    if special:
        tokenizer.add_special_tokens({"eos_token": special[0]})
    return Encoder(tokenizer, (tokenizer.eos_token_id,), CONTEXT, len(tokenizer))


def engine_of(
    encoder: Encoder,
    world: ScriptedWorld,
    rule: Callable[[int, int], str],
    say: Callable[[str], None] = ignore,
    tokens: int = 2000,
    *,
    as_served: bool = False,
    **settings: Any,
) -> EpisodeEngine:
    sampling = Sampling(temperature=1.0, max_completion_tokens=tokens)
    config = ScriptedConfig(**settings)
    engine = ScriptedEngine(encoder, rule)
    return EpisodeEngine(engine, world, config, encoder, sampling, say=say, as_served=as_served)
