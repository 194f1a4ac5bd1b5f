"""Generation by vLLM, on its native calls only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import torch

from rvpo.errors import ConfigError, EngineError
from rvpo.rollout.adapter_effect import PROMPT
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import OnSample, Weights
from rvpo.rollout.further import Further, TurnRequest, awaited
from rvpo.rollout.sampled import sampled
from rvpo.rollout.supports import MOST_TOLD, told
from rvpo.rollout.thought_budget import ThoughtBudget
from rvpo.rollout.vllm.adapters import AdapterSender
from rvpo.rollout.vllm.cache_use import CacheUse
from rvpo.rollout.vllm.failure import lighter, not_started, refuse_experts
from rvpo.rollout.vllm.options import has_scales, passed_on
from rvpo.rollout.vllm.placement import Placement
from rvpo.rollout.vllm.request import sampling_params, set_sampling, told_logprobs
from rvpo.rollout.vllm.requirement import VLLM
from rvpo.rollout.vllm.settings import VllmConfig
from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.sleep import Sleep
from rvpo.rollout.vllm.watch import Watch, abort_in_turn, answer, engine_failed
from rvpo.rollout.weight_versions import versions_of
from rvpo.runtime.device_memory import MemoryPeak
from rvpo.runtime.ignore import ignore
from rvpo.runtime.private_folder import private_folder
from rvpo.runtime.shortage import needing_memory
from rvpo.runtime.vllm_environment import vllm_environment
from rvpo.sampling import Sampling
from rvpo.types import Generation, Prompt, Rollout, Sample

T = TypeVar("T")


class VllmEngine:
    """One vLLM engine for this rank.

    Args:
        placement: its process, GPU and transport.
        in_flight: weights may come while samples are generated, which go on under the new ones.
        sampling: the way of training; the reported log-probabilities are those of drawing so.

    Raises:
        ConfigError: vLLM is not installed.
        EngineError: the engine does not start.
    """

    def __init__(
        self,
        model_path: str,
        encoder: Encoder,
        config: VllmConfig,
        *,
        dtype: torch.dtype,
        sampling: Sampling,
        seed: int,
        placement: Placement,
        trust_remote_code: bool = False,
        in_flight: bool = False,
    ) -> None:
        self._encoder = encoder
        self._in_flight = in_flight
        self._calls = RLock()
        """Held where something is sent to the engine's process, for which there is one socket."""
        self._in_process = placement.site.in_process
        self._on_gpu = placement.site.gpu != "none"
        # Elsewhere its memory is not this process's, which may be measuring an update meanwhile.
        self._memory = MemoryPeak(torch.device("cuda" if placement.site.sleeps else "cpu"))
        self._lighter = list(lighter(config, on_gpu=self._on_gpu))
        # Where its processes speak to one another, and take objects that run code when read.
        sockets = None if self._in_process else private_folder("rvpo-engine-")
        _prepare_environment(config, sockets)
        try:
            from vllm import LLM
            from vllm.v1.engine.exceptions import EngineDeadError
        except ImportError as error:
            raise ConfigError(
                f"rollout.engine.name: vllm cannot be imported ({error}); {VLLM.advice}"
            ) from error
        # Of a process that died vLLM also speaks as of any error at run time.
        self._death = (EngineDeadError,) if self._in_process else (EngineDeadError, RuntimeError)
        told_tokens = told(sampling.top_k, encoder.vocabulary) if sampling.truncates else 0
        self._sampling = sampling_params(sampling, encoder, told_tokens)
        options = _options(config, encoder.max_context_tokens, placement)
        options |= {"model": model_path, "dtype": dtype, "seed": seed}
        options |= {"trust_remote_code": trust_remote_code}
        options |= _thought_options(encoder.thought_budget)
        try:
            with placement.environment():
                self._llm: Any = LLM(**options)
        except (RuntimeError, ValueError, OSError, AssertionError, MemoryError) as error:
            raise not_started(model_path, error, config, on_gpu=self._on_gpu) from error
        sender = placement.transport.open(self._llm, Path(model_path))
        self._adapter = sender if isinstance(sender, AdapterSender) else None
        self._sleep = Sleep(
            self._llm, sender, ever=placement.site.sleeps, keeps=self._adapter is not None
        )
        core = self._llm.llm_engine.engine_core
        self._watch = None if self._in_process else Watch(core)
        if not self._in_process:
            abort_in_turn(core, self._calls)

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: OnSample = ignore,
        sampling: Sampling | None = None,
        further: Further | None = None,
    ) -> Rollout:
        """See `RolloutEngine.generate`. On CPUs `seed` counts only where the engine runs in
        process: vLLM takes a seed for each request on GPUs alone. There samples share random
        numbers, and `further` requests come in rounds, so that a seed decides who draws when."""
        with needing_memory("while vLLM generated", self._lighter):
            return self._generate(prompts, samples_per_prompt, seed, on_sample, sampling, further)

    def _generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: OnSample,
        sampling: Sampling | None,
        further: Further | None,
    ) -> Rollout:
        self._sleep.end()
        drawn = self._sampling.clone()
        if sampling is not None:
            set_sampling(drawn, sampling)
        rows = [prompt for prompt in prompts for _ in range(samples_per_prompt)]
        first = [TurnRequest(row, 0, prompt, drawn.max_tokens) for row, prompt in enumerate(rows)]
        samples: dict[int, Sample] = {}
        cache = CacheUse(self._scheduler)
        self._memory.begin()
        if self._adapter is not None:
            with self._calls:  # newer weights wait
                self._adapter.check_effect(partial(self._likelihoods, PROMPT))
        with self._seeded(seed):
            with self._calls:
                self._forget_prefixes()
            for request, output in self._outputs(first, drawn, seed, further, cache):
                sample = self._sample(request.prompt, output.prompt_token_ids, output.outputs[0])
                samples[request.row] = sample
                on_sample(request.row, sample)
        memory = self._memory.end()  # while it is still awake
        self._sleep.begin()
        return Rollout(
            samples=tuple(samples[row] for row in range(len(rows))),
            group_size=samples_per_prompt,
            generation=Generation(
                cache_usage=cache.highest,
                cache_tokens=self._llm.llm_engine.vllm_config.cache_config.kv_cache_size_tokens,
                preemptions=cache.preemptions,
                memory=memory,
            ),
        )

    @property
    def _scheduler(self) -> Any | None:
        """vLLM's, where it is in this process."""
        if not self._in_process:
            return None
        return self._llm.llm_engine.engine_core.engine_core.scheduler

    def _likelihoods(self, prompt: Prompt, adapter: Any | None) -> list[float]:
        """[T - 1] log-probabilities of a prompt's own tokens. They are asked for alone: beside a
        request with an adapter, one without would be computed in other pieces."""
        asked = self._sampling.clone()
        asked.temperature, asked.max_tokens, asked.prompt_logprobs = 0.0, 1, 0
        asked.logprobs, asked.flat_logprobs = 0, False
        ids = list(self._encoder.encode(prompt))
        self._llm.llm_engine.add_request(
            "0", {"prompt_token_ids": ids}, asked, lora_request=adapter
        )
        (output,) = (output for ended in self._steps(CacheUse(None)) for output in ended)
        found = output.prompt_logprobs[1:]
        return [at[token].logprob for token, at in zip(ids[1:], found, strict=True)]

    def _forget_prefixes(self) -> None:
        """Forget what is cached: it was computed by other weights, or beside other prompts, where
        sums round differently, and a rollout shall not depend on those before it."""
        if not self._ask(self._llm.reset_prefix_cache, "generating"):
            raise EngineError("vLLM did not reset its prefix cache before a rollout")

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """An engine in process draws from this process's random numbers."""
        if not self._in_process:
            yield
            return
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield

    def _outputs(
        self,
        first: Sequence[TurnRequest],
        drawn: Any,
        seed: int,
        further: Further | None,
        cache: CacheUse,
    ) -> Iterator[tuple[TurnRequest, Any]]:
        """Each request and its output as it finishes, of all that are asked for meanwhile."""
        in_rounds = self._in_process and not self._on_gpu
        asked: list[TurnRequest] = []
        new = first
        if not new and further is not None:
            new = awaited(further, all_of_them=in_rounds)
        while new:
            self._enqueue(new, drawn, seed, len(asked))
            asked += new
            for ended in self._steps(cache):
                for output in ended:
                    yield asked[int(output.request_id)], output
                if further is not None and not in_rounds:
                    new = further.take()
                    self._enqueue(new, drawn, seed, len(asked))
                    asked += new
            new = () if further is None else awaited(further, all_of_them=in_rounds)

    def _enqueue(self, requests: Sequence[TurnRequest], drawn: Any, seed: int, number: int) -> None:
        """One request for each sample: vLLM hands over a request of several only as a whole, when
        the slowest of them is finished. The prompt is computed once all the same, by its cache,
        where a conversation that goes on finds all of it that was there before.

        Args:
            number: place of the first one in all that were asked, by which vLLM calls it.
        """
        if not requests:
            return
        adapter = None if self._adapter is None else self._adapter.request
        prompt, ids = None, list[int]()
        with self._calls:
            for place, request in enumerate(requests, start=number):
                if request.prompt is not prompt:  # siblings are side by side
                    prompt, ids = request.prompt, list(self._encoder.encode(request.prompt))
                params = drawn.clone()
                params.seed = request_seed(seed, request, on_gpu=self._on_gpu)
                params.max_tokens = request.most_tokens
                self._add(str(place), ids, params, adapter)

    def _add(self, name: str, ids: list[int], request: Any, adapter: Any | None) -> None:
        prompt = {"prompt_token_ids": ids}
        try:
            self._llm.llm_engine.add_request(name, prompt, request, lora_request=adapter)
        except ValueError as error:  # such as a grammar that it cannot follow
            words = " ".join(str(error).split())
            raise EngineError(
                f"vLLM does not sample so ({words}); change what rollout, evaluate or a benchmark "
                "says of sampling"
            ) from error
        except self._death as error:  # while a world was answering
            raise engine_failed("generating", error) from error

    def _steps(self, cache: CacheUse) -> Iterator[list[Any]]:
        """Run the engine; the outputs that each of its steps finished."""
        engine = self._llm.llm_engine
        while engine.has_unfinished_requests():
            try:
                outputs = engine.step()
            except self._death as error:
                raise engine_failed("generating", error) from error
            cache.look()
            yield [output for output in outputs if output.finished]

    def load_weights(self, weights: Weights, version: int) -> None:
        """See `RolloutEngine.load_weights`. The engine marks each token with the version of the
        weights that made it, and samples have it from there."""
        with needing_memory("while vLLM took new weights", self._lighter), self._standing_still():
            if self._adapter is None:
                saved = weights.as_saved()
                refuse_experts(weights, saved)
                weights = saved
            self._sleep.receive(weights)
            self._take(lambda: self._llm.llm_engine.set_weight_version(str(version)))

    @contextmanager
    def _standing_still(self) -> Iterator[None]:
        """Samples that are under way wait, and go on afterwards. Their keys and values are computed
        anew then, so that a token is what the weights of its version alone would have sampled."""
        with self._calls:
            if self._in_flight:
                self._take(lambda: self._llm.sleep(level=0, mode="keep"))
            yield
            if self._in_flight:
                self._take(lambda: self._llm.reset_prefix_cache(reset_running_requests=True))
                self._take(lambda: self._llm.wake_up(tags=["scheduling"]))

    def _take(self, call: Callable[[], Any]) -> None:
        self._ask(call, "taking new weights")

    def close(self) -> None:
        """See `RolloutEngine.close`. In process, vLLM ends the process group with itself, the
        trainer's too: nothing may be gathered afterwards."""
        self._llm.llm_engine.engine_core.shutdown()
        if self._watch is not None:
            self._watch.close()

    def _ask(self, call: Callable[[], T], doing: str) -> T:
        return call() if self._in_process else answer(call, doing)

    def _sample(self, prompt: Prompt, prompt_ids: Sequence[int], completion: Any) -> Sample:
        if completion.finish_reason not in ("stop", "length"):
            raise EngineError(
                f"vLLM ended a completion of prompt {prompt.id!r} with "
                f"{completion.finish_reason!r} instead of finishing it"
            )
        ids = completion.token_ids
        logprobs, supports = told_logprobs(ids, completion.logprobs)
        return sampled(
            self._encoder,
            prompt,
            prompt_ids,
            ids,
            logprobs,
            completion.finish_reason,
            versions_of(prompt, completion.weight_versions, len(ids), in_flight=self._in_flight),
            supports,
        )


