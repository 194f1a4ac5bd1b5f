"""A thought that has used its budget up is ended, and what ended it was not drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.commands.engine import build_engine
from rvpo.data.encoder import encoder_of
from rvpo.errors import ConfigError, DataError
from rvpo.evaluate.weights import SavedWeights
from rvpo.rollout import ServersConfig
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.servers.command import Served, server_options
from rvpo.rollout.servers.reply import SampleRequest
from rvpo.rollout.thought_budget import Thought, ThoughtBudget
from rvpo.rollout.transformers_engine import TransformersEngine
from rvpo.runtime.ranks import Ranks
from rvpo.sampling import Sampling
from rvpo.thinking import ANALYSIS, HARMONY
from rvpo.types import Sample
from tests.configs import tiny_config
from tests.fakes import make_prompt
from tests.rollout.test_stops import with_template
from tests.test_thinking import make_encoder
from tests.tiny import TEMPLATE

OPENED = TEMPLATE.replace("assistant\n", "assistant\n<think>")
OPEN, CLOSE = 8, 9


def budget(tokens: int, closing: tuple[int, ...] = (CLOSE,)) -> ThoughtBudget:
    return ThoughtBudget(tokens, "<think>", "</think>", (OPEN,), closing)


def by_an_engine(limit: ThoughtBudget, prompt: list[int], wanted: list[int]) -> list[int | None]:
    """The tokens that an engine forces behind a prompt, and None where the model's own came, in the
    way that vLLM counts from the newest opening marker."""
    ids, forced = list(prompt), list[int | None]()
    for token in wanted:
        start = max((i for i, t in enumerate(ids) if t == OPEN), default=-1)
        size = len(limit.closing_ids)
        ends = [i for i in range(len(ids)) if tuple(ids[i : i + size]) == limit.closing_ids]
        due = None
        if start > max(ends, default=-1) and len(ids) - start - 1 >= limit.tokens:
            begun = [n for n in range(size) if tuple(ids[len(ids) - n :]) == limit.closing_ids[:n]]
            due = limit.closing_ids[max(begun)]
        forced.append(due)
        ids.append(token if due is None else due)
    return forced


tokens = st.lists(st.sampled_from([1, 2, 3, OPEN, CLOSE]), max_size=14)


@given(prompt=tokens, wanted=tokens, most=st.integers(0, 4), size=st.integers(1, 3))
@settings(deadline=None, max_examples=120)
def test_whatever_an_engine_writes_is_given_and_nothing_else(
    prompt: list[int], wanted: list[int], most: int, size: int
) -> None:
    limit = budget(most, (CLOSE, 1, 2)[:size])
    forced = by_an_engine(limit, prompt, wanted)
    ids = [token if due is None else due for token, due in zip(wanted, forced, strict=True)]
    logprobs = [-1.0 if due is None else 0.0 for due in forced]
    expected = tuple(place for place, due in enumerate(forced) if due is not None)
    assert limit.written(prompt, ids, logprobs) == expected


@given(ids=tokens, most=st.integers(0, 4))
@settings(deadline=None, max_examples=100)
def test_a_thought_within_its_budget_has_no_given_token(ids: list[int], most: int) -> None:
    thought, over = Thought(budget(most), ()), []
    for place, token in enumerate(ids):
        if thought.is_over:
            over.append(place)
            assert thought.due == CLOSE
        thought.take(token)
    assert tuple(over) == budget(most).written((), ids, [0.0] * len(ids))
    assert budget(most).written((), ids, [-0.5] * len(ids)) == ()
    assert budget(100).written((), ids, [0.0] * len(ids)) == ()


def test_a_longer_marker_is_finished_token_by_token() -> None:
    thought = Thought(budget(2, (CLOSE, 1)), (OPEN, 5))
    assert thought.due is None
    thought.take(6)
    assert thought.due == CLOSE
    thought.take(CLOSE)
    assert thought.due == 1
    thought.take(1)
    assert not thought.is_over


@pytest.fixture(scope="module")
def thinker(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose template begins a thought."""
    folder = tmp_path_factory.mktemp("thinker") / "m"
    return with_template(tiny_model, folder, OPENED)


def generated(path: Path, ranks: Ranks, most: int | None) -> list[Sample]:
    settings = {"max_completion_tokens": 24} | ({"max_thought_tokens": most} if most else {})
    config = tiny_config(path, rollout=settings, model={"thinking": MARKERS})
    encoder = encoder_of(config.model, config.rollout, str(path))
    engine = build_engine(config.model, config.rollout, str(path), encoder, 0, ranks)
    assert isinstance(engine, TransformersEngine)
    engine.load_weights(SavedWeights(str(path), torch.float32, trust_remote_code=False), version=0)
    return list(engine.generate([make_prompt(), make_prompt(content="And?")], 3, seed=1).samples)


