"""The policy under training: a DeepSpeed ZeRO-3 engine and the update that moves it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rvpo.config import RunConfig
from rvpo.errors import CheckpointError, UpdateError
from rvpo.report.run_folder import writing
from rvpo.trainer.batch import MicroBatch, micro_batches
from rvpo.trainer.loss import clipped_surrogate, kl_k3
from rvpo.trainer.random_state import random_state, set_random_state
from rvpo.trainer.ranks import Ranks
from rvpo.trainer.schedule import learning_rate
from rvpo.trainer.statistics import TokenStatistics
from rvpo.trainer.zero import gathered, initialize, load_model
from rvpo.types import Advantages, Rollout, Sample

_TAG = "zero3"


class ZeroPolicy:
    """A causal language model, sharded over the ranks. Implements `Policy`.

    Args:
        model_path: folder or Hub id of the initial policy, also the KL reference.
    """

    def __init__(self, config: RunConfig, model_path: str, ranks: Ranks) -> None:
        self._config = config.update
        self._temperature = config.rollout.temperature
        self._total_steps = config.steps
        self._ranks = ranks
        self.step = 0
        """Optimizer updates done, the version of the weights."""
        model = load_model(config, model_path)
        if config.update.activation_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        self.engine: Any = initialize(model, config, trainable=True)
        self._reference: Any = None
        if config.update.beta > 0:
            reference = load_model(config, model_path)
            self._reference = initialize(reference, config, trainable=False)

    def update(self, rollout: Rollout, advantages: Advantages) -> dict[str, float]:
        """See `Policy.update`."""
        rate = learning_rate(self._config, self.step, self._total_steps)
        self.step += 1
        (trained,) = self._ranks.sum([int(advantages.trained.sum())])
        metrics = {"learning_rate": rate, "trained_samples": trained}
        if not trained:  # nothing to learn from; moving by momentum alone would be noise
            return metrics
        metrics |= self.accumulate_gradients(rollout, advantages)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        self.engine.step()
        norm = float(self.engine.get_global_grad_norm())
        if not self.engine.was_step_applied() or not math.isfinite(norm):
            self._refuse_if_broken(rollout.samples, "gradient")
        return metrics | {"grad_norm": norm}

    def accumulate_gradients(self, rollout: Rollout, advantages: Advantages) -> dict[str, float]:
        """Forward and backward over this rank's samples, leaving the gradient in the engine.

        The loss is a sum over trained tokens divided by the trained tokens of the whole step,
        over all ranks and micro-batches, so neither layout changes the gradient.

        Raises:
            UpdateError: the loss is not finite.
        """
        rows = advantages.trained.nonzero()[:, 0].tolist()
        samples = [rollout.samples[row] for row in rows]
        (tokens,) = self._ranks.sum([sum(len(sample.completion_ids) for sample in samples)])
        values = advantages.values[rows].tolist()
        batches = micro_batches(samples, values, self._config.micro_batch_size, self._ranks.device)
        statistics = TokenStatistics()
        broken: list[Sample] = []
        self.engine.train()
        for batch in self._same_number_everywhere(batches, rollout):
            loss = self._loss(batch, statistics)
            if not bool(torch.isfinite(loss)):
                broken += batch.samples
            # DeepSpeed averages over ranks, and the sum over all ranks' tokens is what counts.
            self.engine.backward(loss * self._ranks.size / tokens)
        self._refuse_if_broken(broken, "loss")
        return statistics.metrics(self._ranks)

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """See `Policy.named_weights`."""
        return gathered(self.engine.module)

    @property
    def checkpoint_bytes(self) -> int:
        """See `Policy.checkpoint_bytes`: fp32 master weights and two moments, and the weights."""
        parameters = list(self.engine.module.parameters())
        return sum(p.ds_numel * (12 + p.element_size()) for p in parameters)

    def save(self, folder: Path) -> None:
        """See `Policy.save`."""
        state = {"step": self.step, "random_state": random_state()}
        try:
            with writing(folder):
                self.engine.save_checkpoint(
                    str(folder), tag=_TAG, client_state=state, save_latest=False
                )
        except RuntimeError as error:
            if not re.search("PytorchStreamWriter|unexpected pos|write failed", str(error)):
                raise  # only these are PyTorch's words for a disk that takes no more
            raise CheckpointError(
                f"{folder} cannot be written ({error}); free some disk space, then continue with "
                "--resume"
            ) from error

    def load(self, folder: Path) -> None:
        """See `Policy.load`."""
        _, state = self.engine.load_checkpoint(str(folder), tag=_TAG)
        self.step = state["step"]
        set_random_state(state["random_state"])

    def _same_number_everywhere(
        self, batches: list[MicroBatch], rollout: Rollout
    ) -> list[MicroBatch]:
        """Fill up with micro-batches that count for nothing.

        ZeRO-3 gathers weights in every forward pass, so a rank with fewer of them would leave
        the others waiting.
        """
        wanted = int(self._ranks.max([len(batches)])[0])
        idle = micro_batches(rollout.samples[:1], [0.0], 1, self._ranks.device)[0]
        return batches + [replace(idle, counts=False)] * (wanted - len(batches))

    def _refuse_if_broken(self, samples: Sequence[Sample], what: str) -> None:
        """Raise on every rank if any rank names samples."""
        mine = [sample.prompt.id for sample in samples]
        names = sorted({name for part in self._ranks.gather_objects(mine) for name in part})
        if not names:
            return
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        raise UpdateError(
            f"step {self.step}: the {what} is not finite, so the optimizer was not moved; it came "
            f"from samples of prompts {shown}; lower update.lr or look for extreme rewards, then "
            "go on from the last checkpoint with --resume"
        )

    def _loss(self, batch: MicroBatch, statistics: TokenStatistics) -> Tensor:
        """Sum of the losses of a micro-batch's tokens."""
        logprobs, entropy = self._logprobs(self.engine, batch)
        surrogate = clipped_surrogate(
            logprobs,
            batch.sampled_logprobs,
            batch.advantages,
            self._config.epsilon,
            self._config.epsilon_high or self._config.epsilon,
        )
        loss = surrogate.loss
        kl = None
        if self._reference is not None:
            with torch.no_grad():
                reference, _ = self._logprobs(self._reference, batch)
            kl = kl_k3(logprobs, reference)
            loss = loss + self._config.beta * kl
        statistics.add(batch, surrogate, logprobs.detach(), entropy, kl)
        return loss.sum() * float(batch.counts)

    def _logprobs(self, engine: Any, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """[T] log-probabilities of the completion tokens, and [T] the entropy at each."""
        logits = engine(
            input_ids=batch.input_ids,
            attention_mask=batch.visible,
            position_ids=batch.position_ids,
            logits_to_keep=batch.predecessors,
            use_cache=False,
        ).logits[0]
        logits = logits.float() / self._temperature
        normaliser = torch.logsumexp(logits, dim=-1)
        chosen = logits.gather(-1, batch.completion_ids[:, None])[:, 0]
        with torch.no_grad():
            probabilities = torch.exp(logits - normaliser[:, None])
            entropy = normaliser - (probabilities * logits).sum(-1)
        return chosen - normaliser, entropy
