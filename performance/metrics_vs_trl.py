"""Every metric of a step that carries a name of TRL's beside TRL's own number on the same batch.

    python -m performance.metrics_vs_trl

TRL's GRPOTrainer trains, unmodified but for what would differ by chance: its completions and their
log-probabilities are given, the policy of before the step is given where a case is off-policy, and
micro-batches keep the order of the prompts. rvpo computes rewards' metrics, advantages and the
update from the same numbers. A random Llama in fp32, 3 prompts of 6 completions, 4 of them cut off,
three rewards of weights 1, .5 and 2; in one process on the CPU.

Needs TRL beside rvpo: pip install --no-deps trl==1.16.0. Prints a table of the metrics, one of what
differs on purpose, and one of the names that only one of both has. A difference that is in neither
ends it with exit code 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from performance.metrics_cases import (
    CASES,
    GROUP,
    LONGEST,
    NAMES,
    OTHERS_OF_TRL,
    PROMPTS,
    WEIGHTS,
    Batch,
    Case,
    make_batch,
)
from performance.published import add_save_option, publish

VERSION = "1.16.0"
TEMPERATURE, RATE = 0.7, 1e-3
ROWS = 2 * PROMPTS
"""Prompts of the data set."""
WEIGHTS_FILE = "model.safetensors"
TOLERANCE = 2e-5
"""Of the larger of a value and 0.1: the rounding of fp32 over a model."""

Metrics = dict[str, float]


@dataclass(frozen=True)
class Models:
    """Folders of the policy, of what it was before the step, and of the reference."""

    policy: Path
    old: Path
    reference: Path


def make_models(folder: Path) -> Models:
    """Three models that are close to each other."""
    import torch
    from transformers import AutoModelForCausalLM

    from tests.tiny import save_tiny_model

    reference = save_tiny_model(folder / "reference")
    made = {}
    for seed, name in enumerate(("old", "policy")):
        model = AutoModelForCausalLM.from_pretrained(reference, dtype=torch.float32)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.012 * torch.randn(weight.shape, generator=generator)
        model.save_pretrained(folder / name)
        made[name] = folder / name
    return Models(made["policy"], made["old"], reference)


# --- TRL ------------------------------------------------------------------------------------------


def of_trl(case: Case, batch: Batch, models: Models, folder: Path) -> list[Metrics]:
    """What TRL logs, once a step of ours."""
    import torch
    from datasets import Dataset
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig

    tokenizer = AutoTokenizer.from_pretrained(models.reference)
    tokenizer.pad_token = tokenizer.eos_token
    # It takes the reference from where the policy came from.
    model = AutoModelForCausalLM.from_pretrained(models.reference, dtype=torch.float32)
    trainer = trainer_class(case, batch, load_file(models.old / WEIGHTS_FILE))(
        model=model,
        processing_class=tokenizer,
        reward_funcs=[given(*named) for named in zip(NAMES, case.columns, strict=True)],
        train_dataset=Dataset.from_list([{"prompt": str(n)} for n in range(ROWS)]),
        args=GRPOConfig(output_dir=str(folder), **settings_of_trl(case)),
    )
    model.load_state_dict(load_file(models.policy / WEIGHTS_FILE), strict=False)
    trainer.use_vllm = case.is_corrected
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def trainer_class(case: Case, batch: Batch, old: dict[str, Any]) -> Any:
    """GRPOTrainer that is given its completions and, off-policy, the policy of before."""
    import torch
    from trl import import_utils

    import_utils.is_vllm_available = lambda *_, **__: False  # slow to import, and not needed
    import trl.trainer.grpo_trainer as module

    module.shuffle_sequence_dict = lambda rows: rows

    class Given(module.GRPOTrainer):  # type: ignore[misc]
        def _tokenize_prompts(self, *_: Any) -> Any:
            return batch.prompts, None, {}

        def _generate_single_turn(self, *_: Any, **__: Any) -> Any:
            return batch.completions, batch.logprobs

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            own = self.num_iterations
            # It scores samples before the update where they are used for several.
            self.num_iterations = own + 1 if case.off_policy else own
            try:
                return super()._generate_and_score_completions(inputs)
            finally:
                self.num_iterations = own

        def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
            if not case.off_policy or model is not self.model or torch.is_grad_enabled():
                return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
            with weights_of(model, old):
                return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)

    return Given


def settings_of_trl(case: Case) -> dict[str, Any]:
    accumulation = case.trl.get("gradient_accumulation_steps", 1)
    parts = case.trl.get("steps_per_generation", accumulation)
    updates = parts // accumulation * case.trl.get("num_iterations", 1)
    return {
        "max_steps": case.steps * updates,
        "logging_steps": updates,
        "per_device_train_batch_size": PROMPTS * GROUP // parts,
        "num_generations": GROUP,
        "max_completion_length": LONGEST,
        "temperature": TEMPERATURE,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "use_bias_correction_kl": False,
        "reward_weights": list(WEIGHTS),
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "shuffle_dataset": False,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        **case.trl,
    }


@contextmanager
def weights_of(model: Any, weights: dict[str, Any]) -> Iterator[None]:
    """The model as if it had these."""
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(weights, strict=False)
    try:
        yield
    finally:
        model.load_state_dict(own)


def given(name: str, column: Sequence[float | None]) -> Any:
    """A reward function that knows its scores."""

    def reward(**_: Any) -> list[float | None]:
        return list(column)

    reward.__name__ = name
    return reward


# --- rvpo -----------------------------------------------------------------------------------------


def of_rvpo(case: Case, batch: Batch, models: Models) -> list[Metrics]:
    """What a run of rvpo reports, a step each."""
    from pydantic import TypeAdapter

    from rvpo.advantage import Estimator
    from rvpo.data.order import PromptStream
    from rvpo.runtime.ranks import Ranks
    from rvpo.trainer.metrics import step_metrics
    from rvpo.types import Prompt, RolloutScores
    from tests.configs import tiny_config

    config = tiny_config(
        models.policy,
        steps=case.steps,
        update={"lr": RATE, "correction": "none", "micro_batch_tokens": 4096, **case.update},
        rollout={
            "temperature": TEMPERATURE,
            "max_completion_tokens": LONGEST,
            "prompts_per_step": PROMPTS,
            "samples_per_prompt": GROUP,
        },
    )
    rollout, rewards = make_rollout(batch), make_rewards(case)
    advantages = TypeAdapter(Estimator).validate_python(case.advantage)(rewards)
    scored = RolloutScores(rewards=rewards, aspects=rewards.columns)
    stream = PromptStream([Prompt(id=str(n), messages=()) for n in range(ROWS)], PROMPTS, seed=0)
    ranks = Ranks.join()
    policy = policy_class(case, models)(config, str(models.policy), ranks)
    return [
        step_metrics(step, rollout, scored, advantages, ranks)
        | policy.update(rollout, advantages)
        | {"epoch": stream.epochs(step + 1)}
        for step in range(case.steps)
    ]


def policy_class(case: Case, models: Models) -> Any:
    """ZeroPolicy with another reference and, off-policy, the policy of before."""
    from rvpo.trainer.scorer import score_without_gradient
    from rvpo.trainer.zero_policy import ZeroPolicy

    class Given(ZeroPolicy):
        def _scorer(self, config: Any, model_path: str, *, trainable: bool) -> Any:
            self.run = config
            path = model_path if trainable else str(models.reference)
            return super()._scorer(config, path, trainable=trainable)

        def _with_old_logprobs(self, updates: Any) -> Any:
            if not case.off_policy:
                return super()._with_old_logprobs(updates)
            old = super()._scorer(self.run, str(models.old), trainable=False)
            old.module.choose(self.engine.module.is_packed)
            return [
                [replace(b, old_logprobs=score_without_gradient(old, b)) for b in batches]
                for batches in updates
            ]

    return Given


def make_rollout(batch: Batch) -> Any:
    from rvpo.types import Prompt, Rollout, Sample

    rows = zip(batch.prompts, batch.completions, batch.logprobs, batch.is_cut_off, strict=True)
    samples = tuple(
        Sample(
            prompt=Prompt(id=str(n // GROUP), messages=()),
            prompt_ids=tuple(prompt),
            completion_ids=tuple(completion),
            logprobs=tuple(logprobs),
            text="",
            finish_reason="length" if cut_off else "stop",
            policy_version=0,
        )
        for n, (prompt, completion, logprobs, cut_off) in enumerate(rows)
    )
    return Rollout(samples=samples, group_size=GROUP)


def make_rewards(case: Case) -> Any:
    import torch

    from rvpo.types import Rewards

    scores = list(zip(*case.columns, strict=True))
    return Rewards(
        torch.tensor([[0.0 if x is None else x for x in row] for row in scores]),
        list(NAMES),
        GROUP,
        weights=torch.tensor(WEIGHTS),
        valid=torch.tensor([[x is not None for x in row] for row in scores]),
    )


# --- beside each other ----------------------------------------------------------------------------


@dataclass
class Row:
    """What is known of a metric after some cases."""

    cases: int = 0
    largest: float = 0.0
    failed: list[str] = field(default_factory=list)


@dataclass
class Comparison:
    """Every metric of both, over the cases so far."""

    rows: dict[str, Row] = field(default_factory=dict)
    apart: list[str] = field(default_factory=list)
    """Lines of the table of what differs on purpose."""
    ours: set[str] = field(default_factory=set)
    theirs: set[str] = field(default_factory=set)

    def add(self, case: Case, ours: Metrics, theirs: Metrics) -> None:
        self.ours |= ours.keys()
        self.theirs |= theirs.keys()
        for name in sorted(ours.keys() & theirs.keys()):
            distance = difference(ours[name], theirs[name])
            reason = case.reason(name)
            if reason is not None:
                if distance > TOLERANCE:
                    values = f"{theirs[name]:.5g} | {ours[name]:.5g}"
                    self.apart.append(f"| `{name}` | {case.name} | {values} | {reason} |")
                continue
            row = self.rows.setdefault(name, Row())
            row.cases += 1
            row.largest = max(row.largest, distance)
            if distance > TOLERANCE:
                row.failed.append(case.name)

    @property
    def is_equal(self) -> bool:
        own = self.ours - self.theirs
        return not any(row.failed for row in self.rows.values()) and not own & OTHERS_OF_TRL

    def __str__(self) -> str:
        lines = ["| metric | cases | largest difference | verdict |", "| --- | --- | --- | --- |"]
        for name, row in sorted(self.rows.items()):
            verdict = f"differs: {'; '.join(row.failed)}" if row.failed else "equal"
            lines.append(f"| `{name}` | {row.cases} | {row.largest:.1g} | {verdict} |")
        lines += ["", "On purpose not the same:", ""]
        lines += ["| metric | case | TRL | rvpo | why |", "| --- | --- | --- | --- | --- |"]
        lines += self.apart
        own = {name.replace(r, "{reward}") for name in self.ours - self.theirs for r in NAMES}
        own = {name for name in own if not any(r in name.split("/") for r in NAMES)}
        lines += ["", "Names that TRL does not have: " + listed(own) + "."]
        lines += [
            "",
            "Names of TRL that rvpo does not use: " + listed(self.theirs - self.ours) + ".",
        ]
        return "\n".join(lines)


def listed(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


def difference(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / max(abs(theirs), 0.1)


def require_trl() -> None:
    """Raise if TRL is not there, or is another."""
    try:
        found = version("trl")
    except PackageNotFoundError:
        found = None
    if found != VERSION:
        raise SystemExit(
            f"performance.metrics_vs_trl: compares with TRL {VERSION}, and {found or 'none'} is "
            f"installed; pip install --no-deps trl=={VERSION}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    add_save_option(parser)
    options = parser.parse_args()
    require_trl()
    chosen = [case for case in CASES if options.only in case.name]
    comparison = Comparison()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = make_models(folder)
        from transformers import AutoTokenizer

        batch = make_batch(AutoTokenizer.from_pretrained(models.reference).eos_token_id)
        for case in chosen:
            theirs = of_trl(case, batch, models, folder / "trl")
            ours = of_rvpo(case, batch, models)
            for mine, other in zip(ours, theirs, strict=True):
                comparison.add(case, mine, {k: v for k, v in other.items() if k != "step"})
            print(case.name, file=sys.stderr)
    publish("metrics_vs_trl.md", f"{comparison}\n\n{len(chosen)} cases.", options)
    return 0 if comparison.is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
