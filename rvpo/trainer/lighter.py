"""Changes of the settings with which training takes less memory of a device."""

from __future__ import annotations

from collections.abc import Iterator

from rvpo.config.update import UpdateConfig


def lighter_updates(update: UpdateConfig, *, on_gpu: bool) -> Iterator[str]:
    """Those for the height of an update, the one that costs least first."""
    if update.loss.weighting != "row_mean":  # whose loss it changes, so that no run goes on
        yield f"lower update.micro_batch_tokens, which is {update.micro_batch_tokens}"
    if not update.activation_checkpointing:
        yield "set update.activation_checkpointing=true"
    yield from lighter_states(update, on_gpu=on_gpu)


def lighter_states(update: UpdateConfig, *, on_gpu: bool) -> Iterator[str]:
    """Those for what is held all the time."""
    if not on_gpu:
        yield "take a smaller model"
        return
    if not update.offload_optimizer and update.optimizer == "adamw":
        yield "set update.offload_optimizer=true"
        yield "begin anew with update.optimizer=adamw_8bit"  # with which no run goes on
    yield "train on more or larger GPUs, by distributed.processes"
