"""2,000 episodes beside an engine that only waits, with tools that are slow, fail and hang.

    python -m performance.episodes_load

The engine has a number of places, and a turn of the policy takes a while; what the policy says is
made of what its world told it, so an answer of another episode's world, or of a part of one, is a
wrong one. Prints what became of the episodes beside what was to become of them, how long the engine
stood idle, and the CPU time of a turn; with --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from performance.judge_faults import table
from performance.published import add_save_option, publish
from rvpo.environments import ToolFailed, ToolsConfig
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.episodes.engine import EpisodeEngine
from rvpo.rollout.further import Further, TurnRequest
from rvpo.runtime.ignore import ignore
from rvpo.sampling import Sampling
from rvpo.types import Prompt, Rollout, Sample
from tests.tiny import tiny_tokenizer

GROUP: Final = 8
PLACES: Final = 256
TURN_S: Final = 0.5
LATENCY_S: Final = 0.2
SECONDS: Final = 5.0
TEMPLATE: Final = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n"
    "{{ m.content }}\n</tool_response><|im_end|>\n"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOLD: Final = re.compile(r"<tool_response>\n(.*?)\n</tool_response>", re.DOTALL)
KINDS: Final = {
    "slow": 0.40,
    "slow_async": 0.40,
    "raises": 0.06,
    "unknown": 0.04,
    "unreadable": 0.04,
    "exits": 0.03,
    "fails": 0.02,
    "hangs": 0.01,
}
"""What is called, and how often."""
ENDS: Final = {"fails": "tool_failed", "hangs": "tool_failed"}
"""Of kinds that end an episode, how."""


def slow(key: int) -> str:
    """Looks up a key.

    Args:
        key: the one to look up.
    """
    time.sleep(LATENCY_S)
    return word_of(key)


async def slow_async(key: int) -> str:
    """Looks up a key, beside others.

    Args:
        key: the one to look up.
    """
    await asyncio.sleep(LATENCY_S)
    return word_of(key)


def raises(key: int) -> str:
    """Raises an error.

    Args:
        key: the one to look up.
    """
    raise ValueError(f"no {key}")


def exits(key: int) -> str:
    """Leaves Python.

    Args:
        key: the one to look up.
    """
    sys.exit(key)


def fails(key: int) -> str:
    """Says that it does not work.

    Args:
        key: the one to look up.
    """
    raise ToolFailed("the table is gone")


def hangs(key: int) -> str:
    """Does not return.

    Args:
        key: the one to look up.
    """
    threading.Event().wait()
    return ""


def word_of(key: int) -> str:
    return str(random.Random(key).randrange(10**9))


@dataclass(frozen=True)
class Plan:
    """What the policy of an episode calls, and what has to become of it."""

    row: int
    kinds: tuple[str, ...]

    @staticmethod
    def of(row: int) -> Plan:
        rng = random.Random(f"plan {row}")
        kinds = rng.choices(list(KINDS), list(KINDS.values()), k=rng.randint(0, 5))
        return Plan(row, tuple(kinds))

    @property
    def ending(self) -> str:
        return next((ENDS[kind] for kind in self.kinds if kind in ENDS), "answered")

    @property
    def calls(self) -> int:
        last = next((n for n, kind in enumerate(self.kinds) if kind in ENDS), None)
        return len(self.kinds if last is None else self.kinds[:last])

    @property
    def failures(self) -> int:
        return sum(not kind.startswith("slow") for kind in self.kinds[: self.calls])

    def key(self, turn: int) -> int:
        return 100 * self.row + turn

    def said(self, turn: int, told: Sequence[str]) -> str:
        """A turn of the policy, by what its world has told it so far."""
        if turn == len(self.kinds):
            return " ".join(told) or "nothing"
        kind = self.kinds[turn]
        call = json.dumps({"name": kind, "arguments": {"key": self.key(turn)}})
        return f"<tool_call>{call[:-1] if kind == 'unreadable' else call}</tool_call>"

    def is_right(self, answer: str) -> bool:
        """True of the words of this episode's calls, and nothing else but errors of its own."""
        found = [word for word in answer.split() if word.isdigit()]
        keys = [self.key(n) for n, kind in enumerate(self.kinds) if kind.startswith("slow")]
        return found == [word_of(key) for key in keys]


