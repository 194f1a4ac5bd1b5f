"""The engine of servers, from its settings: servers found or started, and the way of weights."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from rvpo.rollout.engine_config import EngineInputs
from rvpo.rollout.servers.command import Served
from rvpo.rollout.servers.engine import ServersEngine, Terms
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.own import READY_S, OwnServers, start_own
from rvpo.rollout.servers.pool import Pool
from rvpo.rollout.servers.roll_call import roll_call
from rvpo.rollout.servers.same_model import check_models
from rvpo.rollout.servers.settings import ServersConfig
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.rollout.servers.weights.sync import WeightSync
from rvpo.runtime.network import main_address

SyncMaker = Callable[[ServersConfig, EngineInputs, Sequence[str], Http, RunLabel], WeightSync]

_OTHER_FILES: Final = 1024
"""Open files of a training process beside connections to servers."""


def open_servers(
    config: ServersConfig, inputs: EngineInputs, make_sync: SyncMaker
) -> ServersEngine:
    """This rank's side of the servers. Every rank must call.

    Raises:
        ConfigError: the key is not in the environment, or a server has another model.
        EngineError: too few servers answer.
    """
    ranks = inputs.ranks
    patience_s = 60 * inputs.patience_minutes
    with ExitStack() as stack:
        http = Http(config.key())
        stack.callback(http.close)
        host = main_address(ranks)
        own: OwnServers | None = None
        urls = config.urls
        with ranks.together():
            if config.start is not None and ranks.is_main:
                own, urls = start_own(config, Served.of(inputs), host, say=inputs.say)
                stack.callback(own.close)
                own.ready(max(patience_s, READY_S))
        urls = ranks.first(urls)
        with ranks.together():
            if ranks.is_main:
                http.run(roll_call(http, urls, config.least, patience_s, inputs.say))
                room = inputs.encoder.max_context_tokens
                for odd in http.run(check_models(http, urls, Served.of(inputs), room)):
                    if odd.kind == "refused":  # the others were told of by the roll call
                        inputs.say(f"server {odd.url} {odd.reason}: its model is not compared")
        label = ranks.first(RunLabel.drawn())
        sync = make_sync(config, inputs, urls, http, label)
        stack.callback(sync.close)
        at_once = -(-config.at_once // ranks.size)
        _allow_files(at_once * len(urls) + _OTHER_FILES)
        return ServersEngine(
            inputs.encoder,
            Pool(urls, config.least, ranks.rank),
            http,
            sync,
            label,
            Terms(
                sampling=inputs.sampling,
                at_once=at_once,
                patience_s=patience_s,
            ),
            inputs.say,
            closing=stack.pop_all().close,
        )


def _allow_files(number: int) -> None:
    """Let this process have so many files open at once, as far as its system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
