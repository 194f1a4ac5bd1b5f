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
"""The choices of `rollout.engine.transport`; see `usual_transport` where a run chooses none."""


def usual_transport(site: Site) -> AnyTransport:
    """The first of them that leads to a site and has no setting that must be given."""
    kinds: list[type[AnyTransport]] = [
        kind
        for kind in get_args(AnyTransport)
        if not any(setting.is_required() for setting in kind.model_fields.values())
    ]
    return next(each for kind in kinds if (each := kind()).reaches(site))


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