@dataclass
class WaitingEngine:
    """Has so many places, in each of which a turn takes its time."""

    encoder: Encoder
    idle: float = 0.0
    """Seconds without a turn in any place, while there were episodes."""
    cpu: float = 0.0
    """Seconds of the thread that it runs in, but for what it hands on."""
    turns: int = 0
    news: threading.Event = field(default_factory=threading.Event)

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: Callable[[int, Sample], None] = ignore,
        sampling: Sampling | None = None,
        further: Further | None = None,
    ) -> Rollout:
        assert further is not None
        further.listen(self.news.set)
        rows = [prompt for prompt in prompts for _ in range(samples_per_prompt)]
        queue = [TurnRequest(row, 0, prompt, 4000) for row, prompt in enumerate(rows)]
        running: list[tuple[float, int, TurnRequest]] = []
        found: dict[int, Sample] = {}
        while True:
            while queue and len(running) < PLACES:
                request = queue.pop(0)
                end = time.monotonic() + TURN_S * random.Random(request.row).uniform(0.2, 1.8)
                heapq.heappush(running, (end, request.row, request))
            if not running:
                before = time.monotonic()
                goes_on = further.wait()
                self.idle += time.monotonic() - before
                if not goes_on:
                    break
            while running and running[0][0] <= time.monotonic():
                _, row, request = heapq.heappop(running)
                found[row] = self._sample(request)
                on_sample(row, found[row])
            queue += further.take()
            if running and (not queue or len(running) == PLACES):
                self.news.wait(max(0.0, running[0][0] - time.monotonic()))
                self.news.clear()
        return Rollout(
            samples=tuple(found[row] for row in range(len(rows))), group_size=samples_per_prompt
        )

    def _sample(self, request: TurnRequest) -> Sample:
        before = time.thread_time()
        ids = self.encoder.encode(request.prompt)
        told = TOLD.findall(self.encoder.tokenizer.decode(ids, skip_special_tokens=False))
        text = Plan.of(request.row).said(request.turn, told)
        said = self.encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
        said = (*said, self.encoder.stop_ids[0])
        self.turns += 1
        sample = Sample(
            prompt=request.prompt,
            prompt_ids=ids,
            completion_ids=said,
            logprobs=(-0.5,) * len(said),
            text=text,
            parts=self.encoder.split(ids, text),
            finish_reason="stop",
            policy_version=0,
        )
        self.cpu += time.thread_time() - before
        return sample

    def load_weights(self, weights: object, version: int) -> None:
        pass

    def close(self) -> None:
        pass


def measured(episodes: int, at_once: int) -> Iterator[str]:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    assert isinstance(tokenizer.eos_token_id, int)
    encoder = Encoder(tokenizer, (tokenizer.eos_token_id,), 16384, len(tokenizer))
    names = ("slow", "slow_async", "raises", "exits", "fails", "hangs")
    config = ToolsConfig(
        functions=tuple({"function": f"performance.episodes_load:{name}"} for name in names),  # type: ignore[arg-type]
        seconds=SECONDS,
        at_once=at_once,
    )
    world = config.open()
    engine = WaitingEngine(encoder)
    sampling = Sampling(temperature=1.0, max_completion_tokens=8000)
    whole = EpisodeEngine(engine, world, config, encoder, sampling)
    prompts = [
        Prompt(
            id=f"load/{n}",
            messages=({"role": "user", "content": f"Look up what you need for {n}."},),
            tools=world.tools,
        )
        for n in range(episodes // GROUP)
    ]
    cpu, begun = time.process_time(), time.monotonic()
    rollout = whole.generate(prompts, GROUP, seed=0)
    seconds, cpu = time.monotonic() - begun, time.process_time() - cpu - engine.cpu
    whole.close()
    yield from told_of(rollout)
    yield ""
    yield (
        f"{at_once:,} worlds at once; {PLACES} places, in which a turn takes {TURN_S:g} s in the "
        f"mean, and tools that take {LATENCY_S:g} s, or for ever, which is {SECONDS:g} s: "
        f"{engine.turns:,} turns of the policy in {seconds:.1f} s, in {engine.idle:.1f} s of which "
        f"no place was taken. A turn took {1000 * cpu / engine.turns:.2f} ms of CPU time beside "
        f"the engine's, its share of opening and closing worlds included."
    )


def told_of(rollout: Rollout) -> Iterator[str]:
    plans = [Plan.of(row) for row in range(len(rollout.samples))]
    wrong, ended, planned = 0, Counter[str](), Counter[str]()
    failures, planned_failures = Counter[str](), 0
    for plan, sample in zip(plans, rollout.samples, strict=True):
        episode = sample.episode
        assert episode is not None
        ended[episode.ending] += 1
        planned[plan.ending] += 1
        failures.update(episode.failures)
        planned_failures += plan.failures
        if not episode.missing and not plan.is_right(sample.text):
            wrong += 1
    rows = [[name, f"{planned[name]:,}", f"{ended[name]:,}"] for name in sorted(planned | ended)]
    yield f"{wrong:,} of {ended['answered']:,} answers are wrong."
    yield ""
    yield from table(["ending", "planned", "episodes"], rows)
    yield ""
    rows = [[reason, f"{count:,}"] for reason, count in failures.most_common(8)]
    rows.append(["all of them", f"{failures.total():,} of {planned_failures:,} planned"])
    yield from table(["failed calls", "calls"], rows)
    reasons = Counter(s.episode.missing for s in rollout.samples if s.episode and s.episode.missing)
    yield ""
    yield from table(
        ["episodes without a score", "episodes"],
        [[reason, f"{count:,}"] for reason, count in reasons.most_common()],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=256)
    add_save_option(parser)
    options = parser.parse_args()
    publish("episodes_load.md", "\n".join(measured(options.episodes, options.at_once)), options)


if __name__ == "__main__":
    main()
