"""A thought that stands on its own is none of the answer, wherever it stands."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.thinking import NO_MODEL
from tests.test_thinking import ANALYSIS, FINAL, MARKERS, NEXT

everywhere = settings(deadline=None, max_examples=12)
SECRET = "SECRET"
known = [pair for pair in MARKERS if pair[0].strip("<>[]").isalpha()]
before = st.sampled_from(["Sure!\n", "Sure! ", "Sure\n\n", "a\n```\nb\n```\n", "\ufeff", "Ok\n# "])
thoughts = st.sampled_from(
    [SECRET, f'I end with "</think>". {SECRET}', f"\n{SECRET}\n", f"a\n```\n{SECRET}"]
)


def written(marker: str, how: str) -> str:
    """An opening marker, spelt as models spell it."""
    left, word, right = marker[0], marker[1:-1], marker[-1]
    spelt = {"spaced": f"{word} ", "typed": f'{word} type="x"', "loud": word.upper()}
    whole = f"{left}{spelt.get(how, word)}{right}"
    return f"**{whole}**" if how == "bold" else whole


@pytest.mark.parametrize("how", ["plain", "spaced", "typed", "loud", "bold"])
@given(pair=st.sampled_from(known), lead=before, thought=thoughts)
@everywhere
def test_a_block_on_its_own_is_a_thought_wherever_it_stands(
    how: str, pair: tuple[str, str], lead: str, thought: str
) -> None:
    opening = written(pair[0], how)
    for start in (lead, f"<think>So.</think>{lead}", f"{FINAL}{lead}"):
        parts = NO_MODEL.split(f"{start}{opening}{thought}{pair[1]}Sleep.")
        assert SECRET not in parts.answer
        assert SECRET in parts.thought
        assert parts.answer.endswith("Sleep.")
        if pair[1] not in thought:  # a quoted one ends the thought where no other does
            assert SECRET not in NO_MODEL.split(f"{start}{opening}{thought}").answer


@given(pair=st.sampled_from(MARKERS), lead=st.sampled_from(["Sure ", "Sure!", "Sure, "]))
@everywhere
def test_a_block_of_several_lines_is_no_word_of_a_sentence(
    pair: tuple[str, str], lead: str
) -> None:
    parts = NO_MODEL.split(f"{lead}{pair[0]}\n{SECRET}\n{pair[1]}\nSleep.")
    assert (parts.thought, SECRET in parts.answer) == (SECRET, False)


@pytest.mark.parametrize("pair", known)
@pytest.mark.parametrize(
    "form",
    [
        "Write\n```\n{0}x{1}\n```\nand sleep.",
        "Write\n~~~xml\n{0}\nx\n{1}\n~~~\nand sleep.",
        "Write `{0}x{1}` and sleep.",
        'Write "{0}\nx\n{1}" and sleep.',
        "> {0}\n> x\n> {1}\nSleep.",
        "Two words. {0} opens and {1} closes.",
    ],
)
def test_a_block_that_is_quoted_stays(form: str, pair: tuple[str, str]) -> None:
    text = form.format(*pair)
    assert NO_MODEL.split(text).answer == text
    assert NO_MODEL.split(f"<think>So.</think>{text}").answer == text
    assert NO_MODEL.split(f"{ANALYSIS}So.{NEXT}{FINAL}{text}").answer == text


channels = st.from_regex(r"[A-Za-z]{0,12}", fullmatch=True).filter(
    lambda name: name.lower() not in ("final", "commentary")
)


@given(
    channel=channels, lead=st.sampled_from(["", "\ufeff", "Sure!\n", "Sure", f"{FINAL}Ok.{NEXT}"])
)
@everywhere
def test_every_channel_but_the_answers_is_a_thought(channel: str, lead: str) -> None:
    text = f"{lead}<|channel|>{channel}<|message|>{SECRET}"
    for end in ("", "<|end|>", f'"<|end|>" {SECRET}{NEXT}{FINAL}Sleep.', f"{NEXT}{FINAL}Sleep."):
        if lead != "Sure" or NEXT in end:
            assert SECRET not in NO_MODEL.split(text + end).answer
    spelt = NO_MODEL.split(f"{ANALYSIS}So.{NEXT}<|channel|>FINAL<|message|>Sleep.")
    assert (spelt.thought, spelt.answer) == ("So.", "Sleep.")


def test_a_final_message_may_show_channels_in_a_code_fence() -> None:
    shown = f"Write\n```\n<|start|>assistant{ANALYSIS}So.<|end|>\n```\nand sleep."
    assert NO_MODEL.split(f"{ANALYSIS}So.{NEXT}{FINAL}{shown}").answer == shown
