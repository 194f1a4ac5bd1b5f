"""Values for the chat template's own variables reach every prompt, and no other name is taken."""

from __future__ import annotations

import pickle
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment
from transformers import AutoTokenizer

from rvpo.commands.evaluate import spoken_to
from rvpo.data.encoder import encoder_of
from rvpo.errors import ConfigError
from rvpo.rollout.chat_template import check_values, variables
from rvpo.rollout.encoder import Encoder
from rvpo.trainer.digest import TokenDigest, digests
from tests.configs import tiny_config
from tests.fakes import make_prompt
from tests.rollout.test_stops import with_template
from tests.tiny import TEMPLATE

ASSISTANT = "<|im_start|>assistant\n"
CLOSED = "<think>\n\n</think>\n\n"
SHAPES = {
    "closed where false": TEMPLATE.replace(
        ASSISTANT,
        ASSISTANT + "{% if enable_thinking is defined and not enable_thinking %}"
        f"{CLOSED}{{% endif %}}",
    ),
    "opened or closed": TEMPLATE.replace(
        ASSISTANT,
        ASSISTANT + "{% set mode = enable_thinking | default(true) %}"
        f"{{% if mode %}}<think>\n{{% else %}}{CLOSED}{{% endif %}}",
    ),
    "a mode above the turns": "{% if enable_thinking is not defined %}"
    "{% set enable_thinking = true %}{% endif %}"
    "Mode: {{ '/think' if enable_thinking else '/no_think' }}\n" + TEMPLATE,
}
CALLED = (
    "{% macro head(name) %}{% if effort is not defined %}{% set effort = 'some' %}{% endif %}"
    "{{ name }}: {{ effort }}{% endmacro %}{{ head('Effort') }}\n" + TEMPLATE
)


def encoder_with(model: Path, folder: Path, template: str, **values: Any) -> Encoder:
    path = with_template(model, folder, template)
    return Encoder.from_model(
        str(path), trust_remote_code=False, max_context_tokens=None, template_values=values
    )


@pytest.mark.parametrize("name", SHAPES)
def test_token_ids_follow_a_value_of_the_template(
    name: str, tiny_model: Path, tmp_path: Path
) -> None:
    prompts = [make_prompt(), make_prompt(content="And 2 + 2?")]
    plain, thinks, silent = (
        list(encoder_with(tiny_model, tmp_path / str(n), SHAPES[name], **v).encode_each(prompts))
        for n, v in enumerate([{}, {"enable_thinking": True}, {"enable_thinking": False}])
    )
    assert plain == thinks
    assert all(one != other for one, other in zip(thinks, silent, strict=True))


def test_the_settings_reach_the_one_encoder_of_training_plans_and_evaluation(
    tiny_model: Path, tmp_path: Path
) -> None:
    path = with_template(tiny_model, tmp_path / "m", SHAPES["opened or closed"])
    silent = {"path": str(path), "chat_template_kwargs": {"enable_thinking": False}}
    ends = []
    for model in ({"path": str(path)}, silent):
        config = tiny_config(path, model=model)
        encoder = encoder_of(config.model, config.rollout, str(path))
        ends.append(encoder.tokenizer.decode(encoder.encode(make_prompt()))[-20:])
    assert ends[0].endswith("<think>\n")
    assert ends[1].endswith(CLOSED)


@pytest.mark.parametrize(
    ("template", "name", "said"),
    [
        (
            SHAPES["opened or closed"],
            "enable_thinkin",
            "no such variable; did you mean 'enable_thinking'. It has enable_thinking",
        ),
        (SHAPES["opened or closed"], "mode", "no such variable; it has enable_thinking"),
        (SHAPES["opened or closed"], "temperature", "no such variable; it has enable_thinking"),
        (CALLED, "depth", "no such variable; it has effort"),
        (TEMPLATE, "enable_thinking", "no such variable; it has none that can be set"),
        *((TEMPLATE, name, "is filled in for every prompt") for name in ("messages", "tools")),
        *((TEMPLATE, name, "is filled in for every prompt") for name in ("tokenize", "eos_token")),
    ],
)
def test_a_name_that_the_template_does_not_have_is_refused(
    template: str, name: str, said: str, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"model\.chat_template_kwargs\.{name}: .*{said}"):
        encoder_with(tiny_model, tmp_path / "m", template, **{name: 1})