MARKERS = {"open": "<think>", "close": "</think>"}


def test_an_engine_ends_thoughts_and_says_which_tokens_it_wrote(
    thinker: Path, ranks: Ranks
) -> None:
    samples = generated(thinker, ranks, 6)
    ended = [sample for sample in samples if sample.given]
    assert ended
    for sample in ended:
        written = bytes(sample.completion_ids[place] for place in sample.given)
        logprobs = [sample.logprobs[place] for place in sample.given]
        assert len(written) == len("</think>")
        assert sample.given == tuple(range(6, 6 + len(written)))
        assert logprobs == [0.0] * len(written)
        assert "</think>" in sample.text
        assert all(p < 0 for i, p in enumerate(sample.logprobs) if i not in sample.given)


def test_without_a_budget_every_token_is_drawn(thinker: Path, ranks: Ranks) -> None:
    assert all(sample.given == () for sample in generated(thinker, ranks, None))


def test_a_model_that_shows_no_markers_has_no_budget(tiny_model: Path) -> None:
    config = tiny_config(tiny_model, rollout={"max_thought_tokens": 4})
    with pytest.raises(ConfigError, match=r"rollout\.max_thought_tokens: .* write model\.thinking"):
        encoder_of(config.model, config.rollout, str(tiny_model))


def test_the_markers_of_a_budget_are_told(tiny_model: Path) -> None:
    config = tiny_config(tiny_model, rollout={"max_thought_tokens": 4}, model={"thinking": MARKERS})
    said = list[str]()
    encoder_of(config.model, config.rollout, str(tiny_model), said.append)
    assert said == [
        "rollout.max_thought_tokens: a thought begins with '<think>' and is ended with '</think>' "
        "after 4 tokens"
    ]


@pytest.mark.parametrize(
    ("content", "is_refused"),
    [
        ("Write <think> first.", True),
        ("<think>", True),
        ("Write <think> a thought </think> first.", False),
        ("Write </think> last.", False),
        ("A thought?", False),
    ],
)
def test_a_prompt_that_begins_a_thought_itself_is_refused_before_it_costs(
    content: str, is_refused: bool, tiny_model: Path
) -> None:
    config = tiny_config(tiny_model, rollout={"max_thought_tokens": 4}, model={"thinking": MARKERS})
    encoder = encoder_of(config.model, config.rollout, str(tiny_model))
    prompts = [make_prompt(), make_prompt("mine", content)]
    if not is_refused:
        encoder.check_lengths(prompts, 8)
        return
    with pytest.raises(DataError, match="prompt 'mine' holds '<think>' without '</think>'"):
        encoder.check_lengths(prompts, 8)


def test_a_marker_whose_tokens_depend_on_what_is_beside_it_is_refused(tiny_model: Path) -> None:
    class Merging:
        """A tokenizer that makes one token of a line end and what is before it."""

        chat_template = "<mull> </mull>"
        added_tokens_decoder: Mapping[int, str] = MappingProxyType({})

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            return {"input_ids": [*text.replace(">\n", "|").encode()]}

    encoder = Encoder(Merging(), (0,), 9, 9, markers=("<mull>", "</mull>"), max_thought_tokens=4)
    with pytest.raises(ConfigError, match="the tokens of '<mull>' depend on what stands beside"):
        _ = encoder.thought_budget


def test_gpt_oss_thinks_in_a_channel(tiny_model: Path) -> None:
    encoder = make_encoder(tiny_model, special=[*HARMONY, "<s>", "</s>"])
    limit = replace(encoder, max_thought_tokens=4).thought_budget
    assert limit is not None
    assert (limit.opening, limit.closing) == ANALYSIS
    assert len(limit.closing_ids) == 1


def test_servers_are_told_markers_and_budget(tiny_model: Path) -> None:
    limit = budget(5)
    plain, limited = (
        list(server_options(ServersConfig(urls=("http://a:1",)), served, on_gpu=False))
        for served in (Served(path="m"), Served(path="m", thought_budget=limit))
    )
    place = limited.index("--reasoning-config")
    assert limited[place + 1] == (
        '{"reasoning_start_str": "<think>", "reasoning_end_str": "</think>"}'
    )
    assert limited[:place] + limited[place + 2 :] == plain
    request = SampleRequest(
        row=0,
        prompt=make_prompt(),
        prompt_ids=(1,),
        seed=0,
        drawn=Sampling(temperature=1.0, max_completion_tokens=9),
        stop_ids=(3,),
        vocabulary=9,
    )
    assert "thinking_token_budget" not in request.sampling
    limited_request = replace(request, thought_tokens=5)
    assert limited_request.sampling == {**request.sampling, "thinking_token_budget": 5}
