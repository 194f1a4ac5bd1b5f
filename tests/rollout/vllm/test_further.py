"""Turns that arise while vLLM generates, on a stand-in for it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.errors import EngineError
from rvpo.rollout.further import TurnRequest
from rvpo.rollout.vllm.engine import VllmEngine
from rvpo.types import Sample
from tests.fakes import make_prompt
from tests.rollout.talking import Talking, check_all_turns
from tests.rollout.vllm.test_rollout_order import FakeLlm, Nothing, engine_around

LONG = 60.0
TURNS = st.lists(st.integers(1, 4), min_size=1, max_size=8)
DELAYS = st.dictionaries(
    st.tuples(st.integers(0, 7), st.integers(1, 3)), st.sampled_from([0.0, 0.001, 0.01])
)


class Gradual(FakeLlm):
    """Finishes some of its requests at each step, and answers with their own number."""

    def __init__(self, drawn: random.Random | None = None) -> None:
        super().__init__()
        self._drawn = drawn or random.Random(0)
        self.asked: list[tuple[tuple[int, ...], int | None, int]] = []
        """Prompt, seed and longest completion of each request."""
        self.version = "0"
        self.dies_at = -1

    def set_weight_version(self, version: str) -> None:
        super().set_weight_version(version)
        self.version = version

    def sleep(self, level: int, mode: str = "abort") -> None:
        pass

    def reset_prefix_cache(self, reset_running_requests: bool = False) -> bool:
        return True

    def add_request(
        self, name: str, prompt: dict[str, Any], request: Any, lora_request: None
    ) -> None:
        if len(self.asked) == self.dies_at:
            raise RuntimeError("its process ended")
        assert int(name) == len(self.asked)
        self.asked.append((tuple(prompt["prompt_token_ids"]), request.seed, request.max_tokens))
        self._waiting.append(name)

    def step(self) -> list[Any]:
        names = [name for name in self._waiting if self._drawn.random() < 0.5]
        self._waiting = [name for name in self._waiting if name not in names]
        return [self._output(name) for name in names]

    def _output(self, name: str) -> Any:
        token = 100 + int(name)
        completion = SimpleNamespace(
            finish_reason="stop",
            token_ids=[token],
            logprobs=[{token: SimpleNamespace(logprob=-1.0)}],
            weight_versions=[SimpleNamespace(version=self.version, start=0, end=1)],
        )
        prompt = self.asked[int(name)][0]
        return SimpleNamespace(
            finished=True, request_id=name, prompt_token_ids=prompt, outputs=[completion]
        )


def around(llm: FakeLlm, *, on_gpu: bool = False, in_process: bool = True) -> VllmEngine:
    engine = engine_around(llm, on_gpu=on_gpu)
    engine._in_process = in_process
    engine._death = () if in_process else (RuntimeError,)
    encoder: Any = engine._encoder
    encoder.encode = lambda prompt: prompt.token_ids or (1, 2)
    engine.load_weights(Nothing(), 0)
    return engine


def talked(
    llm: Gradual,
    turns: Sequence[int],
    delays: Mapping[tuple[int, int], float],
    *,
    on_gpu: bool = False,
    in_process: bool = True,
) -> tuple[Talking, tuple[Sample, ...]]:
    engine = around(llm, on_gpu=on_gpu, in_process=in_process)
    talk = Talking(turns, delays, most=lambda row, turn: 20 + row - turn)
    with closing(talk):
        prompts = [make_prompt(f"p/{row}") for row in range(len(turns))]
        rollout = engine.generate(prompts, 1, seed=5, on_sample=talk.hear, further=talk)
    return talk, rollout.samples


@pytest.mark.parametrize(
    ("on_gpu", "in_process"), [(True, True), (False, True), (True, False), (False, False)]
)
@given(TURNS, DELAYS, st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_whenever_turns_come_none_is_lost_or_doubled(
    on_gpu: bool,
    in_process: bool,
    turns: list[int],
    delays: dict[tuple[int, int], float],
    drawn: random.Random,
) -> None:
    llm = Gradual(drawn)
    talk, samples = talked(llm, turns, delays, on_gpu=on_gpu, in_process=in_process)
    check_all_turns(talk, turns, samples)
    assert len(llm.asked) == sum(turns)
    firsts = [TurnRequest(row, 0, make_prompt(), 8) for row in range(len(turns))]
    each = [*firsts, *talk.taken]
    for (_, seed, most), request in zip(llm.asked, each, strict=True):
        assert most == request.most_tokens
        assert seed == (request.seed(5) if on_gpu else None)
    if on_gpu:
        assert max(Counter(seed for _, seed, _ in llm.asked).values()) == 1


@pytest.mark.parametrize(
    ("on_gpu", "in_process"), [(True, True), (False, True), (True, False), (False, False)]
)
def test_rows_that_begin_later_are_asked_with_their_own_seeds(
    on_gpu: bool, in_process: bool
) -> None:
    llm = Gradual()
    engine = around(llm, on_gpu=on_gpu, in_process=in_process)
    delays = {(row, 0): 0.3 * (row % 2) for row in range(4)}
    asked_for_first: list[int] = []

    def hear(row: int, sample: Sample) -> None:
        asked_for_first.append(len(llm.asked))
        talk.hear(row, sample)

    with closing(Talking([1, 2, 1, 2], delays)) as talk:
        talk.begin([make_prompt(f"p/{row}") for row in range(4)])
        rollout = engine.generate([], 1, seed=5, on_sample=hear, further=talk)
    assert rollout.samples == ()
    assert [len(talk.of_row(row)) for row in range(4)] == [1, 2, 1, 2]
    assert [seed for _, seed, _ in llm.asked] == [
        each.seed(5) if on_gpu else None for each in talk.taken
    ]
    in_rounds = in_process and not on_gpu
    assert (asked_for_first[0] == 4) == in_rounds


def test_turns_join_what_is_under_way() -> None:
    """The first row is through with all its turns before the second has its first."""

    class Long(Gradual):
        def step(self) -> list[Any]:
            names = [name for name in self._waiting if name != "1"]
            if not names and talk.taken and len(talk.of_row(0)) == 4:
                names = ["1"]
            self._waiting = [name for name in self._waiting if name not in names]
            return [self._output(name) for name in names]

    for on_gpu, in_process in [(True, True), (True, False), (False, False)]:
        engine = around(Long(), on_gpu=on_gpu, in_process=in_process)
        talk = Talking([4, 1])
        with closing(talk), ThreadPoolExecutor(1) as thread:
            made = thread.submit(
                engine.generate, [make_prompt()], 2, 5, on_sample=talk.hear, further=talk
            )
            made.result(LONG)
        assert [row for row, _ in talk.heard] == [0, 0, 0, 0, 1]


@given(TURNS, DELAYS, DELAYS, st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_where_samples_share_random_numbers_nothing_depends_on_when_a_world_answers(
    turns: list[int],
    delays: dict[tuple[int, int], float],
    others: dict[tuple[int, int], float],
    seed: int,
) -> None:
    asked = []
    for each in (delays, others):
        llm = Gradual(random.Random(seed))
        talked(llm, turns, each)
        asked.append(llm.asked)
    assert asked[0] == asked[1]


def test_turns_behind_new_weights_are_of_their_version() -> None:
    llm = Gradual()
    engine = around(llm, in_process=False)
    engine._in_flight = True
    talk = Talking([3, 3], {(0, 1): 0.01})

    def hear(row: int, sample: Sample) -> None:
        if len(talk.heard) == 3:
            engine.load_weights(Nothing(), 1)
        talk.hear(row, sample)

    with closing(talk):
        engine.generate([make_prompt()], 2, 5, on_sample=hear, further=talk)
    versions = [sample.policy_version for _, sample in talk.heard]
    assert versions == sorted(versions)
    assert versions[0] == 0
    assert versions[-1] == 1


def test_an_engine_that_died_while_a_world_answered_is_told_of() -> None:
    llm = Gradual()
    engine = around(llm, in_process=False)
    llm.dies_at = 2
    talk = Talking([2, 2], {(0, 1): 0.01, (1, 1): 0.01})
    with closing(talk), pytest.raises(EngineError, match="vLLM failed while generating"):
        engine.generate([make_prompt()], 2, 5, on_sample=talk.hear, further=talk)