def test_every_name_that_is_wrong_has_its_line(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        encoder_with(tiny_model, tmp_path / "m", CALLED, effort="much", depth=1, messages=[])
    assert len(str(caught.value).splitlines()) == 2


def test_of_several_templates_each_may_have_it() -> None:
    templates = {"default": TEMPLATE, "tool_use": SHAPES["opened or closed"]}
    tokenizer = SimpleNamespace(special_tokens_map={}, chat_template=templates)
    check_values(tokenizer, {"enable_thinking": False}, "m")
    with pytest.raises(ConfigError, match="no such variable"):
        check_values(tokenizer, {"mode": False}, "m")


def test_a_template_that_cannot_be_read_is_said() -> None:
    with pytest.raises(ConfigError, match=r"the chat template of 'm' cannot be read .*line 1"):
        variables("{% if x %}", "m")


def test_blocks_of_transformers_are_read() -> None:
    template = (
        "{% for m in messages %}{% generation %}{{ m.content + tail }}{% endgeneration %}"
        "{% if m.last %}{% break %}{% endif %}{% endfor %}"
    )
    assert variables(template, "m") == {"messages", "tail"}


names = st.sampled_from("abc")
shown = names.map("{{{{ {0} }}}}".format)
statements = st.deferred(
    lambda: st.lists(
        st.one_of(
            shown,
            st.tuples(names, st.sampled_from(["1", "a", "b", "c"])).map(
                lambda x: f"{{% set {x[0]} = {x[1]} %}}"
            ),
            names.map("{{{{ {0} is defined }}}}".format),
            st.tuples(names, statements, statements).map(
                lambda x: f"{{% if {x[0]} %}}{x[1]}{{% else %}}{x[2]}{{% endif %}}"
            ),
            st.tuples(names, names, statements).map(
                lambda x: (
                    f"{{% if {x[0]} %}}{x[2]}{{% elif {x[1]} %}}{x[2]}{{% else %}}{x[2]}"
                    "{% endif %}"
                )
            ),
            st.tuples(names, statements).map(
                lambda x: f"{{% for {x[0]} in [1, 2] %}}{x[1]}{{% endfor %}}"
            ),
            st.tuples(names, statements).map(
                lambda x: f"{{% macro f({x[0]}) %}}{x[1]}{{% endmacro %}}{{{{ f(3) }}}}"
            ),
        ),
        max_size=4,
    ).map("".join)
)


@given(statements, st.sets(names), names)
@settings(deadline=None, max_examples=60)
def test_a_name_that_is_refused_would_change_nothing(
    template: str, others: set[str], name: str
) -> None:
    if name in variables(template, "m"):
        return
    rendered = Environment().from_string(template).render
    values = dict.fromkeys(others - {name}, 7)
    assert rendered(**values) == rendered(**values, **{name: 9})


def test_a_value_that_changes_no_prompt_is_told(tiny_model: Path, tmp_path: Path) -> None:
    prompts, said = [make_prompt()], list[str]()
    template = SHAPES["opened or closed"]
    encoder_with(tiny_model, tmp_path / "a", template, enable_thinking=False).check_values(
        prompts, said.append
    )
    assert said == []
    encoder_with(tiny_model, tmp_path / "b", template, enable_thinking="false").check_values(
        prompts, said.append
    )
    assert said == [
        "model.chat_template_kwargs.enable_thinking: 'false' changes nothing in the first 1 "
        "prompts, which are the same without it"
    ]


def test_digests_and_results_of_another_value_are_others(tiny_model: Path) -> None:
    import_module("tests.toy")  # whose code the digests are of, too

    def told(**model: Any) -> tuple[str, dict[str, Any]]:
        config = tiny_config(tiny_model, model=model)
        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        found = digests(config, str(tiny_model), tokenizer, {}, TokenDigest())
        return found["chat template"], spoken_to(config.model, config.rollout)

    plain, nothing = told()
    assert nothing == {}
    assert told(chat_template_kwargs={}) == (plain, {})
    silent, values = told(chat_template_kwargs={"enable_thinking": False})
    assert silent != plain
    assert values == {"model.chat_template_kwargs": {"enable_thinking": False}}
    _, marked = told(thinking={"open": "<mull>", "close": "</mull>"})
    assert marked == {"model.thinking": ("<mull>", "</mull>")}
    encoder = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    assert pickle.loads(pickle.dumps(encoder)).template_values == {}
