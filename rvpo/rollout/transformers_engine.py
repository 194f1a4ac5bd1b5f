"""Generation by transformers' own `generate`: slower, everywhere, reproducible to the bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from rvpo.errors import EngineError
from rvpo.fields import PositiveInt
from rvpo.lazy import torch
from rvpo.rollout.adapter import adapter_of
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import OnSample, RolloutEngine
from rvpo.rollout.engine_config import EngineConfig, EngineInputs
from rvpo.rollout.further import Further, TurnRequest, awaited
from rvpo.rollout.logits import Steps
from rvpo.rollout.lora_config import LoraConfig
from rvpo.rollout.memory import EngineLoad, EngineMemory
from rvpo.rollout.named_weights import named_weights
from rvpo.rollout.supports import Supports
from rvpo.runtime.device_memory import MemoryPeak
from rvpo.runtime.ignore import ignore
from rvpo.sampling import Sampling
from rvpo.types import Generation, Prompt, Rollout, Sample

if TYPE_CHECKING:
    from torch import Tensor


class TransformersConfig(EngineConfig):
    """transformers' own `generate`: slower, needs nothing more, reproducible to the bit."""

    name: Literal["transformers"] = "transformers"
    batch_size: PositiveInt = 64
    """Completions generated at once."""
    max_context_tokens: PositiveInt | None = None
    """Tokens of the longest prompt plus completion; the model's own limit if left out."""

    ends_thoughts: ClassVar[bool] = True
    goes_on: ClassVar[bool] = True

    def sampling_problem(self, sampling: Sampling, *, in_training: bool) -> str:
        """See `EngineConfig.sampling_problem`; it has no grammars."""
        if sampling.structured is None:
            return ""
        return (
            "structured: transformers' own `generate` knows no grammars; write rollout.engine: "
            "vllm, or leave it out"
        )

    def memory(self, load: EngineLoad) -> EngineMemory:
        """A second copy of the weights at all times, and the KV cache of a batch."""
        cache, own = load.token * load.sample_tokens * self.batch_size, load.weights + load.adapters
        return EngineMemory(awake=own + cache, resting=own, about="its own copy")

    def build(self, inputs: EngineInputs) -> RolloutEngine:
        """A model of its own on this rank's device."""
        from transformers import AutoModelForCausalLM

        loaded: Any = AutoModelForCausalLM.from_pretrained(
            inputs.model_path,
            dtype=inputs.dtype,
            trust_remote_code=inputs.trust_remote_code,
        )
        return TransformersEngine(
            loaded.to(inputs.ranks.device),
            inputs.encoder,
            self,
            sampling=inputs.sampling,
            adapter=inputs.adapter,
        )


