"""Adapters as PEFT's folders, and in the engine of transformers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM

from rvpo.errors import CheckpointError, EngineError
from rvpo.rollout.adapter import adapter_of, write_adapter
from rvpo.rollout.adapter_effect import check_effect, probe
from rvpo.rollout.lora_config import LoraConfig
from tests.adapters import AdapterState, adapted, make_state

CONFIG = LoraConfig(rank=2, alpha=4)
IDS = torch.tensor([[5, 6, 7, 8, 9]])


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(rank=8, alpha=16),
        LoraConfig(rank=3, alpha=0.5, targets="v_proj"),
        LoraConfig(rank=64, alpha=8, targets=("mlp.up_proj", "self_attn.q_proj")),
    ],
)
def test_peft_and_an_engine_read_the_adapter_that_was_written(
    config: LoraConfig, tiny_model: Path, tmp_path: Path
) -> None:
    trained, state = adapted(tiny_model, config, 0.1)
    write_adapter(tmp_path / "adapter", state, config, str(tiny_model))
    read = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32), tmp_path / "adapter"
    ).eval()
    engine = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    own = adapter_of(engine, config, [name for name, _ in state])
    assert own.keys() == dict(state).keys()
    for name, tensor in state:
        own[name].data.copy_(tensor)
    with torch.no_grad():
        expected = trained(IDS).logits
        assert torch.equal(read(IDS).logits, expected)
        assert torch.equal(engine(IDS).logits, expected)


def test_a_second_adapter_goes_into_the_place_of_the_first(tiny_model: Path) -> None:
    config = LoraConfig(rank=2, targets="q_proj")
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    names = [name for name, _ in adapted(tiny_model, config, 0.0)[1]]
    assert [id(p) for p in adapter_of(model, config, names).values()] == [
        id(p) for p in adapter_of(model, config, names).values()
    ]


class Breaks(AdapterState):
    """A gather that fails half-way."""

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in super().__iter__():
            yield name, tensor
            raise EngineError("a rank is gone")


def test_no_reader_sees_half_an_adapter(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="a rank is gone"):
        write_adapter(tmp_path / "adapter", Breaks(dict(make_state())), CONFIG, "m")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_adapter(tmp_path / "file" / "adapter", make_state(), CONFIG, "m")
    write_adapter(tmp_path / "other", make_state(), CONFIG, "m")
    with pytest.raises(CheckpointError, match="cannot be written"):  # it is never half of each
        write_adapter(tmp_path / "other", make_state(), CONFIG, "m")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]
    assert len(list((tmp_path / "other").iterdir())) >= 2


@given(
    st.sampled_from(
        [
            "model.layers.0.self_attn.q_proj.lora_A.weight",
            "base_model.model.q_proj.lora_A.default.weight",
            "base_model.model.q_proj.base_layer.weight",
            "base_model.model.lm_head.weight",
            "base_model.model.embed_tokens.lora_embedding_A",
            "q_proj.lora_B.weight",
        ]
    )
)
def test_a_name_that_no_engine_would_find_is_refused(name: str) -> None:
    state = AdapterState({name: torch.ones(2, 4)})
    with pytest.raises(EngineError, match="no name of an adapter's matrix"):
        write_adapter(Path("/nowhere/adapter"), state, CONFIG, "m")


def test_an_adapter_for_a_layer_that_the_engine_lacks_is_refused(tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    with pytest.raises(EngineError, match=r"has no layer 'model\.layers\.7\.mlp\.up_proj'"):
        adapter_of(model, CONFIG, ["base_model.model.model.layers.7.mlp.up_proj.lora_A.weight"])


@given(st.lists(st.floats(-30, 0), min_size=1), st.integers(0, 10**6), st.floats(-30, 0))
def test_answers_that_do_not_change_stop_a_run(
    plain: list[float], place: int, other: float
) -> None:
    with pytest.raises(EngineError, match=r"the same with an adapter .* model\.lora\.sync=merged"):
        check_effect(plain, tuple(plain))
    changed = [*plain]
    changed[place % len(plain)] = other
    if changed != plain:
        check_effect(changed, plain)


@pytest.mark.parametrize(("rank", "alpha"), [(1, 2.0), (16, 32.0), (64, 1.0), (8, 1024.0)])
def test_the_product_of_a_probe_is_as_large_as_weights_are(rank: int, alpha: float) -> None:
    config = LoraConfig(rank=rank, alpha=alpha)
    layout = [
        ("base_model.model.up_proj.lora_A.weight", torch.bfloat16, (rank, 128)),
        ("base_model.model.up_proj.lora_B.weight", torch.bfloat16, (512, rank)),
    ]
    a, b = (tensor.float() for tensor in probe(layout, config).values())
    assert float((config.scaling * b @ a).std()) == pytest.approx(128**-0.5, rel=0.3)
    again = probe(layout, config)
    assert [(n, t.dtype, tuple(t.shape)) for n, t in again.items()] == layout
    assert torch.equal(again[layout[0][0]].float(), a)


@pytest.mark.parametrize("moved", [1e-9, 1e-7, 1e-6])
def test_a_probe_is_seen_in_bf16_where_a_first_update_changes_nothing(
    moved: float, tiny_model: Path
) -> None:
    model, state = adapted(tiny_model, LoraConfig(rank=16, alpha=32), 0.0, dtype=torch.bfloat16)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    b = [parameter for name, parameter in model.named_parameters() if "lora_B" in name]
    for parameter in b:
        parameter.data.fill_(moved)
    with torch.no_grad():
        expected = plain(IDS).logits
        assert torch.equal(model(IDS).logits, expected)
        own = probe(state.layout(), LoraConfig(rank=16, alpha=32))
        peft.set_peft_model_state_dict(model, own)
        assert (model(IDS).logits != expected).float().mean() > 0.9
