"""A server that takes weights as vLLM does, over real gloo, into tensors of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import torch
from aiohttp import web
from torch import Tensor

from rvpo.rollout.servers.weights.aside import aside
from rvpo.rollout.servers.weights.buckets import receive_buckets
from rvpo.rollout.servers.weights.gloo_group import GlooGroup, GroupPatience
from rvpo.runtime.ignore import ignore
from tests.rollout.servers.server import FakeServer


class Died(Exception):
    """The server's process ended."""


class TakingServer(FakeServer):
    """See `FakeServer`; in `weights` it has what each worker was given.

    Args:
        workers: its processes, threads here, each a member of the group.
    """

    def __init__(self, *, workers: int = 1, **others: Any) -> None:
        super().__init__(**others)
        self.workers = workers
        self.refuses: dict[str, str] = {}
        """Routes that answer 500, with the words."""
        self.forgets_versions = False
        self.after_bucket: Callable[[int], object] = ignore
        """Called in the thread that takes weights, when it has so many."""
        self._clear()

    def _clear(self) -> None:
        self.weights: list[dict[str, Tensor]] = [{} for _ in range(self.workers)]
        self.groups: list[GlooGroup | None] = [None] * self.workers
        self._turns = [threading.Lock() for _ in range(self.workers)]
        self.is_open = [False] * self.workers
        """A worker's model is open for new weights."""
        self.is_paused = False
        self._bucket_bytes = 0

    @property
    def routes(self) -> list[str]:
        """Names of the routes of weights that were called, in order."""
        return [route for route, _ in self.seen.calls]

    def restart(self) -> None:
        """See `FakeServer.restart`; nothing of the process before is left."""
        self._clear()
        super().restart()

    async def _world_size(self, request: web.Request) -> web.Response:
        return web.json_response({"world_size": self.workers})

    async def _weights(self, request: web.Request) -> web.Response:
        before = self.version
        done = await super()._weights(request)
        route = request.match_info["route"]
        if route in self.refuses or self.forgets_versions:
            self.version = before
        if route in self.refuses:
            return web.json_response({"error": self.refuses[route]}, status=500)
        if route in ("pause", "resume"):
            self.is_paused = route == "pause"
            return done
        body = self.seen.calls[-1][1]
        works = [self._in_turn(route, worker, body) for worker in range(self.workers)]
        try:
            await asyncio.gather(*(asyncio.wrap_future(aside(work)) for work in works))
        except Died:
            assert request.transport is not None
            request.transport.abort()
            self._stop.set()
            return web.Response()
        except RuntimeError as error:
            return web.json_response({"error": str(error)}, status=500)
        return done

    def _in_turn(self, route: str, worker: int, body: Any) -> Callable[[], None]:
        """A call that a worker answers after those that came before."""
        work, turn = self._work(route, worker, body), self._turns[worker]

        def wait() -> None:
            with turn:
                work()

        return wait

    def _work(self, route: str, worker: int, body: Any) -> Callable[[], None]:
        match route:
            case "init_weight_transfer_engine":
                return lambda: self._join(worker, **body["init_info"])
            case "start_weight_update":
                return lambda: self._open(worker, True)
            case "update_weights":
                return lambda: self._update(worker, **body["update_info"])
            case "finish_weight_update":
                return lambda: self._open(worker, False)
            case _:
                assert route == "shutdown_weight_transfer_engine"
                return lambda: self._leave(worker)

    def _join(self, worker: int, **info: Any) -> None:
        assert self.is_paused
        self._bucket_bytes = info["bucket_bytes"]
        self.groups[worker] = GlooGroup.join(
            info["host"],
            info["port"],
            info["rank_offset"] + worker,
            info["world_size"],
            GroupPatience(info["form_s"], info["silence_s"]),
        )

    def _open(self, worker: int, is_to_be: bool) -> None:
        assert self.is_paused  # or the engine would end for good
        if self.is_open[worker] is is_to_be:
            raise RuntimeError("an update is open" if is_to_be else "no update is open")
        self.is_open[worker] = is_to_be

    def _leave(self, worker: int) -> None:
        if self.is_open[worker]:
            raise RuntimeError("Cannot release a trainer connection during a weight update")
        self.groups[worker] = None

    def _update(self, worker: int, **update: Any) -> None:
        group = self.groups[worker]
        if group is None or not self.is_open[worker]:
            raise RuntimeError("there is no group, or no update is open")
        dtypes = [getattr(torch, name) for name in update["dtype_names"]]
        shapes = map(tuple, update["shapes"])
        layout = list(zip(update["names"], dtypes, shapes, strict=True))
        taken: dict[str, Tensor] = {}
        try:
            for bucket in receive_buckets(layout, self._bucket_bytes, group.broadcast):
                taken.update(bucket)
                self.after_bucket(len(taken))
        except BaseException:
            self.is_open[worker] = False
            group.leave()
            raise
        self.weights[worker] = taken
