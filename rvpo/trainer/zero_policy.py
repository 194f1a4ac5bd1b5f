"""The policy under training: a DeepSpeed ZeRO-3 engine and the update that moves it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from rvpo.config.run import RunConfig
from rvpo.errors import CheckpointError, UpdateError
from rvpo.losses.weighting import token_weights
from rvpo.rollout.engine import Weights
from rvpo.runtime.random_state import random_state, seed_random_state, set_random_state
from rvpo.runtime.ranks import Ranks
from rvpo.runtime.seed import derived_seed
from rvpo.runtime.shortage import needing_memory
from rvpo.trainer.adapters import (
    AdapterWeights,
    MergedWeights,
    add_adapters,
    seeded_dropout,
    told,
)
from rvpo.trainer.attention_kernel import attention_kernels, head_of
from rvpo.trainer.batch import MicroBatch, TrainedSample, arrange, micro_batches
from rvpo.trainer.digest import weights_digest
from rvpo.trainer.kernels import choose_kernels
from rvpo.trainer.learning_rate import learning_rate
from rvpo.trainer.lighter import lighter_states, lighter_updates
from rvpo.trainer.objective import objective
from rvpo.trainer.offload import Offload
from rvpo.trainer.optimizers import OPTIMIZERS
from rvpo.trainer.packing import try_packing, yardstick
from rvpo.trainer.reference import reference_logprobs
from rvpo.trainer.scorer import Scorer, score_without_gradient
from rvpo.trainer.shards import Shards, restore, store
from rvpo.trainer.statistics import TokenStatistics
from rvpo.trainer.throughput import FORWARD, FROZEN, TRAINED, Stopwatch, multiplied_parameters
from rvpo.trainer.zero import GatheredWeights, initialize, load_model, state_bytes
from rvpo.types import Advantages, Rollout

_TAG = "zero3"


class ZeroPolicy:
    """A causal language model, sharded over the ranks. Implements `Policy`.

    Args:
        model_path: folder or Hub id of the initial policy, also the KL reference.
        say: told where the model cannot be scored in packed rows, and where a checkpoint of another
            number of ranks is shared out.
        offloads: the optimizer's state is in the machine's own memory between updates.
    """

    def __init__(
        self,
        config: RunConfig,
        model_path: str,
        ranks: Ranks,
        say: Callable[[str], None] = lambda text: None,
        *,
        offloads: bool = False,
    ) -> None:
        self._config = config.update
        self._lora = config.model.lora
        self._frozen_parameters = 0
        self._merged: MergedWeights | None = None
        """The weights that an engine was given, where adapters were added to them."""
        self._path = model_path
        self._base = "" if self._lora is None else weights_digest(model_path)
        self._rollout = config.rollout
        self._total_steps = config.steps
        self._seed = config.seed
        self._ranks = ranks
        self._say = say
        self.step = 0
        """Steps done, the version of the weights."""
        self.num_tokens = 0
        """Tokens of all samples so far, each with its prompt, trained or not, as TRL counts
        them."""
        on_gpu = ranks.device.type == "cuda"
        self._lighter = list(lighter_updates(config.update, on_gpu=on_gpu))
        states = list(lighter_states(config.update, on_gpu=on_gpu))
        with needing_memory("while the model was loaded and sharded", states):
            self.engine: Any = self._scorer(config, model_path, trainable=True)
            self._reference: Any = None
            """An engine of its own for the KL reference, which adapters do without."""
            if config.update.beta > 0 and self._lora is None:
                self._reference = self._scorer(config, model_path, trainable=False)
            self._at_hand: Callable[[], AbstractContextManager[None]] = nullcontext
            """Has the optimizer's state where it is used meanwhile."""
            if offloads:
                self._at_hand = Offload(self.engine).at_hand
            self._choose_packing(say)
        self._stopwatch = Stopwatch(self.model, ranks.device, self._frozen_parameters)

    @property
    def model(self) -> Any:
        """The model, as transformers knows it, with sharded weights."""
        return self.engine.module.model

    def update(self, rollout: Rollout, advantages: Advantages) -> dict[str, float]:
        """See `Policy.update`."""
        rate = learning_rate(self._config, self.step, self._total_steps)
        self.step += 1
        tokens = sum(len(s.prompt_ids) + len(s.completion_ids) for s in rollout.samples)
        self.num_tokens += round(self._ranks.sum([tokens])[0])
        samples = self._trained(rollout, advantages, self.step - 1)
        trained = sum(not sample.is_masked for sample in samples)
        metrics: dict[str, float] = {
            "learning_rate": rate,
            "num_tokens": self.num_tokens,
            "trained_samples": trained,
        }
        if not trained:  # nothing to learn from; moving by momentum alone would be noise
            return metrics
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        statistics = self.statistics()
        norms = []
        updates = self._mini_batches(samples)
        shortage = needing_memory("in the policy update", self._lighter)
        dropout = seeded_dropout(
            self._dropout,
            derived_seed(self._seed, "dropout", self.step, self._ranks.rank),
            self._ranks.device,
        )
        with shortage, self._at_hand(), dropout:
            self._stopwatch.begin()
            for batches in self._with_old_logprobs(updates):
                self.accumulate_gradients(batches, statistics)
                norms.append(self._move(batches))
            work = self._measured_work(updates)
        measured = statistics.metrics(self._ranks, len(norms))
        merged = {} if self._merged is None else self._merged.share.metrics()
        return metrics | measured | {"grad_norm": fmean(norms)} | merged | work

    def mini_batches(self, rollout: Rollout, advantages: Advantages) -> list[list[MicroBatch]]:
        """This rank's micro-batches of each optimizer update that a step makes."""
        return self._mini_batches(self._trained(rollout, advantages, self.step))

    def statistics(self) -> TokenStatistics:
        """Statistics of a step in which nothing is counted yet."""
        return TokenStatistics(self._config)

    def accumulate_gradients(
        self, batches: Sequence[MicroBatch], statistics: TokenStatistics
    ) -> None:
        """Forward and backward over micro-batches, leaving the gradient in the engine.

        Each token has its weight in the loss of the whole update, over all ranks and
        micro-batches, so neither layout changes the gradient, but for bnpo, which averages over
        micro-batches.

        Raises:
            UpdateError: the loss is not finite.
        """
        broken: list[str] = []
        references: Sequence[torch.Tensor | None] = [None] * len(batches)
        if self._config.beta:
            references = reference_logprobs(self.engine, self._reference, batches)
        self.engine.train()
        for batch, reference in zip(batches, references, strict=True):
            logprobs, entropy = self.engine(batch)
            outcome = objective(self._config, batch, logprobs, entropy, reference)
            statistics.add(batch, outcome, entropy.detach())
            if not bool(torch.isfinite(outcome.loss)):
                broken += batch.prompt_ids
            # DeepSpeed averages over ranks, and the sum over all ranks' tokens is what counts.
            self.engine.backward(outcome.loss * self._ranks.size)
        self._refuse_if_broken(broken, "loss")

    def weights(self) -> Weights:
        """See `Policy.weights`."""
        if self._lora is not None and self._lora.sync == "adapter":
            return AdapterWeights(self.model)
        if self._lora is None:
            return GatheredWeights(self.model)
        self._merged = MergedWeights(GatheredWeights(self.model), self.model)
        return self._merged

    @property
    def checkpoint_bytes(self) -> int:
        """See `Policy.checkpoint_bytes`."""
        kind = self._config.optimizer
        trained = (p for p in self.model.parameters() if p.requires_grad)
        return sum(state_bytes(p.ds_numel, p.element_size(), kind) for p in trained)

    def save(self, folder: Path) -> None:
        """See `Policy.save`."""
        state = {
            "step": self.step,
            "num_tokens": self.num_tokens,
            "random_state": random_state(),
            "base": self._base,
        }
        store(self.engine, folder, _TAG, state)

    def load(self, folder: Path) -> None:
        """See `Policy.load`."""
        shards = Shards(folder / _TAG, OPTIMIZERS[self._config.optimizer])
        if shards.model(0).get("base", "") != self._base:
            raise CheckpointError(
                f"{folder} holds adapters of a model with other weights than {self._path} has; "
                "restore the files of model.path"
            )
        rank, ranks = self._ranks.rank, self._ranks.size
        with needing_memory("while a checkpoint was read", self._lighter), self._at_hand():
            restore(self.engine, shards, rank, ranks)
        state = shards.model(rank % shards.ranks)
        self.step = state["step"]
        self.num_tokens = state["num_tokens"]
        if shards.ranks == ranks:
            set_random_state(state["random_state"])
            return
        # Nobody may draw what another rank draws too.
        seed_random_state(derived_seed(self._seed, self.step, rank, ranks))
        self._say(
            f"{folder} was written by {shards.ranks} ranks and is shared out anew among {ranks}: "
            "from here on samples are drawn with other seeds"
        )

    def _scorer(self, config: RunConfig, model_path: str, *, trainable: bool) -> Any:
        model = load_model(config, model_path)
        if self._lora is not None:
            self._frozen_parameters = multiplied_parameters(model)
            add_adapters(model, self._lora, config.seed)
            self._say(told(model, config.update.lr))
        if trainable and config.update.activation_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        chunk = config.update.chunk(on_gpu=self._ranks.device.type == "cuda")
        scorer = Scorer(model, config.rollout.temperature, chunk)
        return initialize(scorer, config, trainable=trainable)

    def _choose_packing(self, say: Callable[[str], None]) -> None:
        """Score packed rows where they give what the model itself gives."""
        engines = [each for each in (self.engine, self._reference) if each is not None]
        expected = yardstick(self.engine, self._ranks)
        kernels = choose_kernels(self._config, engines, self._ranks, expected)
        trial = try_packing(self.engine, self._ranks, expected)
        for engine in engines:
            engine.module.choose(trial.fault is None)
        if trial.fault is not None:
            say(
                "model.path: completions cannot share their prompts in the update "
                f"({trial.fault}; rounding alone moves them by {expected.rounding:.2g}); {kernels}"
            )
            return
        say(
            "update: each prompt is computed once for all its completions, which moves their "
            f"log-probabilities by {trial.distance:.2g} (rounding alone by "
            f"{expected.rounding:.2g}); {kernels}, {self._attention()}"
        )

    def _attention(self) -> str:
        head = head_of(self.model.config.get_text_config())
        dtype = next(self.model.parameters()).dtype
        if head is None:
            return "attention by kernels of its own"
        return f"attention by {attention_kernels(head, dtype, self._ranks.device)}"

    def _trained(
        self, rollout: Rollout, advantages: Advantages, version: int
    ) -> list[TrainedSample]:
        """The samples of all ranks that the update learns from, or that count beside those.

        Args:
            version: updates of the weights that learn, done before.
        """
        counts = self._config.left_out == "count"
        masks = self._config.mask_truncated
        # Every rank has as many groups.
        first = self._ranks.rank * (len(rollout.samples) // rollout.group_size)
        mine = [
            TrainedSample.of(
                sample,
                advantage,
                group=first + row // rollout.group_size,
                is_masked=masks and sample.finish_reason == "length",
                version=version,
            )
            for row, (sample, advantage, is_trained) in enumerate(
                zip(rollout.samples, advantages.values.tolist(), advantages.trained, strict=True)
            )
            if counts or (is_trained and not (masks and sample.finish_reason == "length"))
        ]
        return [sample for part in self._ranks.gather_objects(mine) for sample in part]

    def _mini_batches(self, samples: Sequence[TrainedSample]) -> list[list[MicroBatch]]:
        groups = [list(group) for _, group in groupby(samples, key=lambda s: s.group)]
        count = min(self._config.mini_batches, len(groups))
        shares = [
            groups[n * len(groups) // count : (n + 1) * len(groups) // count] for n in range(count)
        ]
        updates = [[sample for group in share for sample in group] for share in shares]
        return [
            self._laid_out(update) for update in updates if not all(s.is_masked for s in update)
        ]

    def _laid_out(self, samples: Sequence[TrainedSample]) -> list[MicroBatch]:
        computed = [sample for sample in samples if not sample.is_masked]
        rows = arrange(
            computed,
            tokens=self._config.micro_batch_tokens,
            ranks=self._ranks.size,
            is_shared=self.engine.module.is_packed,
        )
        places = [(number, s) for number, row in enumerate(rows) for p in row for s in p.samples]
        weights = token_weights(
            self._config.loss.weighting,
            [sample.drawn for _, sample in places],
            [number for number, _ in places],
            self._rollout.max_completion_tokens,
            masked=len(samples) - len(computed),
        )
        ranks = self._ranks
        return micro_batches(rows, weights, ranks.device, ranks.rank, ranks.size)

    def _with_old_logprobs(self, updates: list[list[MicroBatch]]) -> list[list[MicroBatch]]:
        """The updates in order, each epoch the same."""
        if not self._needs_old_logprobs(len(updates)):
            return updates
        known = [
            [replace(b, old_logprobs=score_without_gradient(self.engine, b)) for b in batches]
            for batches in updates
        ]
        return known * self._config.epochs

    def _needs_old_logprobs(self, updates: int) -> bool:
        """The first of the updates learns from the policy as it is; what comes later needs to know
        what that was, and so does a policy under dropout, which is another one."""
        return updates * self._config.epochs > 1 or self._dropout > 0

    @property
    def _dropout(self) -> float:
        return 0.0 if self._lora is None else self._lora.dropout

    def _measured_work(self, updates: Sequence[Sequence[MicroBatch]]) -> dict[str, float]:
        """Metrics of the work that was done in a step; see `Work`."""
        epochs = self._config.epochs
        once = sum(b.input_ids.numel() for batches in updates for b in batches if b.counts)
        old = FORWARD / epochs if self._needs_old_logprobs(len(updates)) else 0.0
        reference = FORWARD if self._config.beta else 0
        adapters = self._lora is not None  # which the reference is without
        return self._stopwatch.end(
            once * epochs,
            TRAINED + old + (0 if adapters else reference),
            self._ranks,
            frozen_passes=FROZEN + old + reference,
        )

    def _move(self, batches: Sequence[MicroBatch]) -> float:
        """One optimizer update; the norm of its gradient before clipping."""
        self.engine.step()
        norm = float(self.engine.get_global_grad_norm())
        if not self.engine.was_step_applied() or not math.isfinite(norm):
            self._refuse_if_broken([name for b in batches for name in b.prompt_ids], "gradient")
        return norm

    def _refuse_if_broken(self, prompts: Sequence[str], what: str) -> None:
        """Raise on every rank if any rank names prompts."""
        names = sorted({n for part in self._ranks.gather_objects(list(prompts)) for n in part})
        if not names:
            return
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        raise UpdateError(
            f"step {self.step}: the {what} is not finite, so the optimizer was not moved; it came "
            f"from samples of prompts {shown}; lower update.lr or look for extreme rewards, then "
            "go on from the last checkpoint with --resume"
        )
