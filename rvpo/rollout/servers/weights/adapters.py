"""Adapters for all servers, as folders on a disk that they share with the trainer."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rvpo.errors import EngineError
from rvpo.rollout.adapter import save_adapter, write_adapter
from rvpo.rollout.adapter_effect import check_effect, probe
from rvpo.rollout.engine import Weights
from rvpo.rollout.lora_config import LoraConfig
from rvpo.rollout.servers.http import Http, ServerError
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.rollout.servers.weights.fan_out import Member, Patience, each
from rvpo.rollout.servers.weights.roster import Fits, Roster
from rvpo.runtime.ranks import Ranks

_UNREAD: Final = "No adapter found"
"""vLLM's words where it finds no folder."""
_AGAIN_S: Final = (1.0, 5.0)
"""Seconds after which a server looks again: its view of a shared disk may be older."""


class Adapters:
    """Implements `WeightSync`: rank 0 writes, the other ranks take their part in gathering.

    Each adapter has a name of its own, which requests give. One that is put into the place of
    another under its name vLLM reads anew at every token, as long as a request asks for it.

    Args:
        urls: the servers' addresses.
        label: makes the names of versions and adapters.
        folder: the place of the adapters, seen by all servers under the same path.
        base: folder or Hub id of the model that the adapters are of.
        prompt_ids: [T] a prompt by which the effect of adapters is looked for.
        again_s: seconds after which a folder that a server does not find is tried again.
        fits: see `Roster`.
    """

    def __init__(
        self,
        http: Http,
        urls: Sequence[str],
        ranks: Ranks,
        label: RunLabel,
        folder: Path,
        config: LoraConfig,
        base: str,
        prompt_ids: Sequence[int],
        *,
        patience: Patience | None = None,
        again_s: Sequence[float] = _AGAIN_S,
        fits: Fits | None = None,
    ) -> None:
        self._http = http
        self._ranks = ranks
        self._urls = tuple(urls)
        self._folder = folder.absolute()
        self._config = config
        self._base = base
        self._prompt_ids = list(prompt_ids)
        self._patience = patience or Patience()
        self._again_s = tuple(again_s)
        self._roster = Roster(http, self._patience, label, in_flight=False, fits=fits)
        self._label = label
        self._sent = 0
        self._name: str | None = None
        self._losses: dict[str, str] = {}
        self._proven: set[str] = set()
        """Servers whose answers a probe was seen to change."""
        self._held: dict[str, str] = {}
        """Name of the adapter that each server has."""

    @property
    def model(self) -> str | None:
        """See `WeightSync.model`."""
        return self._name

    def send(self, weights: Weights, version: int) -> tuple[str, ...]:
        """See `WeightSync.send`.

        Raises:
            EngineError: a server cannot read the folder, or answers the same with an adapter.
            CheckpointError: the folder cannot be written.
        """
        found: tuple[str, tuple[str, ...], dict[str, str]] | None = None
        with self._ranks.together():
            if self._ranks.is_main:
                found = self._send(weights, version)
            else:
                weights.walk()
        told = self._ranks.first(found)
        assert told is not None  # it is of rank 0
        self._name, serving, self._losses = told
        return serving

    def losses(self) -> dict[str, str]:
        """See `WeightSync.losses`."""
        return dict(self._losses)

    def close(self) -> None:
        """See `WeightSync.close`."""
        if self._ranks.is_main:
            self._roster.release()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _send(self, weights: Weights, version: int) -> tuple[str, tuple[str, ...], dict[str, str]]:
        """The adapter's name, the servers that have it, and the last words of the others."""
        self._sent += 1
        name = f"rvpo-{self._label.run}-{self._sent}"
        folder = self._folder / name
        write_adapter(folder, weights, self._config, self._base)
        roster = self._roster
        roster.losses.clear()
        present = tuple(roster.present(self._urls))
        if unproven := tuple(member for member in present if member.url not in self._proven):
            self._prove(unproven, weights, version)
        asked = (member for member in present if member.url not in roster.losses)
        serving = tuple(member.url for member in self._replace(asked, name, folder, version))
        for other in set(self._folder.iterdir()) - {folder}:  # of a run that was killed, too
            shutil.rmtree(other, ignore_errors=True)
        return name, serving, dict(roster.losses)

    def _prove(self, members: Iterable[Member], weights: Weights, version: int) -> None:
        """Have servers answer with a probe and without it. It has a name of its own, by which no
        sample is asked for, and the adapter that they get next takes its place.

        Raises:
            EngineError: a server's answers are the same.
        """
        name = f"rvpo-{self._label.run}-probe-{self._sent}"
        folder = self._folder / name
        save_adapter(folder, probe(weights.layout(), self._config), self._config, self._base)
        for member in self._replace(members, name, folder, version):
            url = member.url
            try:
                check_effect(self._likelihoods(url, name), self._likelihoods(url, None))
            except ServerError as error:
                self._roster.leave_out(error)
            else:
                self._proven.add(url)

    def _replace(
        self, members: Iterable[Member], name: str, folder: Path, version: int
    ) -> tuple[Member, ...]:
        """Give servers an adapter in the place of the one that they have, with nothing computed
        meanwhile.

        Returns:
            Those that have it.
        """
        paused = self._roster.pause(members)
        return self._roster.resume(self._give(paused, name, folder, version), version)

    def _give(
        self, members: Iterable[Member], name: str, folder: Path, version: int
    ) -> tuple[Member, ...]:
        """Have servers load an adapter and mark tokens with its version.

        Returns:
            Those that did.
        """
        asked = tuple(members)
        taking = [self._take(member.url, name, folder, version) for member in asked]
        answers = self._http.run(each(taking))
        errors = [answer for answer in answers if isinstance(answer, ServerError)]
        for error in errors:
            if _UNREAD in error.reason:
                raise EngineError(
                    f"rollout.engine: {error.url} cannot read {folder}; let output be a folder of "
                    "a disk that is at the same place on every machine of the run, or write "
                    "model.lora.sync=merged"
                )
            self._roster.leave_out(error)
        return tuple(m for m, answer in zip(asked, answers, strict=True) if answer is None)

    async def _take(self, url: str, name: str, folder: Path, version: int) -> None:
        await self._load(url, {"lora_name": name, "lora_path": str(folder)})
        before, self._held[url] = self._held.get(url), name
        await self._post(url, "/update_weight_version", {"new_version": self._label.of(version)})
        if before is not None:
            # vLLM has dropped it for want of room, and still knows its name; a server that was
            # started again does not.
            await each([self._post(url, "/v1/unload_lora_adapter", {"lora_name": before})])

    async def _load(self, url: str, body: dict[str, str]) -> None:
        for seconds in (*self._again_s, None):
            try:
                return await self._post(url, "/v1/load_lora_adapter", body)
            except ServerError as error:
                if _UNREAD not in error.reason or seconds is None:
                    raise
                await asyncio.sleep(seconds)

    async def _post(self, url: str, route: str, body: dict[str, str]) -> None:
        # Some of these routes answer with words.
        await self._http.fetch("POST", url, route, json=body, timeout_s=self._patience.answer_s)

    def _likelihoods(self, url: str, name: str | None) -> list[float]:
        """[T - 1] log-probabilities of the prompt's own tokens; without a name by the model that
        the adapter is of."""
        ids = self._prompt_ids
        sampling = {"max_tokens": 1, "temperature": 0.0, "seed": 0, "prompt_logprobs": 0}
        body = {"token_ids": ids, "model": name, "sampling_params": {**sampling, "logprobs": 0}}
        route = "/inference/v1/generate"
        seconds = self._patience.answer_s
        answer = self._http.run(self._http.ask("POST", url, route, json=body, timeout_s=seconds))
        try:
            found = answer["prompt_logprobs"][1:]
            return [
                float(at[str(token)]["logprob"]) for token, at in zip(ids[1:], found, strict=True)
            ]
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            words = f"answered {route} without the log-probabilities of the prompt"
            raise ServerError(url, words, "failed") from error
