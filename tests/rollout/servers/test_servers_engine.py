"""Samples of servers: each once, right, and of the weights that were sent last."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from rvpo.errors import DataError, EngineError
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import Weights
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.pool import Pool
from rvpo.rollout.supports import told
from rvpo.runtime.seed import derived_seed
from rvpo.sampling import Sampling
from rvpo.types import Rollout, Sample
from tests.fakes import make_prompt
from tests.rollout.servers.engines import (
    LONGEST,
    NO_WEIGHTS,
    OTHER_RUN,
    RUN,
    FakeSync,
    asking,
    is_right,
    make_prompts,
)
from tests.rollout.servers.server import FakeServer, Faults


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    read = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    return replace(read, max_context_tokens=4096)  # of servers that are functions


def wrong(rollout: Rollout, encoder: Encoder, seed: int, version: int = 1) -> list[int]:
    """The rows whose sample is not the one that was asked for."""
    return [
        row
        for row, sample in enumerate(rollout.samples)
        if not is_right(sample, derived_seed(seed, row), encoder)
        or sample.policy_version != version
    ]


def test_of_many_requests_with_faults_none_is_wrong_doubled_or_lost(
    encoder: Encoder,
) -> None:
    prompts, heard = make_prompts(250), Counter[int]()
    with ExitStack() as stack:
        faults = Faults.passing(0.3)
        servers = [stack.enter_context(FakeServer(faults, seed=seed)) for seed in range(2)]
        engine = stack.enter_context(asking(encoder, servers))
        rollout = engine.generate(
            prompts, 8, seed=5, on_sample=lambda row, sample: heard.update([row])
        )
    assert heard == Counter(range(2000))
    assert len(rollout.samples) == 2000
    assert [sample.prompt.id for sample in rollout.samples[::8]] == [each.id for each in prompts]
    assert wrong(rollout, encoder, 5) == []
    met = sum((server.seen.faults for server in servers), Counter[str]())
    asked = sum(sum(server.seen.rows.values()) for server in servers)
    assert 0.25 < met.total() / asked < 0.35
    assert set(met) - {""} == set(Faults.names()) - {"other_version", "no_version"}
    assert rollout.generation.asked_again == met.total()
    assert rollout.generation.servers == 2


@pytest.mark.parametrize("fault", Faults.names())
def test_a_server_that_always_fails_in_one_way_costs_nothing_but_time(
    encoder: Encoder, fault: str
) -> None:
    broken = Faults(**{fault: 1.0})
    with FakeServer(broken) as bad, FakeServer() as good, asking(encoder, [bad, good]) as engine:
        heard: list[int] = []
        rollout = engine.generate(
            make_prompts(6), 4, seed=1, on_sample=lambda row, sample: heard.append(row)
        )
    assert sorted(heard) == list(range(24))
    assert wrong(rollout, encoder, 1) == []
    assert bad.seen.answered == 0 < bad.seen.faults[fault]
    assert good.seen.answered == 24


def test_a_group_goes_to_one_server_and_servers_have_the_same_to_do(encoder: Encoder) -> None:
    prompts = make_prompts(8, tokens=665)
    with FakeServer() as a, FakeServer() as b, asking(encoder, [a, b]) as engine:
        rollout = engine.generate(prompts, 8, seed=0)
    tokens = sum(len(sample.prompt_ids) for sample in rollout.samples[::8])
    assert tokens >= 8 * 680
    assert a.seen.prompt_tokens + b.seen.prompt_tokens == tokens  # each prompt computed once
    assert a.seen.answered + b.seen.answered == 64
    assert max(a.seen.tokens, b.seen.tokens) < 1.2 * min(a.seen.tokens, b.seen.tokens)


def test_prefixes_of_one_rollout_have_no_part_in_the_next(encoder: Encoder) -> None:
    with FakeServer() as server, asking(encoder, [server]) as engine:
        for _ in range(2):
            engine.generate(make_prompts(1), 4, seed=0)
    once = len(encoder.encode(make_prompts(1)[0]))
    assert server.seen.prompt_tokens == 2 * once


def test_no_more_requests_are_open_at_a_server_than_it_works_on(encoder: Encoder) -> None:
    with FakeServer() as server, asking(encoder, [server], at_once=5) as engine:
        engine.generate(make_prompts(10), 4, seed=0)
    assert server.seen.answered == 40
    assert server.seen.most_in_flight <= 5


def test_samples_are_heard_as_each_ends_in_the_thread_that_asked(encoder: Encoder) -> None:
    """The slow server answers when all that the fast one has are heard: it is waited for, and its
    samples are asked of nobody else."""
    threads = set()
    with FakeServer() as slow, FakeServer() as fast, asking(encoder, [slow, fast]) as engine:
        slow.held = True
        heard: list[int] = []

        def hear(row: int, sample: Sample) -> None:
            threads.add(threading.current_thread())
            heard.append(row)
            if len(heard) == 16:
                slow.release()

        rollout = engine.generate(make_prompts(4), 8, seed=2, on_sample=hear)
    assert wrong(rollout, encoder, 2) == []
    assert threads == {threading.current_thread()}
    assert set(slow.seen.rows.values()) == {1}
    assert (slow.seen.answered, fast.seen.answered) == (16, 16)


def test_what_a_server_had_when_it_was_killed_is_asked_elsewhere(encoder: Encoder) -> None:
    said: list[str] = []
    with (
        FakeServer() as dying,
        FakeServer() as other,
        asking(encoder, [dying, other], say=said.append) as engine,
    ):
        dying.held = True
        heard: list[int] = []

        def hear(row: int, sample: Sample) -> None:
            heard.append(row)
            if len(heard) == 16:
                dying.kill()

        rollout = engine.generate(make_prompts(4), 8, seed=3, on_sample=hear)
        assert sorted(heard) == list(range(32))
        assert rollout.generation.asked_again == 16
        assert wrong(rollout, encoder, 3) == []
        assert other.seen.answered == 32
        said.clear()
        dying.restart()
        # It says that it is healthy, and has weights that mean nothing: nobody asks it.
        engine.generate(make_prompts(4), 8, seed=4)
        (told,) = said
        assert told.startswith(f"server {dying.url} has weights of version 'default', not 1: it is")
        assert (dying.seen.answered, other.seen.answered) == (0, 64)
        dying.held = False
        engine.load_weights(NO_WEIGHTS, version=2)
        assert said[1:] == [f"server {dying.url} has the new weights, and is asked again"]
        again = engine.generate(make_prompts(4), 8, seed=5)
        assert wrong(again, encoder, 5, version=2) == []
        assert dying.seen.answered == 16


def test_a_server_that_came_back_with_other_weights_is_not_believed(encoder: Encoder) -> None:
    with FakeServer() as back, FakeServer() as other, asking(encoder, [back, other]) as engine:
        back.restart()
        rollout = engine.generate(make_prompts(4), 8, seed=3)
        assert wrong(rollout, encoder, 3) == []
        assert other.seen.answered == 32
        back.version, other.version = RUN.of(0), RUN.of(1)
        engine.load_weights(NO_WEIGHTS, version=2)
        back.version = RUN.of(1)  # as if it had missed the weights
        rollout = engine.generate(make_prompts(4), 8, seed=4)
        assert {sample.policy_version for sample in rollout.samples} == {2}


def test_nothing_is_asked_of_a_server_that_another_run_gave_weights(encoder: Encoder) -> None:
    """The other run counts its versions alike."""
    said: list[str] = []
    with (
        FakeServer() as taken,
        FakeServer() as other,
        asking(encoder, [taken, other], say=said.append) as engine,
    ):
        taken.version = OTHER_RUN.of(1)
        rollout = engine.generate(make_prompts(4), 8, seed=3)
        assert wrong(rollout, encoder, 3) == []
        assert (taken.seen.answered, other.seen.answered) == (0, 32)
        (told,) = said
        words = f"has weights of version {OTHER_RUN.of(1)!r}, from another run, not 1: it is left"
        assert told.startswith(f"server {taken.url} {words} out until the next weights")
        engine.load_weights(NO_WEIGHTS, version=2)
        engine.generate(make_prompts(4), 8, seed=4)
        assert taken.seen.answered == 16


def test_below_least_a_rollout_ends_with_the_last_words_of_each_server(encoder: Encoder) -> None:
    with (
        FakeServer(Faults(other_version=1.0)) as old,
        FakeServer(Faults(no_version=1.0)) as mute,
        FakeServer() as good,
        asking(encoder, [old, mute, good], least=2) as engine,
        pytest.raises(EngineError) as ended,
    ):
        engine.generate(make_prompts(6), 4, seed=1)
    said = str(ended.value)
    assert said.startswith("1 of 3 servers can be asked, and rollout.engine.least is 2: ")
    assert f"{old.url} answered with weights of version 0 where 1 is the newest" in said
    assert f"{mute.url} vLLM does not say which weights made a completion" in said
    assert good.url not in said


def test_below_least_no_rollout_begins(encoder: Encoder) -> None:
    with FakeServer() as a, FakeServer() as b:
        sync = FakeSync([a, b])
        said: list[str] = []
        with asking(encoder, [a, b], sync=sync, least=2, say=said.append) as engine:
            sync.left_out[a.url] = "closed the connection"
            with pytest.raises(EngineError, match=f"1 of 2 servers.*{a.url} closed the conn"):
                engine.load_weights(NO_WEIGHTS, version=2)
    assert said == [f"server {a.url} closed the connection: it is left out until the next weights"]


def test_a_server_that_refuses_the_key_is_told_without_it(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "a-key-that-nobody-must-see"
    with FakeServer(key=key) as server, asking(encoder, [server], key=key) as engine:
        engine.generate(make_prompts(1), 2, seed=0)
        assert server.seen.keys == {f"Bearer {key}"}
    with (
        FakeServer(key="another") as server,
        asking(encoder, [server], key=key) as engine,
        pytest.raises(EngineError) as ended,
    ):
        engine.generate(make_prompts(1), 2, seed=0)
    assert "401" in str(ended.value)
    assert "Bearer [key] is not allowed" in str(ended.value)
    assert key not in str(ended.value)


def test_a_sample_that_nobody_can_make_ends_in_a_sentence(encoder: Encoder) -> None:
    with (
        FakeServer(Faults(server_error=1.0)) as server,
        asking(encoder, [server]) as engine,
        pytest.raises(EngineError) as ended,
    ):
        engine.generate(make_prompts(4), 16, seed=0)  # more at once than faults are borne
    assert f"{server.url} answered /inference/v1/generate with 500" in str(ended.value)
    assert "out of memory" in str(ended.value)


def test_each_request_says_all_that_sampling_depends_on(encoder: Encoder) -> None:
    with FakeServer() as server:
        sync = FakeSync([server], model="adapter")
        with asking(encoder, [server], sync=sync) as engine:
            greedy = Sampling(temperature=0.0, max_completion_tokens=3)
            rollout = engine.generate(make_prompts(1), 1, seed=7, sampling=greedy)
            engine.generate(make_prompts(1), 1, seed=7)
    own, usual = server.seen.bodies
    (sample,) = rollout.samples
    assert is_right(sample, derived_seed(7, 0), encoder, most=3)
    assert own["token_ids"] == list(sample.prompt_ids)
    assert own["model"] == "adapter"
    assert own["sampling_params"] == {
        "n": 1,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "max_tokens": 3,
        "seed": derived_seed(7, 0),
        "stop_token_ids": list(encoder.stop_ids),
        "logprobs": 0,
        "detokenize": False,
    }
    assert usual["sampling_params"]["temperature"] == 1.0
    assert usual["sampling_params"]["max_tokens"] == LONGEST


def test_servers_tell_the_tokens_that_could_be_drawn_where_training_has_limits(
    encoder: Encoder,
) -> None:
    with FakeServer() as server, asking(encoder, [server], top_k=5, top_p=0.9) as engine:
        rollout = engine.generate(make_prompts(2), 2, seed=7)
        free = Sampling(temperature=1.0, max_completion_tokens=LONGEST, top_k=5, top_p=0.5)
        other = engine.generate(make_prompts(2), 2, seed=7, sampling=free)
    asked = [body["sampling_params"] for body in server.seen.bodies]
    assert {(each["top_k"], each["top_p"], each["logprobs"]) for each in asked} == {
        (5, 0.9, told(5, encoder.vocabulary)),
        (5, 0.5, 0),
    }
    for sample in rollout.samples:
        assert sample.supports is not None
        ids, counts = sample.supports
        assert list(counts) == [2] * len(sample.completion_ids)
        assert tuple(ids[::2]) == sample.completion_ids
    assert all(sample.supports is None for sample in other.samples)


def test_weights_that_come_in_flight_make_the_rest_of_a_sample(encoder: Encoder) -> None:
    """While samples are generated one server gets new weights, and the other one goes missing."""
    with FakeServer() as stays, FakeServer() as leaves, FakeServer() as fast:
        sync = FakeSync([stays, leaves, fast])
        with asking(encoder, [stays, leaves, fast], sync=sync) as engine:
            stays.held = leaves.held = True
            heard: list[int] = []

            def hear(row: int, sample: Sample) -> None:
                heard.append(row)
                if len(heard) == 8:
                    sync.left_out[leaves.url] = "closed the connection"
                    engine.load_weights(NO_WEIGHTS, version=2)
                    stays.release()

            rollout = engine.generate(make_prompts(3), 8, seed=6, on_sample=hear)
    assert sorted(heard) == list(range(24))
    assert Counter(sample.policy_version for sample in rollout.samples) == {1: 8, 2: 16}
    assert all(
        is_right(sample, derived_seed(6, row), encoder)
        for row, sample in enumerate(rollout.samples)
    )
    assert leaves.seen.answered == 0


def test_an_answer_may_come_before_all_servers_have_the_new_weights(encoder: Encoder) -> None:
    class SlowSync(FakeSync):
        """One server has the weights, and answers under them, while another one takes them."""

        def send(self, weights: Weights, version: int) -> tuple[str, ...]:
            there = super().send(weights, version)
            if version == 2:
                first.release()
                while first.seen.answered < 8:
                    time.sleep(0.001)
                second.release()
            return there

    with FakeServer() as first, FakeServer() as second, FakeServer() as fast:
        servers = [first, second, fast]
        with asking(encoder, servers, sync=SlowSync(servers)) as engine:
            first.held = second.held = True
            heard: list[int] = []

            def hear(row: int, sample: Sample) -> None:
                heard.append(row)
                if len(heard) == 8:
                    engine.load_weights(NO_WEIGHTS, version=2)

            rollout = engine.generate(make_prompts(3), 8, seed=6, on_sample=hear)
    assert sorted(heard) == list(range(24))
    assert Counter(sample.policy_version for sample in rollout.samples) == {1: 8, 2: 16}
    assert rollout.generation.asked_again == 0


def test_a_rollout_that_is_over_leaves_nothing_under_way(encoder: Encoder) -> None:
    async def tasks() -> int:
        return len(asyncio.all_tasks())

    http = Http()
    with FakeServer() as a, FakeServer(Faults(server_error=0.5)) as b:
        sync = FakeSync([a, b])
        sync.left_out[b.url] = "closed the connection"
        with asking(encoder, [a, b], sync=sync, http=http) as engine:
            engine.generate(make_prompts(2), 2, seed=0)
            assert http.run(tasks()) == 1
            sync.left_out.clear()
            engine.load_weights(NO_WEIGHTS, version=2)
            assert http.run(tasks()) == 1
            engine.generate(make_prompts(2), 2, seed=0)
            assert http.run(tasks()) == 1


def test_a_listener_that_fails_ends_the_rollout(encoder: Encoder) -> None:
    def fail(row: int, sample: Sample) -> None:
        raise KeyboardInterrupt

    with FakeServer() as server:
        pool = Pool([server.url], least=1)
        with asking(encoder, [server], pool=pool, at_once=2) as engine:
            with pytest.raises(KeyboardInterrupt):
                engine.generate(make_prompts(4), 4, seed=0, on_sample=fail)
            assert wrong(engine.generate(make_prompts(4), 4, seed=1), encoder, 1) == []
            assert pool.tokens(server.url) == 0


def test_closing_ends_a_rollout_of_another_thread(encoder: Encoder) -> None:
    ended: list[str] = []
    with FakeServer() as server, asking(encoder, [server]) as engine:
        server.held = True

        def ask() -> None:
            with pytest.raises(EngineError) as error:
                engine.generate(make_prompts(1), 2, seed=0)
            ended.append(str(error.value))

        thread = threading.Thread(target=ask)
        thread.start()
        while not server.seen.in_flight:
            time.sleep(0.001)
        engine.close()
        engine.close()
        thread.join()
        with pytest.raises(EngineError, match="closed"):
            engine.generate(make_prompts(1), 2, seed=0)
    assert ended == ["the connections to the servers were closed meanwhile"]


def test_nothing_is_generated_without_weights_or_room(encoder: Encoder) -> None:
    with FakeServer() as server, asking(encoder, [server]) as engine:
        with pytest.raises(DataError, match=r"'long' has .* tokens, which leave no room"):
            engine.generate([make_prompt("long", "." * 4096)], 2, seed=0)
        assert engine.generate([], 2, seed=0).samples == ()
    assert server.seen.rows == {}
