"""The optimizer's state is there from the start, leaves the device between updates, and is never
another for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.offload import Offload
from rvpo.trainer.zero_policy import ZeroPolicy
from tests.configs import tiny_config
from tests.trainer.test_update import make_advantages, make_rollout

ROLLOUT = make_rollout()
PRECISIONS = ("fp32", "bf16")


def make_policy(model: Path, ranks: Ranks, precision: str, *, offloads: bool) -> ZeroPolicy:
    """Two groups of parameters, those that decay and those that do not."""
    update = {"lr": 1e-2, "weight_decay": 0.1}
    config = tiny_config(model, model={"precision": precision}, update=update)
    return ZeroPolicy(config, str(model), ranks, offloads=offloads)


def learn(policy: ZeroPolicy, updates: int) -> list[dict[str, float]]:
    return [policy.update(ROLLOUT, make_advantages(ROLLOUT)) for _ in range(updates)]


def weights(policy: ZeroPolicy) -> dict[str, Tensor]:
    return dict(policy.weights())


def same(one: ZeroPolicy, other: ZeroPolicy) -> bool:
    first, second = weights(one), weights(other)
    states = [dict(_states(each)) for each in (one, other)]
    return all(
        a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
        for a, b in ((first, second), (states[0], states[1]))
    )


def _states(policy: ZeroPolicy) -> Iterator[tuple[str, Tensor]]:
    """Master weights and all that AdamW knows of them."""
    zero = policy.engine.optimizer
    for number, master in enumerate(zero.fp32_partitioned_groups_flat):
        yield f"{number} master", master
        for name, tensor in zero.optimizer.state[master].items():
            yield f"{number} {name}", tensor


def precision_of(policy: ZeroPolicy) -> str:
    return "bf16" if policy.model.dtype == torch.bfloat16 else "fp32"


def stored(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", params=PRECISIONS)
def pair(
    request: pytest.FixtureRequest, tiny_model: Path, ranks: Ranks
) -> tuple[ZeroPolicy, ZeroPolicy]:
    """A policy whose state stays and one whose state moves, after two updates."""
    stays, moves = (
        make_policy(tiny_model, ranks, request.param, offloads=offloads)
        for offloads in (False, True)
    )
    assert learn(stays, 2) == learn(moves, 2)
    return stays, moves


def test_moments_are_there_before_the_first_update_as_torch_would_make_them(
    pair: tuple[ZeroPolicy, ZeroPolicy], tiny_model: Path, ranks: Ranks
) -> None:
    early, _ = pair
    late = make_policy(tiny_model, ranks, precision_of(early), offloads=False)
    zero = late.engine.optimizer
    moments = sum(t.nbytes for state in zero.optimizer.state.values() for t in state.values())
    parameters = sum(p.ds_numel for p in late.model.parameters())
    # And a count of steps for each partition.
    assert moments == 8 * parameters + 4 * len(zero.fp32_partitioned_groups_flat)
    zero.optimizer.state.clear()  # torch makes what is not there
    learn(late, 2)
    assert same(early, late)
    made = [{n: (t.dtype, t.shape, t.device) for n, t in _states(p)} for p in (early, late)]
    assert made[0] == made[1]


def test_a_state_that_moves_learns_as_one_that_stays_to_the_bit(
    pair: tuple[ZeroPolicy, ZeroPolicy],
) -> None:
    assert same(*pair)


def test_between_updates_nothing_of_it_is_on_the_device_but_the_weights_that_compute(
    pair: tuple[ZeroPolicy, ZeroPolicy],
) -> None:
    _, policy = pair
    zero = policy.engine.optimizer
    before = {name: tensor.clone() for name, tensor in _states(policy)}
    with policy._at_hand():
        gradients = [zero.grad_partitions_flat_buffer]
        gradients += [bucket.buffer for bucket in zero.ipg_buckets.values()]
        assert all(buffer.untyped_storage().nbytes() for buffer in gradients)
        assert not gradients[0].any()
        computing = {
            StorageWeakRef(p.ds_tensor.untyped_storage()) for p in policy.engine.parameters()
        }
        states = dict(_states(policy))
        assert all(torch.equal(tensor, before[name]) for name, tensor in states.items())
        on_device = {
            StorageWeakRef(tensor.untyped_storage())
            for name, tensor in states.items()
            if not name.endswith("step")
        }
    # Nothing else holds the memory, such as a view.
    assert {ref for ref in on_device if not ref.expired()} <= computing
    assert not any(ref.expired() for ref in computing)
    assert all(buffer.untyped_storage().nbytes() == 0 for buffer in gradients)
    assert all(torch.equal(tensor, before[name]) for name, tensor in _states(policy))


def test_a_checkpoint_written_meanwhile_is_the_same_and_is_gone_on_from(
    pair: tuple[ZeroPolicy, ZeroPolicy], tmp_path: Path
) -> None:
    stays, moves = pair
    here, away, other = (tmp_path / name for name in ("here", "away", "other"))
    for folder in (here, away, other):
        folder.mkdir()
    with moves._at_hand():
        moves.save(here)
    moves.save(away)
    assert stored(here) == stored(away)
    stays.save(other)
    expected = learn(stays, 1)
    learn(moves, 1)
    moves.load(other)  # over a state that is away
    assert learn(moves, 1) == expected
    assert same(stays, moves)


def test_buffers_are_kept_for_the_next_time_and_each_is_as_large_as_what_it_holds(
    tiny_model: Path, ranks: Ranks
) -> None:
    policy = make_policy(tiny_model, ranks, "bf16", offloads=False)
    asked: list[int] = []

    def allocate(tensor: Tensor) -> Tensor:
        asked.append(tensor.nbytes)
        return torch.empty_like(tensor)

    offload = Offload(policy.engine, allocate)
    for _ in range(2):
        with offload.at_hand():
            pass
    parameters = sum(p.ds_numel for p in policy.model.parameters())
    assert sum(asked) == 12 * parameters
    assert len(asked) == 3 * len(policy.engine.optimizer.fp32_partitioned_groups_flat)


def test_a_machine_without_room_is_told_which_setting_keeps_the_state_on_the_gpu(
    pair: tuple[ZeroPolicy, ZeroPolicy],
) -> None:
    def refuse(tensor: Tensor) -> Tensor:
        raise RuntimeError("CUDA error: out of memory")

    with pytest.raises(ConfigError, match=r"write update\.offload_while_generating=false"):
        Offload(pair[0].engine, refuse)


def test_what_is_on_another_device_already_is_left_there() -> None:
    master = torch.ones(4)
    state = {"exp_avg": torch.zeros(4), "step": torch.zeros(())}
    zero = SimpleNamespace(
        fp16_partitioned_groups_flat=[torch.ones(4)],
        fp32_partitioned_groups_flat=[master],
        optimizer=SimpleNamespace(state={master: state}),
        grad_partitions_flat_buffer=torch.zeros(4),
        ipg_buckets={torch.bfloat16: SimpleNamespace(buffer=None)},
    )
    engine: Any = SimpleNamespace(optimizer=zero, device=torch.device("meta"))
    offload = Offload(engine)
    assert zero.grad_partitions_flat_buffer.untyped_storage().nbytes() == 16
    memory = master.data_ptr()
    with offload.at_hand():
        assert master.data_ptr() == memory


@pytest.mark.parametrize(
    ("engine", "staleness", "on_gpu", "wanted", "offloads"),
    [
        ({"name": "vllm"}, 0, True, True, True),
        ({"name": "transformers"}, 0, True, True, True),
        ({"name": "vllm"}, 0, True, False, False),
        ({"name": "vllm"}, 0, False, True, False),
        ({"name": "vllm"}, 1, True, True, False),
        ({"name": "vllm", "devices": [1]}, 0, True, True, False),
    ],
)
def test_the_state_moves_where_an_engine_has_the_same_gpu_in_turn(
    engine: dict[str, Any], staleness: int, on_gpu: bool, wanted: bool, offloads: bool
) -> None:
    config: RunConfig = tiny_config(
        Path("model"),
        rollout={"engine": engine, "staleness": staleness},
        update={"offload_while_generating": wanted},
    )
    assert config.offloads(on_gpu=on_gpu) is offloads
