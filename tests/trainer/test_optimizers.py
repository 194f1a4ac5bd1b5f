"""Every optimizer moves the flat partitions of ZeRO-3, and is gone on with from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rvpo.config.update import UpdateConfig
from rvpo.errors import ConfigError
from rvpo.runtime.extras import installed
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.moments import allocate_moments
from rvpo.trainer.optimizers import OPTIMIZERS, AdamW, AdamW8bit, CPUAdam, Optimizer
from rvpo.trainer.optimizers.check import check_optimizer, prepare_optimizer
from rvpo.trainer.optimizers.optimizer import WEIGHTS
from rvpo.trainer.shards import Shards
from rvpo.trainer.zero_policy import ZeroPolicy
from tests.configs import tiny_config
from tests.fakes import timeless
from tests.trainer.test_update import make_advantages, make_policy, make_rollout

BLOCK = 256
needs_bits = pytest.mark.skipif(not installed("bitsandbytes"), reason="needs bitsandbytes")
ROLLOUT = make_rollout()


def test_the_settings_offer_exactly_the_optimizers_that_there_are() -> None:
    assert get_args(UpdateConfig.model_fields["optimizer"].annotation) == tuple(OPTIMIZERS)
    assert UpdateConfig().optimizer == "adamw"


def flat(kind: Optimizer, weights: Tensor, **settings: Any) -> tuple[Tensor, torch.optim.Optimizer]:
    """A partition with its state, as ZeRO-3 has it: in no group but while it moves."""
    partition = weights.clone().requires_grad_()
    update = UpdateConfig(**settings)
    optimizer = kind.build([{"params": [partition], "weight_decay": update.weight_decay}], update)
    optimizer.param_groups[0]["params"] = []
    zero = SimpleNamespace(
        optimizer=optimizer,
        fp32_partitioned_groups_flat=[partition],
        sub_group_to_group_id={0: 0},
    )
    allocate_moments(zero, kind)
    return partition, optimizer


def move(partition: Tensor, optimizer: torch.optim.Optimizer, gradient: Tensor) -> None:
    optimizer.param_groups[0]["params"] = [partition]
    partition.grad = gradient
    optimizer.step()
    optimizer.param_groups[0]["params"] = []


class Reference:
    """AdamW by its equations, with moments that are rounded after each step as bitsandbytes
    rounds: on a CPU to a number of the table close by, which need not be the nearest."""

    def __init__(self, weights: Tensor, tables: tuple[Tensor, Tensor], update: UpdateConfig):
        self.weights = weights.double()
        self.moments = [torch.zeros_like(self.weights) for _ in tables]
        self.tables = tables
        self.update = update
        self.steps = 0

    def move(self, gradient: Tensor) -> None:
        u, g = self.update, gradient.double()
        self.steps += 1
        first, second = (
            beta * moment + (1 - beta) * value
            for beta, moment, value in zip(u.betas, self.moments, (g, g * g), strict=True)
        )
        self.weights *= 1 - u.lr * u.weight_decay
        one, two = (1 - beta**self.steps for beta in u.betas)
        self.weights -= u.lr * (first / one) / ((second / two).sqrt() + 1e-8)
        self.moments = [
            self.rounded(moment.float(), table).double()
            for moment, table in zip((first, second), self.tables, strict=True)
        ]

    @staticmethod
    def rounded(moment: Tensor, table: Tensor) -> Tensor:
        from bitsandbytes.functional import dequantize_blockwise, quantize_blockwise

        rounded, state = quantize_blockwise(moment, code=table, blocksize=BLOCK)
        found: Tensor = dequantize_blockwise(rounded, state)
        return found


@needs_bits
@given(
    size=st.sampled_from([4096, 4097, 5000]),
    seed=st.integers(0, 2**31),
    decay=st.sampled_from([0.0, 0.1]),
    betas=st.sampled_from([(0.9, 0.999), (0.8, 0.95)]),
)
def test_an_8_bit_step_is_adamws_with_moments_rounded_in_blocks(
    size: int, seed: int, decay: float, betas: tuple[float, float]
) -> None:
    random = torch.Generator().manual_seed(seed)
    weights = torch.randn(size, generator=random)
    update = UpdateConfig(lr=1e-2, weight_decay=decay, betas=betas)
    partition, optimizer = flat(
        AdamW8bit(), weights, lr=1e-2, weight_decay=decay, betas=list(betas)
    )
    state = optimizer.state[partition]
    assert state["state1"].dtype == state["state2"].dtype == torch.uint8
    reference = Reference(weights, (state["qmap1"], state["qmap2"]), update)
    exact, exactly = flat(AdamW(), weights, lr=1e-2, weight_decay=decay, betas=list(betas))
    scale = torch.randn(size, generator=random).exp()
    for _ in range(3):
        gradient = torch.randn(size, generator=random) * scale
        move(partition, optimizer, gradient)
        move(exact, exactly, gradient)
        reference.move(gradient)
    moved = partition.detach().double() - weights
    expected = reference.weights - weights.double()
    off = float((moved - expected).norm() / expected.norm())
    rounding = float((moved - (exact.detach() - weights)).norm() / moved.norm())
    print(f"against the reference {off:.1e}, against AdamW in fp32 {rounding:.3f}")
    assert off < 2e-3  # a number between two of the table may go to either
    assert rounding < 0.1


@needs_bits
def test_a_moment_of_8_bits_takes_a_quarter_of_one_in_fp32(tiny_model: Path, ranks: Ranks) -> None:
    policy = make_policy(tiny_model, ranks, optimizer="adamw_8bit")
    zero = policy.engine.optimizer
    parameters = sum(p.ds_numel for p in policy.model.parameters())
    kept = sum(
        value.nbytes
        for state in zero.optimizer.state.values()
        for name, value in state.items()
        if name.startswith(("state", "absmax"))
    )
    assert kept == pytest.approx(AdamW8bit.moment_bytes * parameters, rel=1e-3)
    assert kept < AdamW.moment_bytes * parameters / 3.9


def learn(policy: ZeroPolicy, updates: int) -> list[dict[str, float]]:
    return [timeless(policy.update(ROLLOUT, make_advantages(ROLLOUT))) for _ in range(updates)]


def everything(policy: ZeroPolicy) -> dict[str, Tensor]:
    zero = policy.engine.optimizer
    found = {}
    for number, master in enumerate(zero.fp32_partitioned_groups_flat):
        found[f"{number} master"] = master
        for name, value in zero.optimizer.state[master].items():
            found[f"{number} {name}"] = torch.as_tensor(value)
    return found


@needs_bits
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("offloads", [False, True])
def test_a_run_of_8_bits_goes_on_to_the_bit(
    tiny_model: Path, tmp_path: Path, ranks: Ranks, precision: str, offloads: bool
) -> None:
    config = tiny_config(
        tiny_model,
        model={"precision": precision},
        update={"optimizer": "adamw_8bit", "lr": 1e-2, "weight_decay": 0.1},
    )
    first, second = (
        ZeroPolicy(config, str(tiny_model), ranks, offloads=offloads) for _ in range(2)
    )
    before = everything(first)
    assert any(t.dtype == torch.uint8 for t in before.values())
    learn(first, 2)
    first.save(tmp_path)
    second.load(tmp_path)
    assert learn(first, 1) == learn(second, 1)
    one, other = everything(first), everything(second)
    assert one.keys() == other.keys() == before.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def saved_state(partition: Tensor, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """As a checkpoint has it."""
    optimizer.param_groups[0]["params"] = [partition]
    state: dict[str, Any] = optimizer.state_dict()
    optimizer.param_groups[0]["params"] = []
    return state


def save(folder: Path, kind: Optimizer, wholes: Mapping[str, Tensor], ranks: int) -> None:
    """The files of a checkpoint of ranks whose state is that of three random updates."""
    for rank in range(ranks):
        shapes = [{name: tuple(whole.shape) for name, whole in wholes.items()}]
        model = {"dp_world_size": ranks, "param_shapes": shapes}
        torch.save(model, folder / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
        weights = torch.cat([pieces(whole, ranks)[rank] for whole in wholes.values()])
        partition, optimizer = flat(kind, weights, lr=1e-2)
        for step in range(3):
            # Of the weights, so that the moments of a place do not depend on the ranks.
            move(partition, optimizer, torch.sin(weights * (step + 1)))
        inner = {
            "fp32_flat_groups": [partition.detach()],
            "optimizer_state_dict": saved_state(partition, optimizer),
        }
        name = f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt"
        torch.save({"optimizer_state_dict": inner}, folder / name)


def pieces(whole: Tensor, ranks: int) -> tuple[Tensor, ...]:
    each = -(-len(whole) // ranks)
    return torch.nn.functional.pad(whole, (0, each * ranks - len(whole))).split(each)


@needs_bits
@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 1), (1, 3), (3, 2)])
def test_moments_of_8_bits_are_quantised_anew_for_another_number_of_ranks(
    tmp_path: Path, before: int, after: int
) -> None:
    wholes = {"a": torch.linspace(-3, 3, 20_001), "b": torch.linspace(0, 9, 7), "c": torch.ones(1)}
    kind = AdamW8bit()
    (tmp_path / "8").mkdir()
    (tmp_path / "32").mkdir()
    save(tmp_path / "8", kind, wholes, before)
    save(tmp_path / "32", AdamW(), wholes, after)
    shards, exact = Shards(tmp_path / "8", kind), Shards(tmp_path / "32", AdamW())
    sizes = [{name: len(whole) for name, whole in wholes.items()}]
    for rank in range(after):
        (made,) = shards.groups(sizes, rank, after)
        (expected,) = exact.groups(sizes, rank, after)
        assert made["step"] == 3 if "step" in made else before == after
        found = kind.cut(made, slice(None))
        for name, plain in (("state1", "exp_avg"), ("state2", "exp_avg_sq")):
            scale = float(expected[plain].abs().max())
            torch.testing.assert_close(found[name], expected[plain], atol=0.02 * scale, rtol=0)
        partition, optimizer = flat(kind, made[WEIGHTS], lr=1e-2)
        state = saved_state(partition, optimizer)
        rest = {name: value for name, value in made.items() if name != WEIGHTS}
        optimizer.param_groups[0]["params"] = [partition]
        optimizer.load_state_dict(state | {"state": {0: rest}})
        move(partition, optimizer, torch.ones_like(partition))
        assert optimizer.state[partition]["step"] == 4


@needs_bits
@given(
    size=st.integers(1, 9000), ends=st.tuples(st.floats(0, 1), st.floats(0, 1)), seed=st.integers(0)
)
def test_any_part_of_a_moment_of_8_bits_is_what_bitsandbytes_computes_with(
    size: int, ends: tuple[float, float], seed: int
) -> None:
    from bitsandbytes.functional import dequantize_blockwise

    torch.manual_seed(seed % 2**31)
    partition, optimizer = flat(AdamW8bit(), torch.randn(size), lr=1e-2)
    move(partition, optimizer, torch.randn(size))
    state = {WEIGHTS: partition.detach(), **optimizer.state[partition]}
    first, last = sorted(int(end * size) for end in ends)
    parts = AdamW8bit().cut(state, slice(first, last))
    assert torch.equal(parts[WEIGHTS], partition.detach()[first:last])
    for n in ("1", "2"):
        whole = state[f"state{n}"]
        if whole.dtype == torch.uint8:
            absmax, code = state[f"absmax{n}"], state[f"qmap{n}"]
            whole = dequantize_blockwise(whole, absmax=absmax, code=code, blocksize=BLOCK)
        assert torch.equal(parts[f"state{n}"], whole[first:last])


def test_usual_optimizers_lack_nothing_here() -> None:
    check_optimizer(UpdateConfig())
    check_optimizer(UpdateConfig(offload_optimizer=True))


def test_what_cannot_be_compiled_is_refused_with_what_needs_no_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise RuntimeError("Error building extension 'cpu_adam': [1/2]\ng++: not found")

    kind = CPUAdam(build=fail, find=lambda name: None if name == "ninja" else name)
    assert "no ninja; write: sudo apt-get install -y g++ ninja-build, or" in str(kind.lack())
    said: list[str] = []
    with pytest.raises(ConfigError, match=r"\[1/2\]\); write update\.optimizer=adamw") as caught:
        kind.prepare(said.append)
    assert "\n" not in str(caught.value)
    assert len(said) == 1


def test_usual_optimizers_need_no_preparation(ranks: Ranks) -> None:
    said: list[str] = []
    for name in ("adamw", "adamw_8bit"):
        prepare_optimizer(UpdateConfig(optimizer=name), ranks, said.append)
    assert not said
