"""A checkpoint goes on with any number of ranks."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rvpo.errors import CheckpointError
from rvpo.runtime.environment import rank_environment
from rvpo.runtime.port import free_port
from rvpo.runtime.random_state import random_state
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.checkpoint import Checkpoints
from rvpo.trainer.optimizers import AdamW
from rvpo.trainer.shards import Shards, Sizes, piece
from rvpo.trainer.zero_policy import ZeroPolicy
from rvpo.types import Rollout
from tests.commands.forked import run_program
from tests.configs import tiny_config
from tests.fakes import timeless
from tests.gradients import accumulate
from tests.trainer.test_update import (
    TEMPERATURE,
    make_advantages,
    make_rollout,
    relative_difference,
)

KINDS = ("fp32", "exp_avg", "exp_avg_sq")


def grouped(sizes: Sequence[int], ends: Sequence[int]) -> list[Sizes]:
    """Weights in sub-groups, none of them empty."""
    cuts = sorted({0, len(sizes), *(end % len(sizes) for end in ends)})
    return [{f"w{n}": sizes[n] for n in range(first, last)} for first, last in pairwise(cuts)]


def whole(name: str, kind: str, size: int) -> torch.Tensor:
    """Numbers that are in no other weight."""
    return torch.arange(size) + 100.0 * int(name[1:]) + 10_000.0 * KINDS.index(kind)


def own(name: str, kind: str, size: int, rank: int, ranks: int) -> torch.Tensor:
    """A rank's piece of a weight as ZeRO-3 cuts it."""
    each = piece(size, ranks)
    padded = torch.nn.functional.pad(whole(name, kind, size), (0, each * ranks - size))
    return padded[rank * each : (rank + 1) * each]


def flat(sizes: Sizes, kind: str, rank: int, ranks: int) -> torch.Tensor:
    return torch.cat([own(name, kind, size, rank, ranks) for name, size in sizes.items()])


