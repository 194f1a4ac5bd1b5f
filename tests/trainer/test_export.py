"""A model is written shard by shard, and is whole where it stands."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
)

from rvpo.errors import CheckpointError
from rvpo.model_files import resolve_model
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.digest import of_model
from rvpo.trainer.export import Draft, export_model, in_shards
from rvpo.trainer.zero_policy import ZeroPolicy
from tests.configs import tiny_config
from tests.tiny import save_tiny_model

SMALL = 100_000
"""Bytes in which the tiny model has several files."""


@given(
    sizes=st.dictionaries(
        st.sampled_from(
            [f"layers.{n}.{part}.weight" for n in range(12) for part in ("a.0", "a.1", "b")]
            + ["embed.weight", "norm.weight", "head.weight"]
        ),
        st.integers(0, 50),
        min_size=1,
    ),
    limit=st.integers(1, 120),
)
def test_shards_keep_the_order_and_the_layers_and_are_as_large_as_may_be(
    sizes: dict[str, int], limit: int
) -> None:
    sizes = dict(sorted(sizes.items()))
    shards = in_shards(sizes, limit)
    assert [name for shard in shards for name in shard] == list(sizes)
    layers = [{name[: name.find(".", 7)] for name in shard} for shard in shards]
    assert sum(len(found) for found in layers) == len(set().union(*layers))
    for shard, found in zip(shards, layers, strict=True):
        assert sum(sizes[name] for name in shard) <= limit or len(found) == 1
    for shard, after in pairwise(shards):
        layer = [name for name in after if name[: name.find(".", 7)] in after[0]]
        assert sum(sizes[name] for name in [*shard, *layer]) > limit


def weights(folder: Path) -> Mapping[str, Tensor]:
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return dict(model.state_dict())


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def policy(tiny_model: Path, ranks: Ranks) -> ZeroPolicy:
    return ZeroPolicy(tiny_config(tiny_model), str(tiny_model), ranks)


def export(policy: ZeroPolicy, source: Path, folder: Path, ranks: Ranks, size: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(source)
    export_model(policy, tokenizer, folder, ranks, shard_bytes=size)


def test_several_files_are_the_model_that_one_file_is(
    policy: ZeroPolicy, tiny_model: Path, tmp_path: Path, ranks: Ranks
) -> None:
    export(policy, tiny_model, tmp_path / "one", ranks, 10**9)
    export(policy, tiny_model, tmp_path / "many", ranks, SMALL)
    one, many = ({path.name for path in (tmp_path / n).iterdir()} for n in ("one", "many"))
    files = sorted(many - one)
    assert one - many == {"model.safetensors"}
    count = len(files) - 1
    assert count > 2
    assert files == [
        *(f"model-{n + 1:05d}-of-{count:05d}.safetensors" for n in range(count)),
        "model.safetensors.index.json",
    ]
    assert {"config.json", "generation_config.json", "tokenizer.json"} < one
    index = json.loads((tmp_path / "many" / files[-1]).read_text())
    whole = load_file(tmp_path / "one" / "model.safetensors")
    assert "lm_head.weight" not in whole  # it is the embedding
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in whole.values())
    assert index["weight_map"].keys() == whole.keys()
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / "many" / file)[name], whole[name])
    assert equal(weights(tmp_path / "many"), weights(tiny_model))
    assert equal(weights(tmp_path / "one"), weights(tiny_model))
    found = {name: of_model(str(tmp_path / name), "policy") for name in ("one", "many")}
    assert found["one"].keys() == found["many"].keys()
    assert list(tmp_path.glob("*.partial")) == []


def test_a_later_model_replaces_the_earlier_with_all_its_files(
    policy: ZeroPolicy, tiny_model: Path, tmp_path: Path, ranks: Ranks
) -> None:
    (tmp_path / "model.partial").mkdir()
    (tmp_path / "model.partial" / "config.json").write_text("of an export that was killed")
    for size in (SMALL, 10**9):
        export(policy, tiny_model, tmp_path / "model", ranks, size)
    assert [path.name for path in (tmp_path / "model").glob("*.safetensors*")] == [
        "model.safetensors"
    ]
    assert equal(weights(tmp_path / "model"), weights(tiny_model))


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", range(4))
def test_an_export_that_is_killed_leaves_nothing_that_looks_whole(
    policy: ZeroPolicy, tiny_model: Path, tmp_path: Path, ranks: Ranks, after: int
) -> None:
    export(policy, tiny_model, tmp_path / "model", ranks, SMALL)
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}

    class Model:
        """Dies while it is written."""

        def __init__(self) -> None:
            self.saved = 0

        def save_pretrained(self, *args: Any, **options: Any) -> None:
            policy.model.save_pretrained(*args, **options)
            self.saved += 1
            if self.saved > after:
                raise Killed

        def __getattr__(self, name: str) -> Any:
            return getattr(policy.model, name)

    class Dying:
        model = Model()
        weights = policy.weights

    dying: Any = Dying()
    with pytest.raises(Killed):
        export(dying, tiny_model, tmp_path / "model", ranks, SMALL)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert not (tmp_path / "model.partial" / "config.json").exists()
    shutil.rmtree(tmp_path / "model")
    export(policy, tiny_model, tmp_path / "model", ranks, SMALL)
    assert resolve_model(str(tmp_path / "model")) == str(tmp_path / "model")
    assert list(tmp_path.glob("*.partial")) == []


def test_a_kill_while_the_earlier_model_is_removed_leaves_the_later_one(
    policy: ZeroPolicy,
    tiny_model: Path,
    tmp_path: Path,
    ranks: Ranks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, remove = tmp_path / "model", shutil.rmtree
    export(policy, tiny_model, folder, ranks, SMALL)

    def dies(path: Path, **options: Any) -> None:
        if path.exists() and (files := sorted(path.glob("*.safetensors"))):
            files[0].unlink()
            raise Killed
        remove(path, **options)

    monkeypatch.setattr("shutil.rmtree", dies)
    with pytest.raises(Killed):
        export(policy, tiny_model, folder, ranks, SMALL)
    monkeypatch.undo()
    assert equal(weights(folder), weights(tiny_model))
    export(policy, tiny_model, folder, ranks, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def save_tiny_mixture(folder: Path) -> Path:
    """Experts that a bias chooses which no gradient moves; they are stored one by one, and held in
    memory as one."""
    vocabulary = AutoConfig.from_pretrained(save_tiny_model(folder)).vocab_size
    torch.manual_seed(0)
    config = DeepseekV3Config(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=32,
        moe_intermediate_size=16,
        num_hidden_layers=3,
        first_k_dense_replace=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        **{"kv_lora_rank": 8, "q_lora_rank": 8, "v_head_dim": 8},
        **{"qk_rope_head_dim": 4, "qk_nope_head_dim": 8},
    )
    model = DeepseekV3ForCausalLM(config)
    for name, buffer in model.named_buffers():
        if name.endswith("bias"):
            buffer.copy_(torch.rand(4))
    model.save_pretrained(folder)
    return folder


def test_what_a_model_keeps_beside_its_weights_is_saved_too(tmp_path: Path, ranks: Ranks) -> None:
    """As the routers of some mixtures of experts do."""
    initial = save_tiny_mixture(tmp_path / "initial")
    policy = ZeroPolicy(tiny_config(initial), str(initial), ranks)
    export(policy, initial, tmp_path / "model", ranks, SMALL)
    found = weights(tmp_path / "model")
    assert any("bias" in name for name in found)
    assert equal(found, weights(initial))


def test_a_full_disk_is_told_as_that(tmp_path: Path) -> None:
    class Full:
        def save_pretrained(self, *args: Any, **options: Any) -> None:
            raise SafetensorError(f"I/O error: no space (os error {errno.ENOSPC})")

    draft = Draft(tmp_path / "model", 2, 10)
    draft.begin()
    with pytest.raises(CheckpointError, match="model: no space left on the disk; free some"):
        draft.add(Full(), {})
