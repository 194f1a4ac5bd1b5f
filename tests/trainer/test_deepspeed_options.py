"""Settings of DeepSpeed that a user hands through."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.config.deepspeed import DEEPSPEED_OPTIONS
from rvpo.config.diff import changed_settings
from rvpo.config.update import UpdateConfig
from rvpo.errors import ConfigError
from rvpo.trainer.deepspeed_check import check_deepspeed
from rvpo.trainer.lighter import lighter_updates
from rvpo.trainer.zero import deepspeed_settings
from tests.configs import tiny_config


class Recorder(dict[str, Any]):
    """Settings that remember what they were asked for."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)

    def keys(self) -> Any:
        return self

    def __copy__(self) -> Recorder:
        return self


def settings_of_deepspeed() -> set[str]:
    """Names that the installed DeepSpeed reads, in its own words."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from deepspeed.runtime.config import _REMOVED_ZERO_CONFIG_KEYS, DeepSpeedConfig
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    asked = Recorder({"train_micro_batch_size_per_gpu": 1})
    DeepSpeedConfig(asked)
    fields = DeepSpeedZeroConfig.model_fields.items()
    zero = {field.alias or name for name, field in fields} | set(_REMOVED_ZERO_CONFIG_KEYS)
    asked.asked.add("sequence_parallel_size")  # which it asks for once the ranks have met
    return asked.asked | {f"zero_optimization.{name}" for name in zero}


def test_every_setting_of_deepspeed_is_allowed_or_refused_with_a_reason() -> None:
    allowed, refused = set(DEEPSPEED_OPTIONS.allowed), set(DEEPSPEED_OPTIONS.refused)
    found = settings_of_deepspeed()
    assert len(found) > 90
    assert found == allowed | refused
    assert not allowed & refused
    assert all(len(reason) > 8 for reason in DEEPSPEED_OPTIONS.refused.values())


def table(name: str, value: Any) -> dict[str, Any]:
    outer, dot, inner = name.partition(".")
    return {outer: {inner: value} if dot else value}


def problem(options: dict[str, Any]) -> str:
    with pytest.raises(ValueError, match=r"\w") as caught:
        DEEPSPEED_OPTIONS.checked(options)
    return str(caught.value)


def test_a_setting_that_rvpo_decides_is_refused_whatever_its_value() -> None:
    for name, reason in DEEPSPEED_OPTIONS.refused.items():
        assert problem(table(name, None)) == f"{name} cannot be given here: {reason}"


def test_a_setting_in_other_words_is_answered_with_the_one_that_is_meant() -> None:
    assert "did you mean zero_optimization.stage3_prefetch_bucket_size?" in problem(
        {"zero_optimization": {"prefetch_bucket_size": 1}}
    )
    assert "did you mean train_batch_size?" in problem({"train_batchsize": 1})
    assert problem({"zero_optimization": None}) == ("zero_optimization must be a table, got None")


def test_what_is_a_size_is_a_whole_number_above_zero() -> None:
    for name in ("sub_group_size", "reduce_bucket_size"):
        for value in (0, -1, 0.5, 0.0, float("inf"), float("nan"), True, "1e9"):
            said = problem({"zero_optimization": {name: value}})
            assert said.startswith(f"zero_optimization.{name} must be a whole number above 0, got")
        for value in (1, 5e8, None):
            DEEPSPEED_OPTIONS.checked({"zero_optimization": {name: value}})


def test_weights_are_kept_in_memory() -> None:
    for offload in ({"device": "nvme"}, {"device": "nvme", "nvme_path": "/disk"}, {"device": 3}):
        said = problem({"zero_optimization": {"offload_param": offload}})
        assert "offload_param must be a table whose device is cpu or none" in said
    for passing in ({"device": "cpu", "pin_memory": False}, {"device": "none"}, {}, None):
        DEEPSPEED_OPTIONS.checked({"zero_optimization": {"offload_param": passing}})


def laid(options: dict[str, Any]) -> dict[str, Any]:
    return deepspeed_settings(UpdateConfig(deepspeed=options), "bf16")


def test_what_is_given_lies_over_rvpos_own_table_by_table() -> None:
    ours = laid({})
    given_too = {"communication_data_type": "fp32", "zero_optimization": {"overlap_comm": False}}
    assert laid(given_too) == ours | given_too | {
        "zero_optimization": {**ours["zero_optimization"], "overlap_comm": False}
    }
    assert laid({"zero_optimization": {"overlap_comm": None}}) == ours
    assert laid({"zero_optimization": {}}) == ours


VALUES = {"a table": {}, "text": "fp32", "true or false": True}


@given(st.dictionaries(st.sampled_from(sorted(DEEPSPEED_OPTIONS.allowed)), st.none() | st.just(1)))
@settings(deadline=None)
def test_no_option_changes_what_rvpo_decides(chosen: dict[str, int | None]) -> None:
    options: dict[str, Any] = {}
    for name, value in chosen.items():
        words = DEEPSPEED_OPTIONS.allowed[name].words
        outer, dot, inner = name.partition(".")
        one = value if value is None else VALUES.get(words, value)
        if dot:
            options.setdefault(outer, {})[inner] = one
        elif outer != "zero_optimization":
            options[outer] = one
    ours, both = laid({}), laid(options)
    assert both["zero_optimization"]["stage"] == 3
    for name in set(ours) - {"zero_optimization", "steps_per_print"}:
        assert both[name] == ours[name]


def check(options: dict[str, Any], ranks: int = 1, *, on_gpu: bool = False) -> None:
    config = tiny_config(Path("model"), update={"deepspeed": options})
    check_deepspeed(config, ranks, on_gpu=on_gpu)


def test_a_value_that_deepspeed_refuses_is_refused_before_the_model_is_loaded() -> None:
    check({})
    check({"zero_optimization": {"overlap_comm": False, "zero_hpz_partition_size": 2}}, ranks=4)
    for options, said in [
        ({"communication_data_type": "fp12"}, "Invalid communication_data_type"),
        ({"zero_optimization": {"offload_param": {"devise": "cpu"}}}, "offload_param.devise"),
        ({"zero_optimization": {"leaf_module": {"classes": 3}}}, "leaf_module.classes"),
        ({"zero_optimization": {"stage3_prefetch_bucket_size": 0.5}}, "prefetch_bucket_size"),
    ]:
        with pytest.raises(ConfigError, match=r"update\.deepspeed: DeepSpeed refuses") as caught:
            check(options)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["weights", "gradients"])
def test_what_deepspeed_quantizes_on_gpus_alone_is_refused_elsewhere(what: str) -> None:
    name = f"zero_quantized_{what}"
    with pytest.raises(ConfigError, match=rf"^update\.deepspeed\.zero_optimization\.{name}: "):
        check({"zero_optimization": {name: True}})
    check({"zero_optimization": {name: True}}, on_gpu=True)
    check({"zero_optimization": {name: False}})


def test_groups_of_ranks_that_hold_the_weights_are_equal() -> None:
    with pytest.raises(ConfigError, match="6 ranks cannot be divided into groups of 4"):
        check({"zero_optimization": {"zero_hpz_partition_size": 4}}, ranks=6)


def test_deepspeed_forms_such_groups_for_one_model_only() -> None:
    options = {"zero_optimization": {"zero_hpz_partition_size": 2}}
    tiny_config(Path("model"), update={"deepspeed": options, "beta": 0.0})
    with pytest.raises(ValueError, match=r"update\.deepspeed: .*set update\.beta=0"):
        tiny_config(Path("model"), update={"deepspeed": options, "beta": 0.1})


def test_a_run_goes_on_with_the_same_options_only() -> None:
    bare = tiny_config(Path("model"))
    other = tiny_config(Path("model"), update={"deepspeed": {"steps_per_print": 1}})
    assert changed_settings(bare, bare, ()) == []
    assert "update.deepspeed.steps_per_print" in changed_settings(bare, other, ())


@pytest.mark.parametrize("size", [0, 0.5])
def test_a_sub_group_has_at_least_one_weight(size: float) -> None:
    options = {"zero_optimization": {"sub_group_size": size}}
    with pytest.raises(ValueError, match="sub_group_size must be a whole number above 0, got 0"):
        tiny_config(Path("model"), update={"deepspeed": options})


def test_no_advice_for_less_memory_ends_in_a_run_that_does_not_go_on() -> None:
    for loss, is_free in [("dapo", True), ("bnpo", False)]:
        config = tiny_config(Path("model"), update={"loss": loss})
        said = "; ".join(lighter_updates(config.update, on_gpu=True))
        assert ("update.micro_batch_tokens" in said) is is_free


def test_with_adapters_no_weights_are_looked_for_ahead_unless_a_user_asks_for_it() -> None:
    def distance(adapters: bool, **options: Any) -> int | None:
        update = UpdateConfig(deepspeed={"zero_optimization": options} if options else {})
        zero = deepspeed_settings(update, "bf16", adapters=adapters)["zero_optimization"]
        found: int | None = zero.get("stage3_max_reuse_distance")
        return found

    assert distance(adapters=True) == 0
    assert distance(adapters=False) is None
    assert distance(adapters=True, stage3_max_reuse_distance=7) == 7