class TransformersEngine:
    """A second copy of the model on this rank's device, in evaluation mode. It samples by what it
    is told alone, whatever the model's generation config says.

    Args:
        model: a causal language model with its weights whole (not sharded); taken over.
        sampling: the way of training; the reported log-probabilities are those of drawing so.
        adapter: the one that it is given in place of weights; its own are those that it goes with.
    """

    def __init__(
        self,
        model: Any,
        encoder: Encoder,
        config: TransformersConfig,
        *,
        sampling: Sampling,
        adapter: LoraConfig | None = None,
    ) -> None:
        self._adapter = adapter
        self._model = model.eval()
        # `generate` fills in from here what a call leaves open: penalties, bans, forced tokens.
        self._model.generation_config = _generation_config()
        self._encoder = encoder
        self._batch_size = config.batch_size
        self._sampling = sampling
        self._version: int | None = None

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: OnSample = ignore,
        sampling: Sampling | None = None,
        further: Further | None = None,
    ) -> Rollout:
        """See `RolloutEngine.generate`. The same seed, weights and prompts give the same
        samples to the bit, with the same `further` requests as well: they come in rounds.
        `on_sample` hears of a batch when its longest sample is finished."""
        if self._version is None:
            raise EngineError("the engine was asked to generate before it was given weights")
        drawn = sampling or self._sampling
        rows = [prompt for prompt in prompts for _ in range(samples_per_prompt)]
        requests: Sequence[TurnRequest] = [
            TurnRequest(row, 0, prompt, drawn.max_completion_tokens)
            for row, prompt in enumerate(rows)
        ]
        samples: dict[int, Sample] = {}
        memory = MemoryPeak(self._model.device)
        memory.begin()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if not requests and further is not None:
                requests = awaited(further, all_of_them=True)
            while requests:
                for batch, encoded in self._batches(requests):
                    made = self._generate_batch(batch, encoded, drawn)
                    for request, sample in zip(batch, made, strict=True):
                        samples[request.row] = sample
                        on_sample(request.row, sample)
                # All that comes of what is finished: who is beside whom is no accident.
                requests = () if further is None else awaited(further, all_of_them=True)
        return Rollout(
            samples=tuple(samples[row] for row in range(len(rows))),
            group_size=samples_per_prompt,
            generation=Generation(memory=memory.end()),
        )

    def load_weights(self, weights: Iterable[tuple[str, Tensor]], version: int) -> None:
        """See `RolloutEngine.load_weights`."""
        if self._adapter is None:
            own = dict(named_weights(self._model))
        else:
            weights = list(weights)
            own = adapter_of(self._model, self._adapter, [name for name, _ in weights])
        missing = set(own)
        for name, tensor in weights:
            if name not in own:
                raise EngineError(f"the engine's model has no weight {name!r}")
            own[name].data.copy_(tensor)
            missing.discard(name)
        if missing:
            raise EngineError(f"no new value came for {len(missing)} weights, {min(missing)!r} one")
        self._version = version

    def close(self) -> None:
        """See `RolloutEngine.close`."""

    def _batches(
        self, requests: Sequence[TurnRequest]
    ) -> Iterator[tuple[list[TurnRequest], list[tuple[int, ...]]]]:
        """Requests that are generated at once, and the token ids of their prompts. The longest
        completion of a batch fits behind its longest prompt: every row goes on as long as any."""
        batch: list[TurnRequest] = []
        encoded: list[tuple[int, ...]] = []
        width = most = 0
        prompt: Prompt | None = None
        ids: tuple[int, ...] = ()
        for request in requests:
            if request.prompt is not prompt:  # the samples of a group stand beside each other
                prompt, ids = request.prompt, self._encoder.encode(request.prompt)
            width, most = max(width, len(ids)), max(most, request.most_tokens)
            is_full = len(batch) == self._batch_size
            if batch and (is_full or width + most > self._encoder.max_context_tokens):
                yield batch, encoded
                batch, encoded = [], []
                width, most = len(ids), request.most_tokens
            batch.append(request)
            encoded.append(ids)
        if batch:
            yield batch, encoded

    def _generate_batch(
        self,
        requests: Sequence[TurnRequest],
        encoded: Sequence[tuple[int, ...]],
        sampling: Sampling,
    ) -> list[Sample]:
        most = [request.most_tokens for request in requests]
        width = max(map(len, encoded))
        stop_ids = self._encoder.stop_ids
        # Left padding: every row's next token is at the same place.
        input_ids = torch.tensor(
            [[stop_ids[0]] * (width - len(ids)) + list(ids) for ids in encoded]
        )
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in encoded])
        steps = Steps.of(sampling, self._encoder, encoded, width, most)
        drawn = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0, "top_p": 1.0}
        settings = _generation_config(
            max_new_tokens=max(most),
            **(drawn if sampling.temperature > 0 else {"do_sample": False}),
            eos_token_id=list(stop_ids),
            pad_token_id=stop_ids[0],
        )
        with torch.inference_mode():
            output = self._model.generate(
                input_ids=input_ids.to(self._model.device),
                attention_mask=mask.to(self._model.device),
                logits_processor=steps.processors,
                stopping_criteria=steps.criteria,
                generation_config=settings,
            )
            logprobs = steps.recorder.finish(output)
        completions = output[:, width:].tolist()
        supports = None if steps.truncation is None else steps.truncation.supports()
        return [
            self._sample(
                request.prompt,
                encoded[row],
                completions[row][: request.most_tokens],
                logprobs[row].tolist(),
                None if steps.stops is None else steps.stops.lengths.get(row),
                None if supports is None else supports[row],
            )
            for row, request in enumerate(requests)
        ]

    def _sample(
        self,
        prompt: Prompt,
        prompt_ids: tuple[int, ...],
        completion: Sequence[int],
        logprobs: Sequence[float],
        stopped: int | None,
        supports: Supports | None,
    ) -> Sample:
        ends = [i + 1 for i, token in enumerate(completion) if token in self._encoder.stop_ids]
        if stopped is not None and stopped <= len(completion):
            ends.append(stopped)  # behind it come tokens that nobody drew
        length = min(ends, default=len(completion))
        if supports is not None:
            ids, counts = supports
            supports = ids[: sum(counts[:length])], counts[:length]
        assert self._version is not None
        text, budget = self._encoder.decode(completion[:length]), self._encoder.thought_budget
        return Sample(
            prompt=prompt,
            prompt_ids=prompt_ids,
            completion_ids=tuple(completion[:length]),
            logprobs=tuple(logprobs[:length]),
            text=text,
            parts=self._encoder.split(prompt_ids, text, prompt.prefill),
            finish_reason="stop" if ends else "length",
            policy_version=self._version,
            given=()
            if budget is None
            else budget.written(prompt_ids, completion[:length], logprobs[:length]),
            supports=supports,
        )


def _generation_config(**settings: Any) -> Any:
    from transformers import GenerationConfig

    config: Any = GenerationConfig  # which has no types
    return config(**settings)