def save(folder: Path, groups: Sequence[Sizes], ranks: int, *, moved: bool = True) -> None:
    """The files of a checkpoint; before its first update an optimizer has no moments."""
    shapes = [{name: (size,) for name, size in sizes.items()} for sizes in groups]
    for rank in range(ranks):
        model = {"dp_world_size": ranks, "param_shapes": shapes}
        torch.save(model, folder / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
        state = {
            n: {k: flat(sizes, k, rank, ranks) for k in KINDS[1:]} | {"step": torch.tensor(3.0)}
            for n, sizes in enumerate(groups)
        }
        weights = [flat(sizes, "fp32", rank, ranks) for sizes in groups]
        inner = {
            "fp32_flat_groups": weights,
            "optimizer_state_dict": {"state": state if moved else {}},
        }
        path = folder / f"bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        torch.save({"optimizer_state_dict": inner}, path)


@given(
    sizes=st.lists(st.integers(1, 23), min_size=1, max_size=6),
    before=st.integers(1, 7),
    after=st.integers(1, 7),
    ends=st.tuples(*[st.lists(st.integers(0, 5), max_size=3)] * 2),
)
def test_every_number_finds_its_place_in_the_new_shards(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    before: int,
    after: int,
    ends: tuple[list[int], list[int]],
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    save(folder, grouped(sizes, ends[0]), before)
    shards, wanted = Shards(folder, AdamW()), grouped(sizes, ends[1])
    assert shards.ranks == before
    for rank in range(after):
        for group, made in zip(wanted, shards.groups(wanted, rank, after), strict=True):
            assert made.keys() == {*KINDS, "step"}
            assert made["step"] == 3
            for kind in KINDS:
                assert torch.equal(made[kind], flat(group, kind, rank, after))


def test_a_checkpoint_from_before_the_first_update_has_weights_alone(tmp_path: Path) -> None:
    save(tmp_path, [{"w0": 5}], 2, moved=False)
    (made,) = Shards(tmp_path, AdamW()).groups([{"w0": 5}], 0, 1)
    assert made.keys() == {"fp32"}


@pytest.mark.parametrize("wanted", [{"w0": 6}, {"w0": 5, "w1": 1}, {"w1": 5}, {}])
def test_other_weights_than_were_saved_are_refused(tmp_path: Path, wanted: Sizes) -> None:
    save(tmp_path, [{"w0": 5}], 2)
    with pytest.raises(CheckpointError, match="holds other weights than this run trains"):
        Shards(tmp_path, AdamW()).groups([wanted], 0, 1)


STEPS = 4


@dataclass(frozen=True)
class Case:
    """A run, or the rest of one that another number of ranks began."""

    ranks: int
    before: int = 0
    """Ranks that wrote the checkpoint; 0 for a run from its start."""
    step: int = 0
    """Updates done before."""
    offloads: bool = False
    lora: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.ranks}-after-{self.before}"

    @property
    def kind(self) -> str:
        return "lora" if self.lora else "full"


LORA = {"rank": 4, "alpha": 8}
UNBROKEN = Case(2)
ADAPTERS = Case(2, lora=True)
CASES = {
    "fp32": (
        *(UNBROKEN, Case(1, 2, 2), Case(4, 2, 2), Case(2, 1, 3, offloads=True)),
        *(ADAPTERS, Case(1, 2, 2, lora=True)),
    ),
    "bf16": (UNBROKEN, Case(1, 2, 2)),
}
"""By precision; each after those whose checkpoints it needs."""


@pytest.mark.slow
@pytest.mark.parametrize("precision", CASES)
def test_a_run_goes_on_with_more_and_with_fewer_ranks(
    tiny_model: Path, tmp_path: Path, precision: str
) -> None:
    run_program(__name__, str(tiny_model), str(tmp_path), precision)
    unbroken = {
        case.kind: results_of(tmp_path, case)
        for case in (UNBROKEN, ADAPTERS)
        if case in CASES[precision]
    }
    close = 1e-5 if precision == "fp32" else 2e-2  # two neighbours in bf16 may be 1/128 apart
    for case in CASES[precision]:
        metrics, weights = unbroken[case.kind]
        rows, found = results_of(tmp_path, case)
        assert len(rows) == STEPS - case.step
        for row, expected in zip(rows, metrics[case.step :], strict=True):
            print(f"{case.name}: loss {row['loss']:.9f}, unbroken {expected['loss']:.9f}")
            assert row == pytest.approx(expected, rel=close, abs=close)
        assert relative_difference(found, weights) < close


def results_of(folder: Path, case: Case) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    rows = json.loads((folder / f"{case.name}.json").read_text())
    return rows, load_file(folder / f"{case.name}.safetensors")


def go_on(model: Path, folder: Path, precision: str, case: Case, ranks: Ranks) -> None:
    """A rank's part: what is left of the steps, with a checkpoint after each."""
    config = tiny_config(
        model,
        update={"lr": 1e-3, "weight_decay": 0.1, "offload_optimizer": case.offloads},
        model={"path": str(model), "precision": precision, "lora": LORA if case.lora else None},
        rollout={"temperature": TEMPERATURE} if case.lora else {},
    )
    said: list[str] = []
    policy = ZeroPolicy(config, str(model), ranks, said.append)
    said.clear()  # of how it updates
    if case.before:
        (source,) = folder.glob(f"{case.kind}-{case.before}-after-*/step-{case.step:06d}")
        policy.load(source)
        assert said == [
            f"{source} was written by {case.before} ranks and is shared out anew among "
            f"{case.ranks}: from here on samples are drawn with other seeds"
        ]
        drawn = ranks.gather_objects(tuple(random_state()["torch"].tolist()))
        assert len(set(drawn)) == case.ranks
    assert policy.step == case.step
    checkpoints = Checkpoints(folder / case.name, every=1, keep=STEPS, ranks=ranks)
    checkpoints.check_space(policy)
    rows = []
    for step in range(case.step, STEPS):
        rollout = make_rollout(step, prompts=4, group=4)
        mine = Rollout(samples=rollout.samples[ranks.share(16)], group_size=4)
        rows.append(timeless(policy.update(mine, ranks.shard(make_advantages(rollout)))))
        checkpoints.after(step + 1, policy, last=False)
    names = {name for name, _ in policy.model.named_parameters()}  # tied ones once
    weights = {n: weight for n, weight in policy.weights() if n in names or case.lora}
    sums = ranks.gather_objects([float(weight.double().sum()) for weight in weights.values()])
    assert all(each == sums[0] for each in sums)
    if case.lora:
        check_gradients(policy, model, weights, ranks)
    if ranks.is_main:
        save_file(weights, folder / f"{case.name}.safetensors")
        (folder / f"{case.name}.json").write_text(json.dumps(rows))
    ranks.wait()
    ranks.leave()


def check_gradients(
    policy: ZeroPolicy, model: Path, adapters: dict[str, torch.Tensor], ranks: Ranks
) -> None:
    """Those of the rollouts of all ranks, beside a plain loop on PEFT's own model."""
    from tests.trainer.test_lora import adapter_gradients, plain_adapter_gradients

    rollout = make_rollout(STEPS)
    advantages = make_advantages(rollout)
    mine = Rollout(samples=rollout.samples[ranks.share(16)], group_size=8)
    accumulate(policy, mine, ranks.shard(advantages), ranks)
    found = adapter_gradients(policy)
    if ranks.is_main:
        expected = plain_adapter_gradients(model, adapters, rollout, advantages)
        assert relative_difference(found, expected) < 1e-5


def as_rank(model: Path, folder: Path, precision: str, case: Case, rank: int, port: int) -> None:
    os.environ |= rank_environment(rank, case.ranks, port)
    go_on(model, folder, precision, case, Ranks.join())


def as_ranks(model: Path, folder: Path, precision: str) -> None:
    """All cases one after another, each with ranks forked off here: to import takes longest."""
    fork = multiprocessing.get_context("fork")
    for case in CASES[precision]:
        port = free_port()
        ranks = [
            fork.Process(target=as_rank, args=(model, folder, precision, case, rank, port))
            for rank in range(case.ranks)
        ]
        for each in ranks:
            each.start()
        for each in ranks:
            each.join()
        if any(each.exitcode for each in ranks):
            sys.exit(f"{case.name} failed")


if __name__ == "__main__":
    as_ranks(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
