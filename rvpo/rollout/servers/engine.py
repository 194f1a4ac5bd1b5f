"""Generation on vLLM servers: token ids go there, and come back with their log-probabilities."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass, replace

from rvpo.errors import DataError, EngineError
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.engine import OnSample, Weights
from rvpo.rollout.further import Further, TurnRequest, awaited
from rvpo.rollout.sampled import sampled
from rvpo.rollout.servers.asking import Asking, Versions
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.pool import Pool
from rvpo.rollout.servers.reply import SampledTokens, SampleRequest
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.rollout.servers.weights.sync import WeightSync
from rvpo.rollout.supports import told
from rvpo.runtime.ignore import ignore
from rvpo.sampling import Sampling
from rvpo.types import Generation, Prompt, Rollout, Sample

_POLL_S = 1.0
_Heard = tuple[int, SampledTokens] | str | None
"""A row's completion, or words about a server, empty where rows go on; None at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Terms on which servers are asked."""

    sampling: Sampling
    at_once: int
    """Samples that this process asks a server for at once."""
    patience_s: float
    """Seconds that a server may say nothing."""


class ServersEngine:
    """This rank's side of the servers.

    Args:
        pool: the servers, as this rank knows them.
        label: makes the names of versions, as that of `sync`.
        say: told of each server that is lost.
        closing: closes what the engine was given.
    """

    def __init__(
        self,
        encoder: Encoder,
        pool: Pool,
        http: Http,
        sync: WeightSync,
        label: RunLabel,
        terms: Terms,
        say: Callable[[str], None] = ignore,
        closing: Callable[[], None] = ignore,
    ) -> None:
        self._encoder = encoder
        self._pool = pool
        self._http = http
        self._sync = sync
        self._terms = terms
        self._say = say
        self._closing = closing
        self._versions = Versions(label)
        self._asking: Asking | None = None
        """The rollout under way."""
        self._asked_again = 0

    def generate(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        seed: int,
        on_sample: OnSample = ignore,
        sampling: Sampling | None = None,
        further: Further | None = None,
    ) -> Rollout:
        """See `RolloutEngine.generate`. `on_sample` is called in the caller's thread. Each sample
        has a seed of its own, from `seed`, its row and its turn, whichever server it is asked of;
        vLLM takes it on GPUs alone."""
        if self._versions.present is None:
            raise EngineError("the servers were asked to generate before they were given weights")
        drawn, tells = sampling or self._terms.sampling, sampling is None

        def worded(request: TurnRequest, ids: tuple[int, ...]) -> SampleRequest:
            return self._worded(request, ids, request.seed(seed), drawn, tells=tells)

        each = (
            (prompt, ids)
            for prompt, ids in zip(prompts, self._encoder.encode_each(prompts), strict=True)
            for _ in range(samples_per_prompt)
        )
        most = drawn.max_completion_tokens
        first = [
            worded(TurnRequest(row, 0, prompt, most), ids) for row, (prompt, ids) in enumerate(each)
        ]
        samples: dict[int, Sample] = {}
        for request, completion in self._completions(first, samples_per_prompt, worded, further):
            samples[request.row] = sampled(
                self._encoder,
                request.prompt,
                request.prompt_ids,
                completion.token_ids,
                completion.logprobs,
                completion.finish_reason,
                completion.versions,
                completion.supports,
            )
            on_sample(request.row, samples[request.row])
        return Rollout(
            samples=tuple(samples[row] for row in range(len(first))),
            group_size=samples_per_prompt,
            generation=Generation(
                servers=len(self._pool.servers),
                asked_again=self._asked_again,
            ),
        )

    def _worded(
        self,
        request: TurnRequest,
        ids: tuple[int, ...],
        seed: int,
        drawn: Sampling,
        *,
        tells: bool,
    ) -> SampleRequest:
        """A request, as servers are asked.

        Args:
            ids: [T] token ids of its prompt.
            seed: its own.
            tells: the tokens are told that could be drawn, where it is not all of them.
        """
        room, budget = self._encoder.max_context_tokens - len(ids), self._encoder.thought_budget
        vocabulary = self._encoder.vocabulary
        if room < 1:
            raise DataError(
                f"prompt {request.prompt.id!r} has {len(ids)} tokens, which leave no room for a "
                f"completion in the context of {self._encoder.max_context_tokens}; shorten or "
                "drop it"
            )
        return SampleRequest(
            row=request.row,
            prompt=request.prompt,
            prompt_ids=ids,
            seed=seed,
            drawn=replace(drawn, max_completion_tokens=min(request.most_tokens, room)),
            stop_ids=self._encoder.stop_ids,
            vocabulary=vocabulary,
            told_tokens=told(drawn.top_k, vocabulary) if tells and drawn.truncates else 0,
            thought_tokens=None if budget is None else budget.tokens,
        )

    def _completions(
        self,
        first: Sequence[SampleRequest],
        group: int,
        worded: Callable[[TurnRequest, tuple[int, ...]], SampleRequest],
        further: Further | None,
    ) -> Iterator[tuple[SampleRequest, SampledTokens]]:
        """Each request with its completion, as they come from the thread of `http`; those of rows
        that go on as well."""
        heard: queue.SimpleQueue[_Heard] = queue.SimpleQueue()
        if further is not None:
            further.listen(lambda: heard.put(""))
        rows = range(len(first))

        async def ask() -> None:
            self._asking = asking = Asking(
                self._http,
                self._pool,
                self._versions,
                first,
                [rows[start : start + group] for start in rows[::group]],
                goes_on=further is not None,
                at_once=self._terms.at_once,
                patience_s=self._terms.patience_s,
                model=self._sync.model,
                heard=lambda row, completion: heard.put((row, completion)),
                say=heard.put,
            )
            try:
                await asking.run()
            finally:
                self._asked_again = asking.asked_again
                if self._asking is asking:
                    self._asking = None

        asked = self._http.start(ask())
        asked.add_done_callback(lambda _: heard.put(None))
        requests, left = dict(enumerate(first)), len(first)
        try:
            while True:
                if further is not None:
                    new = further.take() if left else awaited(further, all_of_them=False)
                    more = [worded(each, self._encoder.encode(each.prompt)) for each in new]
                    requests.update((each.row, each) for each in more)
                    left += len(more)
                    if more or not left:
                        self._http.start(self._go_on(more, is_over=not left))
                if (found := self._next(heard, asked)) is None:
                    break
                if isinstance(found, tuple):
                    row, completion = found
                    left -= 1
                    yield requests[row], completion
                elif found:
                    self._say(found)
            _result(asked)
        finally:
            asked.cancel()  # where the caller failed, or was interrupted

    async def _go_on(self, requests: Sequence[SampleRequest], *, is_over: bool) -> None:
        if self._asking is not None:
            self._asking.go_on(requests)
            if is_over:
                self._asking.end()

    def _next(self, heard: queue.SimpleQueue[_Heard], asked: Future[None]) -> _Heard:
        while True:
            with suppress(queue.Empty):
                return heard.get(timeout=_POLL_S)
            if not self._http.is_open and not asked.done():
                asked.cancel()  # its loop ended before it began
                return None

    def load_weights(self, weights: Weights, version: int) -> None:
        """See `RolloutEngine.load_weights`. Every rank must call; servers that do not have them
        afterwards are asked for nothing until the next ones."""
        self._versions.newest = version
        before = self._pool.servers
        there = self._sync.send(weights, version)
        losses = self._sync.losses()
        self._http.run(self._renew(there, version))
        for url in (url for url in before if url not in there):
            self._say(
                f"server {url} {losses.get(url, 'did not take the weights')}: it is left out until "
                "the next weights"
            )
        for url in there if before else ():
            if url not in before:
                self._say(f"server {url} has the new weights, and is asked again")
        self._pool.check()

    async def _renew(self, there: Sequence[str], version: int) -> None:
        self._pool.renew(there, self._sync.losses())
        self._versions.present = version
        if self._asking is not None:
            self._asking.renewed()

    def close(self) -> None:
        """See `RolloutEngine.close`. A rollout under way ends with an EngineError."""
        self._closing()


def _result(asked: Future[None]) -> None:
    """
    Raises:
        EngineError: the servers did not answer for all, or the engine was closed meanwhile.
    """
    try:
        asked.result()
    except CancelledError as error:
        raise EngineError("the connections to the servers were closed meanwhile") from error
