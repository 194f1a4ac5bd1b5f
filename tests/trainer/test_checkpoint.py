"""A checkpoint is read as it was written, or not at all, and reading it runs nothing."""

from __future__ import annotations

import io
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rvpo.errors import CheckpointError, RankError
from rvpo.runtime.random_state import random_state, set_random_state
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.checkpoint import Checkpoints
from rvpo.trainer.seal import SEAL, Seal
from rvpo.trainer.zero_policy import ZeroPolicy
from tests.configs import tiny_config
from tests.fakes import on_each_rank

RAN: list[str] = []


def ran(what: str) -> None:
    """Called by a pickle that is read as code."""
    RAN.append(what)


class Planted:
    """What a stranger puts into a file of somebody's run."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return ran, ("planted",)


def as_zip(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def as_old_format(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


FORMS = (as_zip, as_old_format, pickle.dumps)


class Plain:
    """A policy of two small files for each rank."""

    checkpoint_bytes = 0

    def __init__(self) -> None:
        self.loaded = ""

    def save(self, folder: Path) -> None:
        (folder / "state").mkdir()
        (folder / "state" / "optimizer").write_bytes(bytes(range(64)))
        (folder / "state" / "model").write_text("weights")

    def load(self, folder: Path) -> None:
        self.loaded = (folder / "state" / "model").read_text()


def checkpoints(folder: Path, ranks: Ranks) -> Checkpoints:
    return Checkpoints(folder, every=1, keep=2, ranks=ranks)


def saved(folder: Path, ranks: Ranks, *steps: int) -> Path:
    """The newest of the checkpoints that a plain policy wrote."""
    policy: Any = Plain()
    folder.mkdir(parents=True, exist_ok=True)
    for step in steps:
        checkpoints(folder, ranks).after(step, policy, last=False)
    return folder / f"step-{steps[-1]:06d}"


def restored(folder: Path, ranks: Ranks) -> int:
    policy: Any = Plain()
    step = checkpoints(folder, ranks).restore(policy)
    assert policy.loaded == "weights"
    return step


def refusal(folder: Path, ranks: Ranks) -> str:
    policy: Any = Plain()
    with pytest.raises(CheckpointError) as error:
        checkpoints(folder, ranks).restore(policy)
    assert not policy.loaded
    return str(error.value)


def resealed(folder: Path, ranks: Ranks) -> None:
    """As a stranger would who knows how checkpoints are sealed."""
    step = Seal.read(folder).step
    (folder / SEAL).unlink()
    Seal.of(folder, step, ranks).write(folder)


def test_a_rank_that_is_lost_while_one_is_loaded_says_nothing_of_the_checkpoint(
    tmp_path: Path, ranks: Ranks
) -> None:
    saved(tmp_path, ranks, 1)
    lost = RuntimeError("[/x/gloo/transport/tcp/pair.cc:553] Connection closed by peer")

    class Alone(Plain):
        def load(self, folder: Path) -> None:
            raise lost

    policy: Any = Alone()
    with pytest.raises(RuntimeError) as raised:
        checkpoints(tmp_path, ranks).restore(policy)
    assert raised.value is lost


def test_every_rank_goes_on_from_the_checkpoint_that_rank_0_sees(
    tmp_path: Path, ranks: Ranks
) -> None:
    saved(tmp_path / "0", ranks, 1, 2)
    shutil.copytree(tmp_path / "0", tmp_path / "1")
    assert on_each_rank(lambda each: restored(tmp_path / str(each.rank), each)) == [2, 2]
    shutil.rmtree(tmp_path / "1" / "step-000002")  # as a network's disk may show it for a while
    for error in on_each_rank(lambda each: restored(tmp_path / str(each.rank), each)):
        assert isinstance(error, CheckpointError | RankError)
        assert "step-000002" in str(error)


def test_nothing_planted_in_a_checkpoint_runs(
    tiny_model: Path, tmp_path: Path, ranks: Ranks
) -> None:
    policy = ZeroPolicy(tiny_config(tiny_model), str(tiny_model), ranks)
    (folder := tmp_path / "good").mkdir()
    checkpoints(folder, ranks).after(1, policy, last=False)
    good = folder / "step-000001"
    names = [path.relative_to(good) for path in good.rglob("*") if path.is_file()]
    read = [name for name in names if name.suffix == ".pt"]
    assert len(read) == 2
    for name in names:
        for form in FORMS:
            bad = tmp_path / "bad" / "step-000001"
            shutil.copytree(good, bad)
            (bad / name).write_bytes(form({"module": Planted(), "step": 1}))
            if name.name != SEAL:
                resealed(bad, ranks)
            if name in read or name.name == SEAL:
                with pytest.raises(CheckpointError, match="000001") as error:
                    checkpoints(bad.parent, ranks).restore(policy)
                assert name in read or SEAL in str(error.value)
            else:
                assert checkpoints(bad.parent, ranks).restore(policy) == 1
            shutil.rmtree(bad.parent)
    assert RAN == []
    pickle.loads(pickle.dumps(Planted()))
    assert RAN.pop() == "planted"  # it would have run
    assert checkpoints(folder, ranks).restore(policy) == 1


def test_what_a_planted_file_asks_for_is_named(
    tiny_model: Path, tmp_path: Path, ranks: Ranks
) -> None:
    policy = ZeroPolicy(tiny_config(tiny_model), str(tiny_model), ranks)
    checkpoints(tmp_path, ranks).after(1, policy, last=False)
    (optimizer,) = tmp_path.glob("*/zero3/*optim_states.pt")
    optimizer.write_bytes(as_zip({"optimizer_state_dict": Planted()}))
    resealed(tmp_path / "step-000001", ranks)
    with pytest.raises(CheckpointError) as error:
        checkpoints(tmp_path, ranks).restore(policy)
    assert re.fullmatch(
        rf"{optimizer} asks for '[\w.]*test_checkpoint\.ran', which is neither tensors nor plain "
        "values and could run code, so it is not read",
        str(error.value),
    )


def test_random_generators_go_on_from_plain_values(tmp_path: Path) -> None:
    torch.save(random_state(), tmp_path / "state")
    drawn = random_state()
    torch.rand(3)
    set_random_state(torch.load(tmp_path / "state", weights_only=True))
    again = random_state()
    assert torch.equal(again.pop("torch"), drawn.pop("torch"))
    assert again == drawn


def damages(folder: Path) -> dict[str, Callable[[], Any]]:
    optimizer, model = folder / "state" / "optimizer", folder / "state" / "model"
    seal = folder / SEAL
    return {
        "state/optimizer does not have what was written": lambda: optimizer.write_bytes(
            bytes([1, *range(1, 64)])
        ),
        "state/optimizer has 60 bytes instead of 64": lambda: optimizer.write_bytes(bytes(60)),
        "state/model is missing": model.unlink,
        "state/more is no file of it": lambda: (folder / "state" / "more").write_text(""),
        "more is no file of it": lambda: (folder / "more").symlink_to("nowhere"),
        "checkpoint.json cannot be read": seal.unlink,
        "it is not what was written": lambda: seal.write_text(
            seal.read_text().replace('"step": 2', '"step": 3')
        ),
        "it holds step 2": lambda: folder.rename(folder.with_name("step-000003")),
    }


@pytest.mark.parametrize("number", range(8))
def test_damage_is_named_with_the_way_back(tmp_path: Path, ranks: Ranks, number: int) -> None:
    newest = saved(tmp_path, ranks, 1, 2)
    assert restored(tmp_path, ranks) == 2
    words, damage = list(damages(newest).items())[number]
    damage()
    said = refusal(tmp_path, ranks)
    assert words in said
    assert said.endswith(f"; move it elsewhere to go on from {tmp_path / 'step-000001'}")
    for folder in tmp_path.glob("step-00000[23]"):
        shutil.rmtree(folder)
    assert restored(tmp_path, ranks) == 1


@given(place=st.integers(min_value=0), bit=st.integers(0, 7), data=st.data())
def test_no_flipped_bit_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory,
    ranks: Ranks,
    place: int,
    bit: int,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("checkpoints")
    newest = saved(folder, ranks, 1)
    path = data.draw(st.sampled_from(sorted(p for p in newest.rglob("*") if p.is_file())))
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    assert "damaged" in refusal(folder, ranks)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '"x"', "1", "", '{"step": 1', "[" * 10_000])
def test_a_seal_of_any_other_form_is_damage(tmp_path: Path, ranks: Ranks, text: str) -> None:
    newest = saved(tmp_path, ranks, 1)
    (newest / SEAL).write_text(text)
    assert re.search(rf"{newest / SEAL} is damaged \(.+\)", refusal(tmp_path, ranks))


def test_what_else_lies_among_checkpoints_is_none(tmp_path: Path, ranks: Ranks) -> None:
    saved(tmp_path, ranks, 1)
    (tmp_path / "step-000009").write_text("a file")
    (tmp_path / "step-000009.partial").mkdir()
    (tmp_path / "step-copy").mkdir()
    (tmp_path / "step-000008").symlink_to("nowhere")
    assert restored(tmp_path, ranks) == 1
    saved(tmp_path, ranks, 2)
    assert restored(tmp_path, ranks) == 2


def test_a_disk_that_fills_while_saving_keeps_the_checkpoint_before(
    tmp_path: Path, ranks: Ranks
) -> None:
    class Full(Plain):
        def save(self, folder: Path) -> None:
            super().save(folder)
            raise CheckpointError(f"{folder}: no space left on the disk")

    saved(tmp_path, ranks, 1)
    policy: Any = Full()
    with pytest.raises(CheckpointError, match="no space left"):
        checkpoints(tmp_path, ranks).after(2, policy, last=False)
    assert restored(tmp_path, ranks) == 1
    saved(tmp_path, ranks, 2)
    assert restored(tmp_path, ranks) == 2
    assert not list(tmp_path.glob("*.partial"))
