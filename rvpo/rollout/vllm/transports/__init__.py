"""Ways of new weights into vLLM: each one file, each its own section of the settings.

A new one is a file with a subclass of `WeightTransport` that has a `name`, and its class in
`AnyTransport` below.
"""

from __future__ import annotations

from typing import get_args

from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.transports.handed import Handed
from rvpo.rollout.vllm.transports.ipc import Ipc
from rvpo.rollout.vllm.transports.nccl import Nccl
from rvpo.rollout.vllm.transports.shared import Shared
from rvpo.rollout.vllm.transports.transport import WeightSender, WeightTransport

AnyTransport = Handed | Ipc | Nccl | Shared
"""The choices of `rollout.engine.transport`; without a choice, the first that leads to the engine's
site is taken."""


def usual_transport(site: Site) -> AnyTransport:
    """The first of them that leads to a site, with its usual settings."""
    transports: list[AnyTransport] = [kind() for kind in get_args(AnyTransport)]
    return next(each for each in transports if each.reaches(site))


__all__ = [
    "AnyTransport",
    "Handed",
    "Ipc",
    "Nccl",
    "Shared",
    "WeightSender",
    "WeightTransport",
    "usual_transport",
]
