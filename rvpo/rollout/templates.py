"""Chat templates for models that bring none, such as base models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from rvpo.errors import ConfigError, nearest

SETTING: Final = "model.chat_template"
_BEGIN: Final = "@begin@"
"""Place of the token that a tokenizer puts before every text by itself, if it does."""
_TURNS: Final = "{% for message in messages %}"
_TOOLS: Final = (
    "{% for tool in tools %}{% set says = tool.function or tool %}"
    "{{ '\\n' + says.name + '(' }}"
    "{% for name, value in ((says.parameters or {}).properties or {}).items() %}"
    "{{ name + ': ' + (value.type or 'any') | string }}{% if not loop.last %}{{ ', ' }}{% endif %}"
    "{% endfor %}{{ '): ' + (says.description or '') }}{% endfor %}"
    '{{ \'\\nA call: <tool_call>\\n{"name": ..., "arguments": {...}}\\n</tool_call>\' }}'
)
"""A line for each tool, and the form of a call."""
_SAID: Final = (
    "{{ message.content or '' }}"
    "{% if '<tool_call>' not in (message.content or '') %}"
    "{% for call in message.tool_calls or [] %}"
    "{{ '<tool_call>\\n' + call.function | tojson + '\\n</tool_call>' }}{% endfor %}{% endif %}"
)
"""Text of a turn, and its calls where the text does not hold them."""
TEMPLATES: Final = {
    "bare": (
        _BEGIN + _TURNS + "{{ message.content }}"
        "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}"
        "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
    ),
    "dialogue": (
        _BEGIN + _TURNS + "{% if message.role == 'system' %}{{ message.content }}"
        "{% elif message.role == 'assistant' %}"
        "{{ 'Assistant: ' + message.content + eos_token }}"
        "{% else %}{{ message.role | capitalize + ': ' + message.content }}{% endif %}"
        "{{ '\\n\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
    ),
    "chatml": (
        _TURNS + "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "chatml_tools": (
        "{% if tools and messages[0].role != 'system' %}"
        "{{ '<|im_start|>system\\nTools:' }}"
        + _TOOLS
        + "{{ '<|im_end|>\\n' }}{% endif %}"
        + _TURNS
        + "{{ '<|im_start|>' + message.role + '\\n' }}"
        + _SAID
        + "{% if loop.first and tools and message.role == 'system' %}"
        "{{ '\\n\\nTools:' }}" + _TOOLS + "{% endif %}{{ '<|im_end|>\\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
}
"""Templates by name. `bare` shows what messages say and nothing else, a blank line between two, as
a base model reads a text; `dialogue` puts the speaker before each; `chatml` is for tokenizers with
<|im_start|> and <|im_end|>, and `chatml_tools` shows tools too, each in a short line, for models
whose own template shows none."""


def is_name(value: str) -> bool:
    """True where a setting is a name and no path."""
    return "/" not in value and "\\" not in value and "." not in value


def read_template(value: str) -> str:
    """A chat template, given the name of one of ours or a file.

    Raises:
        ConfigError: there is none of the name, or the file cannot be read.
    """
    if value in TEMPLATES:
        return TEMPLATES[value]
    names = ", ".join(TEMPLATES)
    if is_name(value):
        guess = nearest(value, list(TEMPLATES))
        meant = f"did you mean {guess!r}? " if guess else ""
        raise ConfigError(
            f"{SETTING}: there is no template {value!r}; {meant}choose from {names}, or give a "
            "file, such as templates/mine.jinja"
        )
    try:
        text = Path(value).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise ConfigError(
            f"{SETTING}: {value!r} cannot be read ({reason}); give a file with a template of "
            f"Jinja, or one of {names}"
        ) from error
    if not text.strip():
        raise ConfigError(f"{SETTING}: {value!r} is empty; give a file with a template of Jinja")
    return text


def begun(template: str, tokenizer: Any) -> str:
    """A template of ours with what a tokenizer puts before every text by itself."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    begins = full != bare and full[0] == tokenizer.bos_token_id
    return template.replace(_BEGIN, "{{ bos_token }}" if begins else "")
