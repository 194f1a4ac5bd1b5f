"""Questions made on the spot that a small model cannot answer alone: each needs one call of a tool.

They are products that are too large to be known, and prices that stand in a table.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any, Literal, get_args

Split = Literal["train", "held_out"]

_COLOURS = ("black", "blue", "brown", "green", "grey", "pink", "red", "white")
_THINGS = (
    *("apron", "bag", "bell", "belt", "book", "bowl", "box", "broom", "brush", "bucket"),
    *("candle", "cap", "card", "chair", "clock", "coat", "comb", "cup", "desk", "drum"),
    *("fan", "flag", "fork", "glass", "glove", "hammer", "hat", "jar", "kettle", "key"),
    *("kite", "knife", "ladder", "lamp", "map", "mask", "mirror", "mug", "nail", "needle"),
    *("pan", "pen", "pillow", "plate", "pot", "ring", "rope", "ruler", "scarf", "shelf"),
    *("shirt", "shoe", "soap", "sofa", "spoon", "stamp", "stool", "table", "tent", "towel"),
    *("toy", "tray", "vase", "wallet", "watch", "wheel", "whistle", "window", "wire", "yoke"),
)
_ITEMS = tuple(f"{colour} {thing}" for colour in _COLOURS for thing in _THINGS)
PRICES = dict(zip(_ITEMS, random.Random(7).sample(range(100, 1000), len(_ITEMS)), strict=True))
"""The price of each thing."""
_SMALLEST, _LARGEST = 12, 98
_MOST_ROWS = 200
_SYSTEM = {"role": "system", "content": "Call a tool, then write one line: Answer: <n>"}


def calculator(expression: str) -> str:
    """Compute a product.

    Args:
        expression: two numbers, such as 12 * 34
    """
    left, _, right = expression.partition("*")
    return str(int(left) * int(right))


def look_up(item: str) -> str:
    """Look up a price.

    Args:
        item: a thing for sale
    """
    if item not in PRICES:
        raise LookupError(f"there is no price of {item!r}")
    return str(PRICES[item])


def _shown(
    question: str, tool: str, arguments: dict[str, str], answer: str
) -> list[dict[str, Any]]:
    call = {"type": "function", "function": {"name": tool, "arguments": arguments}}
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": answer},
        {"role": "assistant", "content": f"Answer: {answer}"},
    ]


# The demo model leans towards the tool of the last example, so chance puts them in order.
_EXAMPLES = (
    _shown("24 * 31 = ?", "calculator", {"expression": "24 * 31"}, "744"),
    _shown("Price of a gold basket?", "look_up", {"item": "gold basket"}, "385"),
)


def errands(count: int, seed: int, part: Split = "train") -> list[dict[str, Any]]:
    """Questions for `calculator` and `look_up`, half of them for each.

    No question occurs twice in a list, and the parts are disjoint whatever the seeds.

    Args:
        count: number of questions, from 1 to 200.
        seed: decides the choice and the order.
        part: a quarter of all questions is `held_out`, the others are `train`.

    Returns:
        Rows `{"id": str, "prompt": [chat messages], "answer": int}`; the chat holds a system
        message, a worked example for each tool and the question.

    Raises:
        ValueError: `count` or `part` is not one of these.
    """
    if not 1 <= count <= _MOST_ROWS:
        raise ValueError(f"count must be from 1 to {_MOST_ROWS}, got {count}")
    if part not in get_args(Split):
        raise ValueError(f"part must be one of {', '.join(get_args(Split))}, got {part!r}")
    chance = random.Random(seed)
    answers: dict[str, int] = {}
    while len(answers) < count:
        question, answer = (_product, _price)[len(answers) % 2](chance)
        if _part(question) == part:
            answers[question] = answer
    return [
        {
            "id": f"{part}/{index}",
            "prompt": [_SYSTEM, *_examples(chance), {"role": "user", "content": question}],
            "answer": answer,
        }
        for index, (question, answer) in enumerate(answers.items())
    ]


def _examples(chance: random.Random) -> list[dict[str, Any]]:
    """The chat of both examples, in either order."""
    return [message for shown in chance.sample(_EXAMPLES, len(_EXAMPLES)) for message in shown]


def _product(chance: random.Random) -> tuple[str, int]:
    a, b = (chance.randint(_SMALLEST, _LARGEST) for _ in range(2))
    return f"{a} * {b} = ?", a * b


def _price(chance: random.Random) -> tuple[str, int]:
    item = chance.choice(_ITEMS)
    return f"Price of a {item}?", PRICES[item]


def _part(question: str) -> Split:
    digest = hashlib.sha256(question.encode()).digest()
    return "held_out" if digest[0] % 4 == 0 else "train"
