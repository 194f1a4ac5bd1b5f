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
from rvpo.rollout.further import Further
from rvpo.rollout.sampled import sampled
from rvpo.rollout.servers.asking import Asking, Versions
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.pool import Pool
from rvpo.rollout.servers.reply import SampledTokens, SampleRequest
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.rollout.servers.weights.sync import WeightSync
from rvpo.rollout.supports import told
from rvpo.runtime.ignore import ignore
from rvpo.runtime.seed import derived_seed
from rvpo.sampling import Sampling
from rvpo.types import Generation, Prompt, Rollout, Sample

_POLL_S = 1.0


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
        has a seed of its own, from `seed` and its row, whichever server it is asked of; vLLM takes
        it on GPUs alone."""
        if self._versions.present is None:
            raise EngineError("the servers were asked to generate before they were given weights")
        requests = list(self._requests(prompts, samples_per_prompt, seed, sampling))
        samples: dict[int, Sample] = {}
        for row, completion in self._completions(requests, samples_per_prompt):
            request = requests[row]
            samples[row] = sampled(
                self._encoder,
                request.prompt,
                request.prompt_ids,
                completion.token_ids,
                completion.logprobs,
                completion.finish_reason,
                completion.versions,
                completion.supports,
            )
            on_sample(row, samples[row])
        return Rollout(
            samples=tuple(samples[row] for row in range(len(requests))),
            group_size=samples_per_prompt,
            generation=Generation(
                servers=len(self._pool.servers),
                asked_again=self._asked_again,
            ),
        )

    def _requests(
        self, prompts: Sequence[Prompt], group: int, seed: int, sampling: Sampling | None
    ) -> Iterator[SampleRequest]:
        drawn, budget = sampling or self._terms.sampling, self._encoder.thought_budget
        vocabulary = self._encoder.vocabulary
        tells = sampling is None and drawn.truncates
        for place, (prompt, ids) in enumerate(
            zip(prompts, self._encoder.encode_each(prompts), strict=True)
        ):
            room = self._encoder.max_context_tokens - len(ids)
            if room < 1:
                raise DataError(
                    f"prompt {prompt.id!r} has {len(ids)} tokens, which leave no room for a "
                    f"completion in the context of {self._encoder.max_context_tokens}; shorten or "
                    "drop it"
                )
            for row in range(place * group, (place + 1) * group):
                yield SampleRequest(
                    row=row,
                    prompt=prompt,
                    prompt_ids=ids,
                    seed=derived_seed(seed, row),
                    drawn=replace(
                        drawn, max_completion_tokens=min(drawn.max_completion_tokens, room)
                    ),
                    stop_ids=self._encoder.stop_ids,
                    vocabulary=vocabulary,
                    told_tokens=told(drawn.top_k, vocabulary) if tells else 0,
                    thought_tokens=None if budget is None else budget.tokens,
                )

    def _completions(
        self, requests: Sequence[SampleRequest], group: int
    ) -> Iterator[tuple[int, SampledTokens]]:
        """Each row's completion once, as they come from the thread of `http`."""
        heard: queue.SimpleQueue[tuple[int, SampledTokens] | str | None] = queue.SimpleQueue()
        rows = range(len(requests))

        async def ask() -> None:
            self._asking = asking = Asking(
                self._http,
                self._pool,
                self._versions,
                requests,
                [rows[start : start + group] for start in rows[::group]],
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
        try:
            while (found := self._next(heard, asked)) is not None:
                if isinstance(found, str):
                    self._say(found)
                else:
                    yield found
            _result(asked)
        finally:
            asked.cancel()  # where the caller failed, or was interrupted

    def _next(
        self,
        heard: queue.SimpleQueue[tuple[int, SampledTokens] | str | None],
        asked: Future[None],
    ) -> tuple[int, SampledTokens] | str | None:
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
