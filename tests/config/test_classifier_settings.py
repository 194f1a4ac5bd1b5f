"""The settings of classifiers: what is wrong is one sentence, and what is equal is one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rvpo.config.diff import changed_settings
from rvpo.config.placeholders import fill, placeholder_problem
from rvpo.config.run import RunConfig, dump_config, load_config
from rvpo.errors import ConfigError
from tests.configs import tiny_settings

AT = {"model": "guard", "endpoints": [{"url": "http://localhost:8000"}]}


def load(folder: Path, classifier: Any = "a/folder", **reward: Any) -> RunConfig:
    sections = {"rewards": {"safe": {"classifier": classifier, **reward}}}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(tiny_settings(Path("model"), folder / "run", **sections)))
    return load_config(path)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"label": True}, "rewards.safe.label: must be the name of a label, in quotes"),
        ({"label": -1}, "rewards.safe.label: must be"),
        ({"label": 0, "labels": {"a": 1}}, "label and labels are both given"),
        ({"template": "chta"}, "did you mean 'chat'?"),
        ({"template": "<<prompt>>"}, "there must be a <<response>> in it"),
        ({"template": "<<response>> <<promt>>"}, "did you mean <<prompt>>?"),
        ({"score": "logits"}, "did you mean 'logit'?"),
        ({"rubric": "channels"}, "and no two of them"),
        ({"classifier": {}}, "a classifier needs either `serve`"),
        ({"classifier": AT | {"serve": "a/folder"}}, "and not both"),
        ({"classifier": {"endpoints": AT["endpoints"]}}, "`model` is required"),
        ({"classifier": AT | {"temperature": 0}}, "rewards.safe.classifier.temperature: no such"),
        ({"classifier": AT | {"labels": ["a", "a"]}}, "must differ"),
        (
            {"classifier": {"model": "g", "endpoints": [{"url": "http://a/v1/classify"}]}},
            "without /classify",
        ),
        ({"classifier": {"serve": {"model": "m", "devices": [1, 2]}}}, "serve.devices"),
        ({"classifier": {"serve": {"model": "m", "trust_remote_code": True}}}, "no such setting"),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    tmp_path: Path, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **given)
    assert sentence in str(caught.value)


def test_no_condition_names_a_reward_of_several_labels(tmp_path: Path) -> None:
    sections = {
        "rewards": {
            "safe": {"classifier": AT, "labels": {"a": 0, "b": 1}},
            "late": {"function": "tests.toy:late", "only_if": {"reward": "safe"}},
        }
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(tiny_settings(Path("model"), tmp_path / "run", **sections)))
    with pytest.raises(ConfigError, match="'safe' has a score for each label"):
        load_config(path)


def test_settings_come_back_as_they_were(tmp_path: Path) -> None:
    config = load(tmp_path, AT | {"cache": None, "labels": ["a", "b"]}, label="b", score="logit")
    stored = tmp_path / "stored.yaml"
    stored.write_text(dump_config(config))
    assert load_config(stored) == config


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"timeout_s": 5}, False),
        ({"endpoints": [{"url": "https://elsewhere"}]}, False),
        ({"model": "other"}, True),
        ({"revision": "2"}, True),
        ({"labels": ["b", "a"]}, True),
    ],
)
def test_a_resumed_run_may_ask_elsewhere_and_no_other_classifier(
    tmp_path: Path, change: dict[str, Any], counts: bool
) -> None:
    old = load(tmp_path, AT | {"labels": ["a", "b"]}, label=0)
    new = load(tmp_path, AT | {"labels": ["a", "b"]} | change, label=0)
    assert changed_settings(old, new, ()) == (["rewards.safe.classifier"] if counts else [])


def test_a_gpu_belongs_to_one_of_those_that_a_run_serves(tmp_path: Path) -> None:
    served = {"serve": {"model": "m", "devices": [1]}}
    sections = {
        "rewards": {
            "safe": {"classifier": served, "label": 0},
            "calm": {"classifier": {"serve": {"model": "n", "devices": [1]}}, "label": 0},
        }
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(tiny_settings(Path("model"), tmp_path / "run", **sections)))
    with pytest.raises(
        ConfigError, match=r"serve\.devices: \[1\] belong to rewards\.\w+\.classifier"
    ):
        load_config(path)


def test_a_filled_text_is_not_filled_again() -> None:
    assert fill("<<a>><<b>><<c>>", {"a": "<<b>>", "b": "<<a>>"}) == "<<b>><<a>><<c>>"
    assert placeholder_problem("<<a>> <<b>>", ("a", "b"), "a") == ""


@pytest.mark.parametrize(
    "given",
    [
        {"model": "g", "endpoints": ["sk-proj-0123456789abcdef0123456789"]},
        {"model": "g", "endpoints": [{"url": "https://user:sk-proj-0123456789abcdef@a/v1"}]},
        {"model": "g", "endpoints": [{"url": "https://a", "api_key": "correct-horse-battery"}]},
    ],
)
def test_a_key_among_the_settings_is_refused_and_not_repeated(tmp_path: Path, given: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, given, label=0)
    assert not {"sk-proj", "correct-horse"} & set(str(caught.value).replace("'", " ").split())
    assert "sk-proj" not in str(caught.value)
    assert "key_variable" in str(caught.value) or "must be a table" in str(caught.value)


def test_a_label_may_be_called_like_a_secret(tmp_path: Path) -> None:
    config = load(tmp_path, AT, labels={"password_leak": 3})
    assert config.rewards["safe"].parts == "label"
