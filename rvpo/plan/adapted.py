"""The adapters of LoRA, put into a model without weights, as findings."""

from __future__ import annotations

from typing import Final

from rvpo.config.run import RunConfig
from rvpo.errors import RvpoError
from rvpo.model_files import resolve_model
from rvpo.plan.adapters import unmatched
from rvpo.plan.machine import Finding
from rvpo.plan.shape import ModelShape
from rvpo.trainer.adapters import rehearse_adapters

_PART: Final = "adapters"


def adapter_findings(config: RunConfig, shape: ModelShape | None) -> list[Finding]:
    """Layers that get adapters, and an engine that takes them; nothing where all weights are
    trained, or where the model is not known."""
    lora, trusted = config.model.lora, config.model.trust_remote_code
    if lora is None or shape is None:
        return []
    if shape.published:
        if name := next(unmatched(lora, shape), None):
            found = f"model.lora.targets: {config.model.path} has no linear layer '{name}'"
            ends = dict.fromkeys(each.path.rpartition(".")[2] for each in shape.linears)
            return [Finding(_PART, "missing", found, f"one of {', '.join(ends)}, or all-linear")]
        found = "looked for by the published name of the model alone, whose settings are not here"
        return [Finding(_PART, "note", found)]
    try:
        path = resolve_model(config.model.path)
        rehearse_adapters(path, lora, trust_remote_code=trusted)
        if config.model.sent_adapter is not None:
            config.rollout.engine.check_adapted(path, trust_remote_code=trusted)
    except RvpoError as error:
        return [Finding(_PART, "missing", str(error))]
    return [Finding(_PART, "ok", "the model has layers for them; they change nothing yet")]
