"""The batch and the cases of `metrics_vs_trl`: the same settings in both systems' words."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

PROMPTS, GROUP, LONGEST = 3, 6, 8
NAMES, WEIGHTS = ("right", "style", "brief"), (1.0, 0.5, 2.0)


@dataclass(frozen=True)
class Batch:
    """What both are given."""

    prompts: list[list[int]]  # [N] token ids, siblings adjacent
    completions: list[list[int]]  # [N]
    logprobs: list[list[float]]  # [N] of the engine
    end: int
    """The token that ends a completion; one that lacks it was cut off."""

    @property
    def is_cut_off(self) -> list[bool]:
        return [ids[-1] != self.end for ids in self.completions]


def make_batch(end: int) -> Batch:
    chance = random.Random(5)
    prompts = [[chance.randrange(256) for _ in range(chance.randint(3, 9))] for _ in range(PROMPTS)]
    completions = []
    for row in range(PROMPTS * GROUP):
        if row in (1, 7, 8, 15):
            completions.append([chance.randrange(256) for _ in range(LONGEST)])
        else:
            length = chance.randint(1, LONGEST - 1)
            completions.append([chance.randrange(256) for _ in range(length)] + [end])
    logprobs = [[chance.gauss(-5.6, 0.35) for _ in ids] for ids in completions]
    return Batch([p for p in prompts for _ in range(GROUP)], completions, logprobs, end)


@dataclass(frozen=True)
class Case:
    """Settings of rvpo's update and of TRL's trainer that mean the same."""

    name: str
    update: Mapping[str, Any] = field(default_factory=dict)
    trl: Mapping[str, Any] = field(default_factory=dict)
    advantage: Mapping[str, Any] = field(
        default_factory=lambda: {"name": "grpo", "missing": "zero"}
    )
    scores: str = "full"
    off_policy: bool = True
    """Whether the policy has moved since the samples were scored."""
    steps: int = 1
    apart: Mapping[str, str] = field(default_factory=dict)
    """Why metrics differ on purpose, by patterns of their names."""

    @property
    def is_corrected(self) -> bool:
        return str(self.update.get("correction", "none")) != "none"

    @property
    def columns(self) -> list[list[float | None]]:
        """[3][N] scores."""
        chance = random.Random(11)
        drawn: list[list[float | None]] = [
            [round(chance.random(), 2) for _ in range(PROMPTS * GROUP)] for _ in NAMES
        ]
        for (column, row), score in SCORES[self.scores].items():
            drawn[column][row] = score
        return drawn

    def reason(self, metric: str) -> str | None:
        """Why it differs on purpose; None where it must not."""
        reasons = (why for pattern, why in self.apart.items() if fnmatch(metric, pattern))
        return next(reasons, None)


OTHERS_OF_TRL = {
    *("aux_loss", "entropy_coef", "step_time", "vespo/phi_seq_mean"),
    *("tools/call_frequency", "tools/failure_frequency"),
}
"""Names of TRL that no case, or not every case, makes it log."""


SCORES: dict[str, dict[tuple[int, int], float | None]] = {
    "full": {},
    "missing": {(0, 1): None, (1, 8): None, (2, 8): None, (1, 14): None},
    "unscored": {(column, row): None for column in range(3) for row in (2, 9)},
    "constant": {(column, row): 0.25 for column in range(3) for row in range(6)},
    "constant at .3": {(column, row): 0.3 for column in range(3) for row in range(6)},
    "all constant": {(column, row): 0.25 for column in range(3) for row in range(18)},
}
"""Scores that stand out, by (reward, row)."""

LOSSES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dapo": ({"loss": "dapo"}, {"loss_type": "dapo"}),
    "grpo": ({"loss": "grpo"}, {"loss_type": "grpo"}),
    "bnpo": ({"loss": "bnpo"}, {"loss_type": "bnpo"}),
    "dr_grpo": ({"loss": "dr_grpo"}, {"loss_type": "dr_grpo"}),
    "gspo": (
        {"loss": "gspo", "epsilon": 0.03, "epsilon_high": 0.04},
        {
            "loss_type": "grpo",
            "importance_sampling_level": "sequence",
            "epsilon": 0.03,
            "epsilon_high": 0.04,
        },
    ),
    "cispo": (
        {"loss": "cispo", "epsilon_high": 1.1},
        {"loss_type": "cispo", "epsilon_high": 1.1},
    ),
}


def case(name: str, loss: str = "dapo", **settings: Any) -> Case:
    """A case of a loss with further settings in both systems' words."""
    ours, theirs = LOSSES[loss]
    update = {**ours, **settings.pop("update", {})}
    trl = {**theirs, **settings.pop("trl", {})}
    return Case(f"{loss}: {name}", update, trl, **settings)


def corrected(mode: str, cap: float, floor: float | None = None) -> dict[str, Any]:
    """A correction in both systems' words."""
    ours = {"correction": mode, "correction_cap": cap, "correction_floor": floor or 0.0}
    theirs = {
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": mode,
        "vllm_importance_sampling_clip_max": cap,
        "vllm_importance_sampling_clip_min": floor,
    }
    return {"update": ours, "trl": theirs}


CORRECTIONS = ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")
GDPO: dict[str, Any] = {
    "advantage": {"name": "gdpo"},
    "trl": {"multi_objective_aggregation": "normalize_then_sum"},
}

