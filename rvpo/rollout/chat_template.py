"""The variables of a model's chat template, and the values that the settings give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rvpo.errors import ConfigError, nearest

if TYPE_CHECKING:
    from jinja2 import Environment, nodes

SETTING: Final = "model.chat_template_kwargs"
_FILLED_IN: Final = frozenset(
    [
        *("messages", "tools", "add_generation_prompt", "strftime_now"),
        *("conversation", "chat_template", "continue_final_message", "tokenize", "padding"),
        *("truncation", "max_length", "return_tensors", "return_dict", "tokenizer_kwargs"),
        *("return_assistant_tokens_mask", "raise_exception"),
    ]
)
"""Names that rvpo or transformers gives a meaning: arguments of `apply_chat_template`, and the
functions that every template has."""


def check_values(tokenizer: Any, values: Mapping[str, Any], path: str) -> None:
    """Refuse values for what a template has no variable of, which would change nothing.

    Args:
        tokenizer: the model's, with its chat template.
        values: those of the settings, by the names of variables.
        path: the model's folder or Hub id, for messages.

    Raises:
        ConfigError: a name is unknown or is filled in by others, or the template cannot be read.
            A line for each name.
    """
    if not values:
        return
    taken = _FILLED_IN | set(tokenizer.special_tokens_map)
    free = variables(tokenizer.chat_template, path) - taken
    problems = list(_problems(values, free, taken, path))
    if problems:
        raise ConfigError("\n  ".join(problems))


def check_template(text: str) -> None:
    """Raise ConfigError if a text is no template of Jinja."""
    from jinja2 import TemplateSyntaxError

    try:
        _reader().parse(text)
    except TemplateSyntaxError as error:
        raise ConfigError(
            f"model.chat_template: is no template of Jinja ({error.message}, line {error.lineno})"
        ) from error


def variables(template: str | Mapping[str, str], path: str) -> frozenset[str]:
    """Names that a chat template may read before it has set them itself; of several templates, of
    all.

    Args:
        path: see `check_values`.

    Raises:
        ConfigError: it is no template.
    """
    from jinja2 import TemplateSyntaxError

    texts = [template] if isinstance(template, str) else list(template.values())
    reader, found = _reader(), set[str]()
    try:
        for text in texts:
            _read(reader.parse(text), set(reader.globals), found)
    except TemplateSyntaxError as error:
        raise ConfigError(
            f"{SETTING}: the chat template of {path!r} cannot be read ({error.message}, line "
            f"{error.lineno}); use a model whose template can"
        ) from error
    return frozenset(found)


def _read(node: nodes.Node, known: set[str], found: set[str]) -> None:
    """Walk a template in the order in which it runs.

    Args:
        known: names that have a value by then, whichever way it took; those that the node sets come
            to them. jinja2's own `meta.find_undeclared_variables` asks by scope alone, and takes
            what one branch sets and reads for a name that is open.
        found: names that are read without.
    """
    from jinja2 import nodes

    match node:
        case nodes.Name(ctx="load"):
            found |= {node.name} - known
        case nodes.Name():
            known.add(node.name)
        case nodes.Assign():
            _read_each([node.node, node.target], known, found)
        case nodes.AssignBlock():
            _read_each(node.body, set(known), found)
            _read(node.target, known, found)
        case nodes.If():
            _read(node.test, known, found)
            ways = [node.body, *([way.test, *way.body] for way in node.elif_), node.else_]
            after = [_read_each(way, set(known), found) for way in ways]
            known |= set.intersection(*after)
        case nodes.For():
            _read(node.iter, known, found)
            inside = known | {"loop"}
            tests = [] if node.test is None else [node.test]
            _read_each([node.target, *tests, *node.body], inside, found)
            _read_each(node.else_, set(known), found)
        case nodes.Macro() | nodes.CallBlock():
            called = [node.call] if isinstance(node, nodes.CallBlock) else []
            _read_each([*called, *node.defaults], known, found)
            if isinstance(node, nodes.Macro):
                known.add(node.name)
            inside = known | {"caller", "varargs", "kwargs"}
            _read_each([*node.args, *node.body], inside, found)
        case nodes.With():
            _read_each(node.values, known, found)
            _read_each([*node.targets, *node.body], set(known), found)
        case _:
            _read_each(list(node.iter_child_nodes()), known, found)


def _read_each(every: Sequence[nodes.Node], known: set[str], found: set[str]) -> set[str]:
    """The names that are known behind all of them; see `_read`."""
    for node in every:
        _read(node, known, found)
    return known


def _problems(
    values: Mapping[str, Any], free: frozenset[str], taken: frozenset[str], path: str
) -> Iterator[str]:
    for name in values:
        if name in taken:
            yield f"{SETTING}.{name}: is filled in for every prompt; remove it"
        elif name not in free:
            guess = nearest(name, sorted(free))
            has = ", ".join(sorted(free)) or "none that can be set"
            meant = f"did you mean '{guess}'? It has {has}" if guess else f"it has {has}"
            yield (f"{SETTING}.{name}: the chat template of {path!r} has no such variable; {meant}")


def _reader() -> Environment:
    """An environment that reads templates as transformers does, with its block `generation`."""
    from jinja2 import Environment
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser

    class _GenerationBlock(Extension):
        """The block around what an assistant writes."""

        tags = {"generation"}  # noqa: RUF012, as jinja2 has it

        def parse(self, parser: Parser) -> list[nodes.Node]:
            """Its statements, as if they stood alone."""
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )
