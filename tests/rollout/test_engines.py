"""Both engines, for real, against the trainer that gives them their weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import copy
from dataclasses import replace
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from rvpo.errors import ConfigError, DataError, EngineError
from rvpo.evaluate.weights import SavedWeights
from rvpo.rollout import TransformersConfig, VllmConfig
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import RolloutEngine
from rvpo.rollout.episodes.engine import EpisodeEngine
from rvpo.rollout.further import TurnRequest
from rvpo.rollout.lora_config import LoraConfig
from rvpo.rollout.supports import told
from rvpo.rollout.transformers_engine import TransformersEngine
from rvpo.rollout.vllm.adapter_room import check_model
from rvpo.rollout.vllm.adapters import AdapterFiles
from rvpo.rollout.vllm.arguments import check_arguments
from rvpo.rollout.vllm.cache_use import CacheUse
from rvpo.rollout.vllm.engine import VllmEngine
from rvpo.rollout.vllm.placement import Placement
from rvpo.rollout.vllm.request import sampling_params
from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.sleep import Sleep
from rvpo.rollout.vllm.transports import usual_transport
from rvpo.rollout.vllm.transports.native import Native
from rvpo.runtime.ranks import Ranks
from rvpo.sampling import Sampling
from rvpo.trainer.export import export_model
from rvpo.trainer.zero_policy import ZeroPolicy
from rvpo.types import Advantages, Prompt, Rollout, Sample
from tests.adapters import adapted
from tests.configs import tiny_config
from tests.fakes import make_prompt
from tests.gradients import accumulate
from tests.judge.processes import wait_until
from tests.rollout.episodes.test_episode_engine import Insisting, InsistingConfig
from tests.rollout.talking import Talking
from tests.rollout.test_generation_defaults import NAMES, policy_logprobs, value_of
from tests.rollout.test_stops import changed
from tests.tiny import save_tiny_model

TEMPERATURE = 0.7
APART = Site(in_process=False)
UNTIL_EXIT: list[object] = []
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Log-probabilities of engine and trainer differ by rounding: bf16 keeps 8 bits of a logit.
LARGEST_DIFFERENCE = {"fp32": 1e-4, "bf16": 0.1}


def make_prompts(count: int = 3) -> list[Prompt]:
    return [make_prompt(f"p/{i}", "What is " + "1 + " * i + "2?") for i in range(count)]


def make_encoder(model: Path, tokens: int = 128) -> Encoder:
    return Encoder.from_model(str(model), trust_remote_code=False, max_context_tokens=tokens)


def make_transformers_engine(model: Path, precision: str) -> TransformersEngine:
    return TransformersEngine(
        AutoModelForCausalLM.from_pretrained(model, dtype=DTYPES[precision]),
        make_encoder(model),
        TransformersConfig(batch_size=5),  # splits a group
        sampling=Sampling(temperature=TEMPERATURE, max_completion_tokens=12),
    )


def make_vllm_engine(
    model: Path,
    precision: str,
    site: Site | None = None,
    tokens: int = 128,
    adapter: LoraConfig | None = None,
) -> VllmEngine:
    from vllm import envs

    site = site or Site("shared" if torch.cuda.is_available() else "none")
    envs.disable_envs_cache()  # it keeps what the first engine of a process was told
    return VllmEngine(
        str(model),
        make_encoder(model, tokens),
        VllmConfig(),
        dtype=DTYPES[precision],
        sampling=Sampling(temperature=TEMPERATURE, max_completion_tokens=12),
        seed=0,
        placement=Placement(
            site,
            usual_transport(site)
            if adapter is None
            else AdapterFiles(adapter=adapter, in_process=site.in_process),
        ),
    )


def make_policy(model: Path, ranks: Ranks, precision: str = "fp32", lr: float = 3e-2) -> ZeroPolicy:
    config = tiny_config(
        model,
        model={"precision": precision},
        rollout={"temperature": TEMPERATURE},
        update={"lr": lr},
    )
    return ZeroPolicy(config, str(model), ranks)


MAKERS = {
    "transformers fp32": lambda model: make_transformers_engine(model, "fp32"),
    "transformers bf16": lambda model: make_transformers_engine(model, "bf16"),
    # Whose prompts may fill several blocks of its cache.
    "vllm fp32": lambda model: make_vllm_engine(model, "fp32", tokens=512),
    "vllm bf16": lambda model: make_vllm_engine(model, "bf16"),
    "vllm fp32, own process": lambda model: make_vllm_engine(model, "fp32", APART, tokens=512),
}
FP32 = [kind for kind in MAKERS if "fp32" in kind]
IN_PROCESS = [kind for kind in MAKERS if "own process" not in kind]


@pytest.fixture(scope="module")
def engines(tiny_model: Path, ranks: Ranks) -> Iterator[Callable[[str], RolloutEngine]]:
    """Engines by kind, each started once: vLLM takes seconds, its own process half a minute."""
    started: dict[str, RolloutEngine] = {}

    def engine(kind: str) -> RolloutEngine:
        if kind not in started:
            started[kind] = MAKERS[kind](tiny_model)
        return started[kind]

    yield engine
    for kind, made in started.items():
        if kind in IN_PROCESS:
            UNTIL_EXIT.append(made)  # closing one would end the process group of the other tests
        else:
            made.close()


def test_an_engine_of_its_own_process_has_one(engines: Callable[[str], RolloutEngine]) -> None:
    engine = engines("vllm fp32, own process")
    assert isinstance(engine, VllmEngine)
    assert engine._watch is not None
    assert type(engine._llm.llm_engine.engine_core).__name__ == "SyncMPClient"


def trainer_difference(policy: ZeroPolicy, rollout: Rollout) -> float:
    """Largest |log-probability difference| between what the engine reported and the trainer."""
    count = len(rollout.samples)
    nothing = Advantages(
        values=torch.zeros(count),
        trained=torch.ones(count, dtype=torch.bool),
        z=torch.zeros(count, 1),
        metrics={},
    )
    metrics = accumulate(policy, rollout, nothing, policy._ranks)
    return metrics["sampling/sampling_logp_difference/max"]


def move(policy: ZeroPolicy, rollout: Rollout) -> dict[str, float]:
    """One update large enough to see."""
    count = len(rollout.samples)
    return policy.update(
        rollout,
        Advantages(
            values=torch.linspace(-2, 2, count),
            trained=torch.ones(count, dtype=torch.bool),
            z=torch.zeros(count, 1),
            metrics={},
        ),
    )


@pytest.mark.parametrize("kind", MAKERS)
def test_an_engine_without_weights_refuses_to_generate(
    kind: str, engines: Callable[[str], RolloutEngine]
) -> None:
    with pytest.raises(EngineError, match="before it was given weights"):
        engines(kind).generate(make_prompts(), 2, seed=0)


@pytest.mark.parametrize("kind", FP32)
def test_an_engine_agrees_with_the_trainer_after_each_weight_sync(
    kind: str, engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    engine = engines(kind)
    policy = make_policy(tiny_model, ranks)
    texts = []
    for version in range(2):
        engine.load_weights(policy.weights(), version)
        rollout = engine.generate(make_prompts(), 4, seed=5)
        texts.append([sample.completion_ids for sample in rollout.samples])
        assert {sample.policy_version for sample in rollout.samples} == {version}
        assert trainer_difference(policy, rollout) < LARGEST_DIFFERENCE["fp32"]
        move(policy, rollout)
    # The samples of version 1 come from other weights, so the stale trainer would disagree.
    assert trainer_difference(make_policy(tiny_model, ranks), rollout) > 0.1
    assert texts[0] != texts[1]


def test_tokens_of_a_sample_that_goes_on_under_new_weights_are_those_of_their_version(
    engines: Callable[[str], RolloutEngine],
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = engines("vllm fp32, own process")
    assert isinstance(engine, VllmEngine)
    core = engine._llm.llm_engine
    monkeypatch.setattr(engine, "_in_flight", True)
    other = save_tiny_model(tmp_path / "other", seed=1)
    weights = [
        SavedWeights(str(folder), torch.float32, trust_remote_code=False)
        for folder in (tiny_model, other)
    ]
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in (tiny_model, other)]
    longest = Sampling(temperature=TEMPERATURE, max_completion_tokens=100)
    engine.load_weights(weights[0], 0)
    version, mixed = 0, list[Sample]()
    with ThreadPoolExecutor(1) as thread:
        while not mixed:  # where samples end before the weights come, there is another rollout
            version += 1
            assert version < 20
            made = thread.submit(engine.generate, make_prompts(), 8, version, sampling=longest)
            wait_until(lambda made=made: core.has_unfinished_requests() or made.done())
            engine.load_weights(weights[version % 2], version)
            mixed = [sample for sample in made.result().samples if sample.versions]
    for sample in mixed:
        assert set(sample.versions) == {version - 1, version}
        check_versions(sample, models)


def check_versions(sample: Sample, models: Sequence[Any]) -> None:
    """Fail where a token is not what the model of its version samples, even or odd."""
    of_each = [
        policy_logprobs(model, sample.prompt_ids, sample.completion_ids, TEMPERATURE)
        for model in models
    ]
    own = [of_each[made_by % 2][t] for t, made_by in enumerate(sample.token_versions)]
    assert torch.allclose(torch.tensor(sample.logprobs), torch.stack(own), atol=1e-4)


def test_a_turn_behind_new_weights_takes_nothing_that_older_ones_computed(
    engines: Callable[[str], RolloutEngine],
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They come once while a turn is made, and once while a world is answering."""
    engine = engines("vllm fp32, own process")
    assert isinstance(engine, VllmEngine)
    monkeypatch.setattr(engine, "_in_flight", True)
    other = save_tiny_model(tmp_path / "other", seed=1)
    weights = [
        SavedWeights(str(folder), torch.float32, trust_remote_code=False)
        for folder in (tiny_model, other)
    ]
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in (tiny_model, other)]
    engine.load_weights(weights[0], 0)
    prompts = [make_prompt(f"p/{i}", f"{i} + " + "1 + " * 60) for i in range(3)]
    with closing(Talking([4] * 3, {(row, 2): 0.2 for row in range(3)})) as talk:

        def hear(row: int, sample: Sample) -> None:
            if version := {1: 1, 5: 2}.get(len(talk.heard)):
                engine.load_weights(weights[version % 2], version)
            talk.hear(row, sample)

        engine.generate(prompts, 1, seed=3, on_sample=hear, further=talk)
    assert len(talk.heard) == 12
    assert {sample.policy_version for _, sample in talk.heard} >= {0, 2}
    for _, sample in talk.heard:
        check_versions(sample, models)


@pytest.mark.parametrize("kind", FP32)
def test_an_engine_tells_of_its_cache_what_this_process_can_see(
    kind: str, engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    engine = engines(kind)
    engine.load_weights(make_policy(tiny_model, ranks).weights(), 0)
    told = engine.generate(make_prompts(), 4, seed=5).generation
    assert (told.cache_tokens is not None) == kind.startswith("vllm")
    assert told.preemptions == (0 if kind == "vllm fp32" else None)
    assert (told.cache_usage is not None) == (kind == "vllm fp32")
    assert 0 < (told.cache_usage or 0.5) < 1
    assert (told.cache_tokens or 10_000) > 1_000
    assert (told.memory is not None) == (torch.cuda.is_available() and kind in IN_PROCESS)


def test_vllm_itself_looks_at_values_of_its_options() -> None:
    check_arguments({"max_num_seqs": 8, "kv_cache_dtype": "fp8", "compilation_config": {"mode": 0}})
    for options, said in [
        ({"kv_cache_dtype": "fp9"}, "vLLM knows no 'fp9'; did you mean fp8"),
        ({"attention_backend": "FLASH_ATN"}, "did you mean FLASH_ATTN"),
        ({"compilation_config": {"levl": 3}}, "vLLM refuses CompilationConfig.levl"),
    ]:
        with pytest.raises(ConfigError) as caught:
            check_arguments(options)
        assert said in str(caught.value)


@pytest.mark.parametrize("kind", ["transformers fp32", "vllm fp32"])
def test_without_a_learning_rate_every_ratio_stays_one_and_the_kl_zero(
    kind: str, engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    """The diagnostic: whatever these metrics show then is an error of the stack."""
    config = tiny_config(
        tiny_model,
        rollout={"temperature": TEMPERATURE},
        update={"lr": 0.0, "beta": 0.1, "mini_batches": 2, "epochs": 2},
    )
    policy, engine = ZeroPolicy(config, str(tiny_model), ranks), engines(kind)
    for version in range(2):
        engine.load_weights(policy.weights(), version)
        rollout = engine.generate(make_prompts(), 4, seed=version)
        metrics = move(policy, rollout)
        assert metrics["ratio"] == 1
        assert metrics["kl"] == 0
        assert metrics["clip_ratio/region_mean"] == 0
        assert metrics["sampling/importance_sampling_ratio/min"] == pytest.approx(1, abs=1e-4)
        assert metrics["sampling/importance_sampling_ratio/max"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kind", ["vllm fp32", "vllm fp32, own process"])
def test_vllm_tells_the_tokens_that_could_be_drawn(
    kind: str, engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    limits = {"top_p": 0.9, "top_k": 64, "min_p": 0.05}
    engine, config = (
        engines(kind),
        tiny_config(
            tiny_model,
            rollout={"temperature": TEMPERATURE, **limits},
            update={"lr": 0.0, "beta": 0.1},
        ),
    )
    assert isinstance(engine, VllmEngine)
    policy, encoder = ZeroPolicy(config, str(tiny_model), ranks), make_encoder(tiny_model)
    own, engine._sampling = (
        engine._sampling,
        sampling_params(  # another start takes seconds
            config.rollout.sampling, encoder, told(64, encoder.vocabulary)
        ),
    )
    try:
        engine.load_weights(policy.weights(), 0)
        metrics = move(policy, engine.generate(make_prompts(), 4, seed=0))
    finally:
        engine._sampling = own
    assert metrics["ratio"] == 1
    assert metrics["kl"] == 0
    assert metrics["sampling/raw_ratio/min"] == pytest.approx(1, abs=1e-4)
    assert metrics["sampling/raw_ratio/max"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kind", FP32)
def test_a_text_ends_a_completion_of_every_engine(
    kind: str, engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    engine = engines(kind)
    engine.load_weights(make_policy(tiny_model, ranks).weights(), 0)
    common = Sampling(temperature=1.0, max_completion_tokens=40)
    text = "".join(sample.text for sample in engine.generate(make_prompts(), 4, 1).samples)
    stop = max(filter(str.isascii, set(text)), key=text.count)
    ended = engine.generate(make_prompts(), 8, 2, sampling=replace(common, stop=(stop,))).samples
    stopped = [sample for sample in ended if stop in sample.text]
    assert stopped
    assert all(sample.finish_reason == "stop" for sample in stopped)
    assert all(sample.text.index(stop) == len(sample.text) - len(stop) for sample in stopped)


@pytest.mark.parametrize("kind", MAKERS)
def test_engine_and_trainer_agree_in_either_precision(
    kind: str, engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    precision = "bf16" if "bf16" in kind else "fp32"
    policy = make_policy(tiny_model, ranks, precision)
    engine = engines(kind)
    engine.load_weights(policy.weights(), 0)
    difference = trainer_difference(policy, engine.generate(make_prompts(), 8, seed=1))
    print(f"{kind}: largest log-probability difference {difference:.1e}")
    assert difference < LARGEST_DIFFERENCE[precision]


@pytest.mark.parametrize("kind", FP32)
def test_samples_are_whole_groups_of_the_engines_own_tokens(
    kind: str, engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    engine = engines(kind)
    encoder = make_encoder(tiny_model)
    engine.load_weights(make_policy(tiny_model, ranks).weights(), 3)
    prompts = make_prompts()
    rollout = engine.generate(prompts, 4, seed=0)
    assert [sample.prompt.id for sample in rollout.samples] == [
        p.id for p in prompts for _ in "four"
    ]
    for sample in rollout.samples:
        assert sample.prompt_ids == encoder.encode(sample.prompt)
        assert len(sample.logprobs) == len(sample.completion_ids) <= 12
        assert max(sample.logprobs) <= 0
        ended = sample.completion_ids[-1] in encoder.stop_ids
        assert sample.finish_reason == ("stop" if ended else "length")
        assert not set(sample.completion_ids[:-1]) & set(encoder.stop_ids)
        assert sample.text == encoder.decode(sample.completion_ids)
        assert sample.parts == encoder.split(sample.prompt_ids, sample.text)


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_in_process_the_seed_decides_the_samples(
    kind: str, engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    engine = engines(kind)
    engine.load_weights(make_policy(tiny_model, ranks).weights(), 0)
    before = torch.get_rng_state()
    first, again, other = (engine.generate(make_prompts(), 4, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert torch.equal(torch.get_rng_state(), before)  # nobody else's random numbers moved


def test_a_rollout_takes_no_prefix_from_those_before_it(
    engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    """What follows a cached prefix is computed in other pieces, which round differently."""
    engine = engines("vllm fp32")
    assert isinstance(engine, VllmEngine)
    engine.load_weights(make_policy(tiny_model, ranks).weights(), 0)
    prompts = [make_prompt(f"p/{i}", f"{i} + " + "1 + " * 90) for i in range(3)]

    def cached() -> list[int]:
        """[3] tokens of each prompt that were not computed."""
        asked = [TurnRequest(row, 0, prompt, 12) for row, prompt in enumerate(prompts)]
        found = engine._outputs(asked, engine._sampling, 0, None, CacheUse(None))
        return [output.num_cached_tokens for _, output in sorted(found, key=lambda f: f[0].row)]

    rollout = engine.generate(prompts, 1, seed=1)
    assert min(len(sample.prompt_ids) for sample in rollout.samples) > 256  # two cache blocks
    assert min(cached()) > 0  # without a rollout's beginning, prefixes are found
    engine.generate(prompts[:1], 1, seed=1)
    assert min(cached()[1:]) == 0


@pytest.mark.parametrize("kind", ["vllm fp32", "vllm fp32, own process"])
def test_a_conversation_that_goes_on_computes_what_is_new_in_it(
    kind: str, engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    """Of what was there before, what was sampled too, only the last block that is not full."""
    engine = engines(kind)
    assert isinstance(engine, VllmEngine)
    engine.load_weights(make_policy(tiny_model, ranks).weights(), 0)
    block = engine._llm.llm_engine.vllm_config.cache_config.block_size
    prompts = [make_prompt(f"p/{i}", f"{i} + " + "1 + " * 80 + "1" * 12) for i in range(3)]
    tokens = [0] * 3
    given = computed = 0
    with closing(Talking([5] * 3, most=lambda row, turn: 12)) as talk:
        engine._forget_prefixes()
        first = [TurnRequest(row, 0, prompt, 12) for row, prompt in enumerate(prompts)]
        for request, output in engine._outputs(first, engine._sampling, 0, talk, CacheUse(None)):
            cached, row = output.num_cached_tokens, request.row
            assert cached >= (tokens[row] - 1) // block * block
            given += len(output.prompt_token_ids)
            computed += len(output.prompt_token_ids) - cached
            sample = engine._sample(request.prompt, output.prompt_token_ids, output.outputs[0])
            tokens[row] = len(sample.prompt_ids) + len(sample.completion_ids)
            talk.hear(row, sample)
    assert [len(talk.of_row(row)) for row in range(3)] == [5] * 3
    assert min(tokens) > 3 * block
    print(f"{kind}: of {given} tokens of prompts {computed} were computed, blocks of {block}")
    assert computed < 0.5 * given


def episodes(engine: RolloutEngine, model: Path, turns: int = 3) -> Rollout:
    """Of some turns, each of which ends with a small letter, as an untrained model writes some."""
    sampling = Sampling(
        temperature=TEMPERATURE, max_completion_tokens=70, stop=tuple(ascii_lowercase)
    )
    encoder = make_encoder(model)
    talking = EpisodeEngine(engine, Insisting(turns - 1), InsistingConfig(), encoder, sampling)
    with closing(talking):
        return talking.generate(make_prompts(), 4, seed=3, sampling=sampling)


@pytest.mark.parametrize("kind", FP32)
def test_engine_and_trainer_agree_over_all_turns_of_an_episode(
    kind: str, engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    policy, engine = make_policy(tiny_model, ranks), engines(kind)
    engine.load_weights(policy.weights(), 2)
    rollout = episodes(engine, tiny_model)
    told = [sample.episode for sample in rollout.samples if sample.episode is not None]
    assert len(told) == 12
    assert max(len(each.turns) for each in told) == 5
    assert {sample.policy_version for sample in rollout.samples} == {2}
    difference = trainer_difference(policy, rollout)
    print(f"{kind}: largest log-probability difference over all turns {difference:.1e}")
    assert difference < LARGEST_DIFFERENCE["fp32"]


@pytest.mark.parametrize("kind", [kind for kind in FP32 if kind in IN_PROCESS])
def test_in_process_the_seed_decides_every_turn(
    kind: str, engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    engine = engines(kind)
    engine.load_weights(make_policy(tiny_model, ranks).weights(), 0)
    first, again = episodes(engine, tiny_model), episodes(engine, tiny_model)
    assert first == again


def test_vllms_own_weight_transfer_brings_every_weight_and_version(
    engines: Callable[[str], RolloutEngine], tiny_model: Path, ranks: Ranks
) -> None:
    """The whole conversation that IPC and NCCL need, over a backend that needs no GPU: it leaves
    the tensors where both sides find them."""
    from vllm import LLM

    from tests.transfer import BACKEND, make_info, register

    register()
    engine = copy(engines("vllm fp32"))
    assert isinstance(engine, VllmEngine)
    llm = LLM(
        str(tiny_model),
        dtype="float32",
        enforce_eager=True,
        max_model_len=128,
        weight_transfer_config={"backend": BACKEND},
        logprobs_mode="processed_logprobs",
    )
    UNTIL_EXIT.append(llm)
    engine._llm, engine._sleep = llm, Sleep(llm, Native(llm, make_info()), ever=False)
    policy = make_policy(tiny_model, ranks)
    for version in (3, 4):
        engine.load_weights(policy.weights(), version)
        rollout = engine.generate(make_prompts(), 4, seed=5)
        assert {sample.policy_version for sample in rollout.samples} == {version}
        assert trainer_difference(policy, rollout) < LARGEST_DIFFERENCE["fp32"]
        move(policy, rollout)
    assert trainer_difference(policy, rollout) > 0.1  # the weights did change in between


def largest_difference(model: Any, rollout: Rollout) -> float:
    """Between the log-probabilities of an engine's samples and those of a model."""
    found = [
        policy_logprobs(model, sample.prompt_ids, sample.completion_ids, TEMPERATURE)
        - torch.tensor(sample.logprobs)
        for sample in rollout.samples
    ]
    return float(torch.cat(found).abs().max())


LORA = LoraConfig(rank=12, alpha=20)


@pytest.fixture(scope="module")
def adapter_engines(tiny_model: Path) -> dict[str, RolloutEngine]:
    """Engines that are given adapters alone."""
    vllm = make_vllm_engine(tiny_model, "fp32", adapter=LORA)
    UNTIL_EXIT.append(vllm)
    return {
        "vllm": vllm,
        "transformers": TransformersEngine(
            AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32),
            make_encoder(tiny_model),
            TransformersConfig(),
            sampling=Sampling(temperature=TEMPERATURE, max_completion_tokens=12),
            adapter=LORA,
        ),
    }


@pytest.mark.parametrize("kind", ["vllm", "transformers"])
def test_an_engine_with_adapters_agrees_with_the_adapted_model_after_each(
    kind: str, adapter_engines: dict[str, RolloutEngine], tiny_model: Path
) -> None:
    engine, plain = adapter_engines[kind], AutoModelForCausalLM.from_pretrained(tiny_model)
    far = []
    for version, size in enumerate([0.0, 1e-6, 0.2]):
        model, state = adapted(tiny_model, LORA, size)
        engine.load_weights(state, version)
        rollout = engine.generate(make_prompts(), 4, seed=5)
        assert {sample.policy_version for sample in rollout.samples} == {version}
        assert largest_difference(model, rollout) < LARGEST_DIFFERENCE["fp32"]
        far.append(largest_difference(plain, rollout))
    assert far[0] < LARGEST_DIFFERENCE["fp32"]  # B is 0 before the first update
    assert far[2] > 0.1


@pytest.mark.parametrize(
    ("part", "other", "said"),
    [
        ("layers.", "layer.", "the same with an adapter and without it"),
        ("base_model.model.", "base_model.model.decoder.", "the same with an adapter"),
        ("q_proj", "query", "vLLM does not take the adapter"),
        ("lora_A", "lora_C", "no name of an adapter's matrix"),
    ],
)
def test_an_adapter_that_vllm_binds_to_no_layer_stops_the_run(
    part: str, other: str, said: str, adapter_engines: dict[str, RolloutEngine], tiny_model: Path
) -> None:
    engine = adapter_engines["vllm"]
    assert isinstance(engine, VllmEngine)
    assert engine._adapter is not None
    engine._adapter._proven = False  # as of an engine that has just started
    _, state = adapted(tiny_model, LORA, 0.2, rename=lambda name: name.replace(part, other))

    def roll_out() -> None:
        engine.load_weights(state, 1)
        engine.generate(make_prompts(), 1, seed=0)

    with pytest.raises(EngineError, match=said):
        roll_out()


def test_models_that_vllm_takes_no_adapters_of_are_refused_unread(
    tiny_model: Path, tmp_path: Path
) -> None:
    check_model(str(tiny_model), trust_remote_code=False)
    GPT2Config(n_layer=1, architectures=["GPT2LMHeadModel"]).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"no adapters of GPT2LMHeadModel; .*sync=merged"):
        check_model(str(tmp_path), trust_remote_code=False)


def test_missing_weights_are_named(tiny_model: Path, ranks: Ranks) -> None:
    engine = make_transformers_engine(tiny_model, "fp32")
    weights = list(make_policy(tiny_model, ranks).weights())
    with pytest.raises(EngineError, match=r"model\.norm\.weight"):
        engine.load_weights((w for w in weights if w[0] != "model.norm.weight"), 0)
    with pytest.raises(EngineError, match=r"no weight 'extra'"):
        engine.load_weights([*weights, ("extra", torch.zeros(1))], 0)


def long_prompts(lengths: Sequence[int]) -> list[Prompt]:
    return [make_prompt(f"long/{i}", "x" * length) for i, length in enumerate(lengths)]


def test_prompts_without_room_for_an_answer_are_refused_with_the_longest(tiny_model: Path) -> None:
    encoder = make_encoder(tiny_model)
    encoder.check_lengths(long_prompts([80]), max_completion_tokens=12)
    with pytest.raises(
        DataError, match=r"2 of 3 prompts are too long: prompt 'long/2' has 219 tok"
    ):
        encoder.check_lengths(long_prompts([10, 150, 200]), max_completion_tokens=12)


def test_a_context_beyond_the_models_own_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="1024 is more than the 512 tokens"):
        Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=1024)


def test_a_tokenizer_without_a_chat_template_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((tiny_model / "config.json").read_text())
    with pytest.raises(ConfigError, match="no chat template"):
        Encoder.from_model(str(tmp_path), trust_remote_code=False, max_context_tokens=None)


def sampled(engine: RolloutEngine, weights: SavedWeights) -> Rollout:
    engine.load_weights(weights, version=0)
    return engine.generate([make_prompt("p", "abc")], 6, seed=1)


@pytest.mark.parametrize("precision", DTYPES)
def test_defaults_of_the_model_neither_draw_nor_score_in_vllm(
    precision: str, engines: Callable[[str], RolloutEngine], tiny_model: Path, tmp_path: Path
) -> None:
    values = {name: value_of(name) for name in NAMES if name != "eos_token_id"}
    values["do_sample"] = True  # num_return_sequences cannot be read beside greedy search
    folder = changed(tiny_model, tmp_path / "m", "generation_config.json", values)
    engine = make_vllm_engine(folder, precision)
    UNTIL_EXIT.append(engine)  # closing one would end the process group of the other tests
    weights = SavedWeights(str(tiny_model), DTYPES[precision], trust_remote_code=False)
    rollout, plain = (sampled(each, weights) for each in (engine, engines(f"vllm {precision}")))
    assert [s.completion_ids for s in rollout.samples] == [s.completion_ids for s in plain.samples]
    policy = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=DTYPES[precision]).eval()
    for sample in rollout.samples:
        known = policy_logprobs(policy, sample.prompt_ids, sample.completion_ids, TEMPERATURE)
        reported = torch.tensor(sample.logprobs)
        torch.testing.assert_close(reported, known, atol=LARGEST_DIFFERENCE[precision], rtol=0)


def test_an_exported_model_answers_alike_in_transformers_and_vllm(
    tiny_model: Path, ranks: Ranks, tmp_path: Path
) -> None:
    from vllm import LLM, SamplingParams

    encoder = make_encoder(tiny_model)
    engine = make_transformers_engine(tiny_model, "fp32")
    policy = make_policy(tiny_model, ranks)
    engine.load_weights(policy.weights(), 0)
    move(policy, engine.generate(make_prompts(), 4, seed=0))
    export_model(policy, encoder.tokenizer, tmp_path / "model", ranks)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]

    ids = list(encoder.encode(make_prompt()))
    exported, initial = (
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        .generate(torch.tensor([ids]), max_new_tokens=8, do_sample=False)[0, len(ids) :]
        .tolist()
        for folder in (tmp_path / "model", tiny_model)
    )
    llm = LLM(str(tmp_path / "model"), dtype="float32", enforce_eager=True, max_model_len=128)
    UNTIL_EXIT.append(llm)
    prompt = {"prompt_token_ids": ids}
    (output,) = llm.generate([prompt], SamplingParams(temperature=0, max_tokens=8))
    assert list(output.outputs[0].token_ids) == exported != initial
