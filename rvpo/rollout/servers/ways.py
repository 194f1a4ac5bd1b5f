"""The way of weights to the servers, as the settings of a run ask for it."""

from __future__ import annotations

from collections.abc import Sequence

from rvpo.rollout.adapter_effect import PROMPT
from rvpo.rollout.engine_config import EngineInputs
from rvpo.rollout.servers.command import Served
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.same_model import fitting
from rvpo.rollout.servers.settings import ServersConfig
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.rollout.servers.weights.adapters import Adapters
from rvpo.rollout.servers.weights.broadcast import Broadcast
from rvpo.rollout.servers.weights.fan_out import Patience
from rvpo.rollout.servers.weights.gloo_link import GlooLink
from rvpo.rollout.servers.weights.links import WeightLink
from rvpo.rollout.servers.weights.sync import WeightSync
from rvpo.rollout.vllm.nccl_link import NcclLink


def weight_sync(
    config: ServersConfig,
    inputs: EngineInputs,
    urls: Sequence[str],
    http: Http,
    label: RunLabel,
) -> WeightSync:
    """The way of weights from this rank and the others to the servers.

    Args:
        urls: the servers' addresses.
        label: makes the names of versions.
    """
    patience = Patience(pause_s=60 * inputs.patience_minutes)
    fits = fitting(http, Served.of(inputs), inputs.encoder.max_context_tokens)
    if inputs.adapter is not None:
        return Adapters(
            http,
            urls,
            inputs.ranks,
            label,
            inputs.output / "adapters",
            inputs.adapter,
            inputs.model_path,
            inputs.encoder.encode(PROMPT),
            patience=patience,
            fits=fits,
        )
    device = inputs.ranks.device
    way = config.weights or ("nccl" if device.type == "cuda" else "gloo")
    link: WeightLink = NcclLink(device) if way == "nccl" else GlooLink(patience)
    return Broadcast(
        http,
        link,
        urls,
        inputs.ranks,
        label,
        address=config.address,
        in_flight=inputs.in_flight,
        patience=patience,
        fits=fits,
    )