COUNTED = "`left_out: drop`: the mean is over what is trained; `count` is TRL's"
DROPPED = dict.fromkeys(("loss", "grad_norm", "entropy", "clip_ratio/*", "cispo_*"), COUNTED)
MASKED = dict.fromkeys(
    ("clip_ratio/*_mean", "sampling/importance_*"),
    "of the trained samples; TRL counts a masked one as a ratio of 1",
)
SEVERAL = {
    "grad_norm": "mean over the updates of the step; TRL logs the last one",
    "clip_ratio/*_m??": "extreme of the step; TRL's is the mean of those of its updates",
}
PARTS = dict.fromkeys(
    ("entropy", "clip_ratio/*_mean"), "over all tokens of the step; TRL logs each update's mean"
)
EXACT = dict.fromkeys(
    ("entropy", "clip_ratio/*"), "over the whole update; TRL takes the mean of micro-batches"
)
SIGNS = {"clip_ratio/*": "advantages of a constant group are 0; in TRL rounding gives them a sign"}
MASK: dict[str, Any] = {
    "update": {"mask_truncated": True},
    "trl": {"mask_truncated_completions": True},
}
MASK_COUNTED: dict[str, Any] = {**MASK, "update": {"mask_truncated": True, "left_out": "count"}}
UNSCORED: dict[str, Any] = {"update": {"left_out": "count"}, "scores": "unscored"}

CASES: list[Case] = [
    *(case("on-policy", loss, off_policy=False) for loss in LOSSES),
    *(case("off-policy", loss) for loss in LOSSES),
    *(
        case("KL k3", loss, update={"beta": 0.3}, trl={"beta": 0.3})
        for loss in ("dapo", "grpo", "gspo", "cispo")
    ),
    *(
        case(
            "KL ratio_k3",
            loss,
            update={"beta": 0.3, "kl": "ratio_k3"},
            trl={"beta": 0.3, "use_bias_correction_kl": True},
        )
        for loss in ("dapo", "dr_grpo", "gspo")
    ),
    *(
        case("entropy bonus", loss, update={"entropy_bonus": 0.3}, trl={"entropy_coef": 0.3})
        for loss in LOSSES
    ),
    *(case(f"{mode}, cap 2", "dapo", **corrected(mode, 2.0)) for mode in CORRECTIONS),
    *(case(f"{mode}, .5 to 3", "grpo", **corrected(mode, 3.0, 0.5)) for mode in CORRECTIONS),
    *(case("sequence_mask, cap 3", loss, **corrected("sequence_mask", 3.0)) for loss in LOSSES),
    *(case("truncated masked", loss, **MASK) for loss in ("dapo", "bnpo", "cispo")),
    *(case("truncated masked", loss, apart=DROPPED, **MASK) for loss in ("grpo", "dr_grpo")),
    case("truncated masked", "gspo", apart=MASKED | DROPPED, **MASK),
    *(case("truncated counted", loss, **MASK_COUNTED) for loss in LOSSES if loss != "gspo"),
    case("truncated counted", "gspo", apart=MASKED, **MASK_COUNTED),
    *(case("unscored dropped", loss, scores="unscored", apart=DROPPED) for loss in LOSSES),
    *(case("unscored counted", loss, **UNSCORED) for loss in LOSSES),
    case(
        "unscored counted, KL and entropy bonus",
        update={"left_out": "count", "beta": 0.3, "entropy_bonus": 0.3},
        trl={"beta": 0.3, "entropy_coef": 0.3},
        scores="unscored",
    ),
    case("missing scores", scores="missing"),
    case("a constant group", scores="constant"),
    case("a constant group at .3", scores="constant at .3"),
    case("all groups constant", scores="all constant"),
    case(
        "not scaled",
        advantage={"name": "grpo", "missing": "zero", "scale": "none"},
        trl={"scale_rewards": "none"},
    ),
    case(
        "scaled by the batch",
        advantage={"name": "grpo", "missing": "zero", "scale": "batch"},
        trl={"scale_rewards": "batch"},
    ),
    case("GDPO", **GDPO),
    case("GDPO, missing scores", scores="missing", **GDPO),
    case("GDPO, a constant group", scores="constant", apart=SIGNS, **GDPO),
    case("GDPO, all groups constant", scores="all constant", **GDPO),
    case("clip-higher", update={"epsilon_high": 0.28}, trl={"epsilon_high": 0.28}),
    case("dual clip", update={"dual_clip": 1.3}, trl={"delta": 1.3}),
    case(
        "two epochs",
        "grpo",
        apart=SEVERAL,
        off_policy=False,
        update={"epochs": 2},
        trl={"num_iterations": 2},
    ),
    case(
        "three mini-batches",
        "grpo",
        apart=SEVERAL | PARTS,
        off_policy=False,
        update={"mini_batches": 3},
        trl={"steps_per_generation": 3},
    ),
    case("three micro-batches", "grpo", apart=EXACT, trl={"gradient_accumulation_steps": 3}),
    case(
        "four steps, linear",
        "dapo",
        off_policy=False,
        steps=4,
        update={"schedule": "linear"},
        trl={"lr_scheduler_type": "linear"},
    ),
    case(
        "sequence_truncate, truncated masked",
        apart=MASKED,
        update={**corrected("sequence_truncate", 2.0)["update"], **MASK["update"]},
        trl={**corrected("sequence_truncate", 2.0)["trl"], **MASK["trl"]},
    ),
    *(
        case(
            f"KL {name}: its k3 is `kl`",
            update={"beta": 0.3, "kl": name},
            trl={"beta": 0.3},
            apart=dict.fromkeys(("loss", "grad_norm"), f"{name} is minimised, which TRL has not"),
        )
        for name in ("k1", "k2")
    ),
]
