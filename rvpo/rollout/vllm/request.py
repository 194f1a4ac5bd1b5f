"""The sampling of a request, in vLLM's words, and what it can tell of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rvpo.rollout.supports import MOST_LIKELY, Supports, told_supports

if TYPE_CHECKING:
    from rvpo.rollout.encoder import Encoder
    from rvpo.sampling import Sampling


def request_words(sampling: Sampling) -> dict[str, Any]:
    """All of it, so that nothing is left to vLLM, which would take it from the model's files.
    `structured_outputs` is a table here, and only there with a value, like `stop`."""
    words: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "repetition_penalty": sampling.repetition_penalty,
        "max_tokens": sampling.max_completion_tokens,
        "logprobs": 0,
        "detokenize": bool(sampling.stop),  # which it needs to see a text
    }
    if sampling.stop:
        words["stop"] = list(sampling.stop)
    if sampling.structured is not None:
        named = {"json_schema": "json"}
        words["structured_outputs"] = {
            named.get(name, name): list(value) if isinstance(value, tuple) else value
            for name, value in sampling.structured.items()
        }
    return words


def support_problem(sampling: Sampling) -> str:
    """Reason that vLLM cannot tell the tokens that could have been drawn; empty where it can. It
    tells the likeliest ones, of a number that it is asked for."""
    if not sampling.truncates or 0 < sampling.top_k <= MOST_LIKELY:
        return ""
    if sampling.top_k:
        return (
            f"top_k: {sampling.top_k} is more than {MOST_LIKELY}, the most tokens of which vLLM is "
            "asked in training how likely each was; make it smaller"
        )
    limits = {
        "top_p": sampling.top_p < 1,
        "min_p": sampling.min_p > 0,
        "structured": sampling.structured is not None,
    }
    name = next(name for name, is_set in limits.items() if is_set)
    return (
        f"{name}: in training vLLM has to tell which tokens could have been drawn, and tells the "
        f"likeliest {MOST_LIKELY} at most; add rollout.top_k, such as top_k: 200, write "
        "rollout.engine: transformers, or limit evaluation alone, by evaluate." + name
    )


def sampling_params(sampling: Sampling, encoder: Encoder, told_tokens: int) -> Any:
    """The sampling of a request, in vLLM's type.

    Args:
        told_tokens: tokens to be told of at each place beside the drawn one.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    budget = encoder.thought_budget
    params: Any = SamplingParams(
        stop_token_ids=list(encoder.stop_ids),
        output_kind=RequestOutputKind.FINAL_ONLY,
        thinking_token_budget=None if budget is None else budget.tokens,
    )
    set_sampling(params, sampling)
    params.logprobs, params.flat_logprobs = told_tokens, told_tokens > 0
    return params


def set_sampling(params: Any, sampling: Sampling) -> None:
    """Have a request drawn so, and no token told of but those that were drawn."""
    words: dict[str, Any] = {"stop": [], "structured_outputs": None, "flat_logprobs": False}
    for name, value in (words | request_words(sampling)).items():
        setattr(params, name, value)
    if params.structured_outputs is not None:
        from vllm.sampling_params import StructuredOutputsParams

        params.structured_outputs = StructuredOutputsParams(**params.structured_outputs)


def told_logprobs(ids: Sequence[int], logprobs: Any) -> tuple[list[float], Supports | None]:
    """[T] log-probabilities of the tokens that were drawn, and where vLLM told of others, the
    supports.

    Args:
        ids: [T].
        logprobs: vLLM's, for each token a table, or flat: several lists for all of them.
    """
    starts = getattr(logprobs, "start_indices", None)
    if starts is None:
        return [at[token].logprob for token, at in zip(ids, logprobs, strict=True)], None
    places = [
        (logprobs.token_ids[start:end], logprobs.logprobs[start:end])
        for start, end in zip(starts, logprobs.end_indices, strict=True)
    ]
    return [found[0] for _, found in places], told_supports(places)