def _thought_options(thought_budget: ThoughtBudget | None) -> dict[str, Any]:
    """The option by which an engine knows where thoughts begin and end."""
    if thought_budget is None:
        return {}
    from vllm.config.reasoning import ReasoningConfig

    markers: dict[str, Any] = dict(thought_budget.markers)
    return {"reasoning_config": ReasoningConfig(**markers)}


def request_seed(seed: int, request: TurnRequest, *, on_gpu: bool) -> int | None:
    """The seed of a request, from that of its rollout. On GPUs vLLM takes NumPy's random numbers
    where a request has none; on CPUs it takes torch's, and none of a request."""
    return request.seed(seed) if on_gpu else None


def _options(config: VllmConfig, max_context_tokens: int, placement: Placement) -> dict[str, Any]:
    """Options of an engine at such a place, but for those about its model."""
    options: dict[str, Any] = {
        "max_model_len": max_context_tokens,
        "logprobs_mode": "processed_logprobs",
        "max_logprobs": MOST_TOLD,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        # Its own neutral defaults, not those of the model's generation config.
        "generation_config": "vllm",
    }
    if not torch.cuda.is_available():
        options |= {"enforce_eager": True}
    else:
        options |= {"gpu_memory_utilization": config.gpu_memory}
        if placement.site.sleeps:
            options |= {"enable_sleep_mode": True}
    options |= group_options(placement.site, _ranks()) | placement.transport.options()
    options |= passed_on(config.options, placement.site)
    if has_scales(options):
        options.pop("load_format", None)
    return options


def group_options(site: Site, ranks: int) -> dict[str, Any]:
    """The option for an engine that is one of its trainer's process group: every one in process on
    a GPU, and beside other ranks. Alone on a CPU it makes a group of its own.

    Args:
        ranks: size of the trainer's group.
    """
    if site.in_process and (site.gpu != "none" or ranks > 1):
        return {"distributed_executor_backend": "external_launcher"}
    return {}


def _ranks() -> int:
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def _prepare_environment(config: VllmConfig, sockets: Path | None) -> None:
    """vLLM reads these from the environment alone.

    Args:
        sockets: the folder for them; None for an engine in process, which has none.
    """
    os.environ.update(vllm_environment(os.environ, config.cpu_kv_cache_gib, sockets))
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if sockets is None else "1"
    # Its traces belong to the launcher's log, not between the lines about steps.
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
