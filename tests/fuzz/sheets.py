"""A grammar of replies to sheets that knows what each of them means.

A reply is made of one object for each criterion, in a spelling of `tests.fuzz.replies`. Then things
happen to it: some to one criterion, which has no verdict any more; some to none, for they change
nothing of what it says; and some to the reply as a whole, which then says nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rvpo.judge.sheet import labels
from tests.fuzz import replies

FLAT_WRONG_VALUES = ("null", "1", "0", '"yes"', '""', '"{right}, {wrong}"', "7.5", '"not sure"')
OTHER_NAMES = (
    "1", "2", "0", "criterion 1", "Criterion", "verdict", "met", "", "The response is kind.",
    "BCDFG", "reason", "LABEL", "#1", "a",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SheetSample:
    """A reply to a sheet and what it means."""

    text: str
    values: Mapping[str, float | None]
    """The verdict of each label, None where it means none."""
    damage: str


@dataclass(slots=True)
class _Draft:
    """A reply in the making."""

    labels: tuple[str, ...]
    verdicts: Mapping[str, replies._Verdict]
    entries: list[tuple[str, str]]  # the name and the object of each member
    lost: set[str] = field(default_factory=set)
    held: dict[str, str] = field(default_factory=dict)  # labels in the objects of other labels

    @property
    def values(self) -> dict[str, float | None]:
        lost = self.lost | {
            self.held[holder]
            for name, value in self.entries
            if (holder := name.strip().upper()) in self.held and f'"{self.held[holder]}": ' in value
        }
        return {
            label: None if label in lost else self.verdicts[label].value for label in self.labels
        }


def samples(seed: int) -> Iterator[SheetSample]:
    """Replies without end; a third of them is damaged as a whole."""
    draw = random.Random(seed)
    while True:
        names = labels([draw.randbytes(32) for _ in range(draw.randint(2, 8))])
        yield sample(draw, {name: draw.random() < 0.5 for name in names})


def sample(draw: random.Random, truth: Mapping[str, bool]) -> SheetSample:
    """A reply to a sheet that says the truth on some of its criteria, and nothing on the others.

    Args:
        truth: of each label, two or more.
    """
    verdicts = {label: _verdict(met) for label, met in truth.items()}
    entries = [(label, replies._object(draw, verdict)) for label, verdict in verdicts.items()]
    draft = _Draft(tuple(truth), verdicts, entries)
    if draw.random() < 1 / 3:
        name, spoilt = draw.choice(list(_OF_ALL.items()))
        return SheetSample(spoilt(draw, draft), dict.fromkeys(truth), name)
    for _ in range(draw.randint(0, 3)):
        draw.choice(_OF_ONE)(draw, draft)
    for _ in range(draw.randint(0, 2)):
        draw.choice(_OF_NONE)(draw, draft)
    text = _dressed(draw, draft, _written(draw, draft.entries))
    return SheetSample(text, draft.values, "of one")


def _verdict(met: bool) -> replies._Verdict:
    words = ("true", "false") if met else ("false", "true")
    return replies._Verdict("criterion", "met", *words, float(met))


def _written(draw: random.Random, entries: list[tuple[str, str]]) -> str:
    gap = draw.choice(("", " ", "\n  "))
    quote = draw.choice(('"', '"', "'"))
    members = [f"{quote}{name}{quote}:{gap}{value}" for name, value in entries]
    comma = "," if members and draw.random() < 0.1 else ""
    return f"{{{gap}{f',{gap}'.join(members)}{comma}{gap.strip(' ')}}}"


def _dressed(draw: random.Random, draft: _Draft, text: str) -> str:
    return replies._dressed(draw, next(iter(draft.verdicts.values())), text)


# --- what happens to one criterion ----------------------------------------------------------------


def _victim(draw: random.Random, draft: _Draft) -> str:
    label = draw.choice(draft.labels)
    draft.lost.add(label)
    return label


def _left_out(draw: random.Random, draft: _Draft) -> None:
    label = _victim(draw, draft)
    draft.entries = [entry for entry in draft.entries if entry[0].strip().upper() != label]


def _doubled(draw: random.Random, draft: _Draft) -> None:
    label = _victim(draw, draft)
    verdict = draft.verdicts[label]
    value = draw.choice((verdict.right, verdict.wrong))
    name = draw.choice((label, label.lower(), f" {label} "))
    for _ in range(2):  # one may be gone
        place = draw.randint(0, len(draft.entries))
        draft.entries.insert(place, (name, replies._object(draw, verdict, value=value)))


def _replaced(draw: random.Random, draft: _Draft, value: str = "", also: str = "") -> str:
    label = _victim(draw, draft)
    verdict = draft.verdicts[label]
    value, also = verdict.filled(value), verdict.filled(also)
    spoilt = replies._object(draw, verdict, value=value, also=also)
    draft.held.pop(label, None)
    draft.entries = [
        (name, spoilt if name.strip().upper() == label else found) for name, found in draft.entries
    ]
    return label


def _misjudged(draw: random.Random, draft: _Draft) -> None:
    _replaced(draw, draft, value=draw.choice(FLAT_WRONG_VALUES))


def _contradicted(draw: random.Random, draft: _Draft) -> None:
    _replaced(draw, draft, also='"met": {wrong}')


def _with_more(draw: random.Random, draft: _Draft) -> None:
    flat = [key for key in replies.SECOND_KEYS if "{lie}" not in key and '"Met"' not in key]
    _replaced(draw, draft, also=draw.choice(flat))


def _named_in_another(draw: random.Random, draft: _Draft) -> None:
    """One object holds the verdict of another criterion too."""
    label = draw.choice(draft.labels)
    holder = _replaced(draw, draft, also=f'"{label}": {draw.choice(("true", "false"))}')
    draft.held[holder] = label


_OF_ONE = (
    _left_out,
    _left_out,
    _doubled,
    _misjudged,
    _contradicted,
    _with_more,
    _named_in_another,
)

# --- what happens to none -------------------------------------------------------------------------


def _shuffled(draw: random.Random, draft: _Draft) -> None:
    draw.shuffle(draft.entries)


def _with_foreigners(draw: random.Random, draft: _Draft) -> None:
    """Verdicts on what the sheet does not ask: of another sheet, of numbers, of texts."""
    for _ in range(draw.randint(1, 3)):
        (label,) = labels([draw.randbytes(32)])
        name = draw.choice((label, draw.choice(OTHER_NAMES)))
        if name.upper() not in draft.labels:
            place = draw.randint(0, len(draft.entries))
            draft.entries.insert(
                place, (name, replies._object(draw, _verdict(draw.random() < 0.5)))
            )


def _respelt(draw: random.Random, draft: _Draft) -> None:
    spell = draw.choice((str.lower, str.title, lambda name: f" {name} "))
    draft.entries = [(spell(name), value) for name, value in draft.entries]


_OF_NONE = (_shuffled, _shuffled, _with_foreigners, _respelt)

# --- what happens to all --------------------------------------------------------------------------


def _renumbered(draw: random.Random, draft: _Draft) -> str:
    start, before = draw.choice((0, 1)), draw.choice(("", "c", "criterion ", "Criterion ", "#"))
    entries = [
        (f"{before}{number}", replies._object(draw, draft.verdicts[label]))
        for number, label in enumerate(draft.labels, start)
    ]
    return _dressed(draw, draft, _written(draw, entries))


def _of_another_sheet(draw: random.Random, draft: _Draft) -> str:
    others = labels([draw.randbytes(32) for _ in draft.labels])
    verdicts = zip(others, draft.verdicts.values(), strict=True)
    entries = [(label, replies._object(draw, verdict)) for label, verdict in verdicts]
    return _dressed(draw, draft, _written(draw, entries))


def _list(draw: random.Random, draft: _Draft) -> str:
    """Verdicts in the order of the criteria, without names or with numbers."""
    objects = [replies._object(draw, verdict) for verdict in draft.verdicts.values()]
    return _dressed(draw, draft, f"[{', '.join(objects)}]")


def _nested(draw: random.Random, draft: _Draft) -> str:
    """One criterion's object holds another's."""
    whole = [(label, replies._object(draw, v)) for label, v in draft.verdicts.items()]
    outer, inner = draw.sample(range(len(whole)), 2)
    name = whole[outer][0]
    also = f'"{whole[inner][0]}": {whole[inner][1]}'
    whole[outer] = (name, replies._object(draw, draft.verdicts[name], also=also))
    if draw.random() < 0.5:
        del whole[inner]
    return _dressed(draw, draft, _written(draw, whole))


def _wrapped(draw: random.Random, draft: _Draft) -> str:
    good = _good(draw, draft)
    name = draw.choice(("verdicts", "result", *draft.labels))
    return _dressed(draw, draft, f'{{"{name}": {good}}}')


def _twice(draw: random.Random, draft: _Draft) -> str:
    gap = draw.choice(("", "\n", ", "))
    return _dressed(draw, draft, f"{_good(draw, draft)}{gap}{_good(draw, draft)}")


def _lines(draw: random.Random, draft: _Draft) -> str:
    """Each criterion in an object of its own."""
    each = [
        f'{{"{label}": {replies._object(draw, verdict)}}}'
        for label, verdict in draft.verdicts.items()
    ]
    return _dressed(draw, draft, "\n".join(each))


def _bare(draw: random.Random, draft: _Draft) -> str:
    """Words in place of objects."""
    said = {label: verdict.right == "true" for label, verdict in draft.verdicts.items()}
    return _dressed(draw, draft, json.dumps(said))


def _spoken(draw: random.Random, draft: _Draft) -> str:
    good, speech = _good(draw, draft), draw.choice(replies.SPEECH)
    return _dressed(draw, draft, draw.choice((f"{speech}{good}", f"{good}{speech}")))


def _broken_off(draw: random.Random, draft: _Draft) -> str:
    good = _good(draw, draft)
    return _dressed(draw, draft, good[: draw.randint(1, len(good) - 1)])


def _alone(draw: random.Random, draft: _Draft) -> str:
    """The reply to one criterion."""
    return _dressed(draw, draft, replies._object(draw, draw.choice(list(draft.verdicts.values()))))


def _example(draw: random.Random, draft: _Draft) -> str:
    form = {"reason": "one or two short sentences", "met": draw.random() < 0.5}
    return _dressed(draw, draft, json.dumps(dict.fromkeys(draft.labels, form)))


def _thought_alone(draw: random.Random, draft: _Draft) -> str:
    return draw.choice(("<think>{}", "<think>{}</think>")).format(_good(draw, draft))


def _good(draw: random.Random, draft: _Draft) -> str:
    return _written(
        draw, [(label, replies._object(draw, v)) for label, v in draft.verdicts.items()]
    )


_OF_ALL = {
    "renumbered": _renumbered,
    "of another sheet": _of_another_sheet,
    "a list": _list,
    "nested": _nested,
    "wrapped": _wrapped,
    "twice": _twice,
    "in lines": _lines,
    "bare": _bare,
    "spoken": _spoken,
    "broken off": _broken_off,
    "of one criterion": _alone,
    "the example": _example,
    "a thought": _thought_alone,
}
