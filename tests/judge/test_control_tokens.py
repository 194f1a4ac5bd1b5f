"""Control tokens are known by their shape, and what is written in HTML or code stays readable."""

from __future__ import annotations

import html
import string
from html.parser import HTMLParser

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from rvpo.judge.control_tokens import ELEMENTS, harmless

# In the manner of many families of models, and of none: markers of turns, tools, gaps and spares.
MARKERS = [
    "<role>", "</role>", "<sop>", "<eop>", "<eod>", "<eoh>", "<eom>", "<EOT>", "<BOT>", "<CLS>",
    "<_user>", "<_bot>", "<_end>", "<human>", "</human>", "<Human>", "<robot>", "<AI>", "<用户>",
    "<reserved_106>", "<dummy7>", "<ctrl99>", "<0x0A>", "<COMP0>", "<im_patch>", "<patch-3>",
    "<end-of-turn>", "<answer>", "<tool_response/>", "<longcat_user>", "<a.b>", "<speaker=1>",
    "<$end$>", "<#end#>", "<@end@>", "<%end%>", "<[PAD]>", "<\u2502im_end\u2502>",
    "<\u2581eos\u2581>", "\uff1ceos\uff1e", "<\uff45\uff4f\uff53>", "<search>", "<stop>", "<image>",
    "[EOT]", "[USER]", "[/USER]", "[BOT]", "[HL]", "[sPAD]", "[B_SYS]", "[unused9]", "[@BOS@]",
    "[|Human|]", "[\uff5cx\uff5c]", "[extra_id_3]", "[start_header_id]",
    "]<]start of image[>[", "]~turn]", "[e~[", ">>QUESTION<<", "|||EMAIL_ADDRESS|||",
    "\u25c1think\u25b7", "\u25c1/think\u25b7", "\u27e8bos\u27e9", "\u276eend\u276f",
]  # fmt: skip
ORDINARY = [
    "<!DOCTYPE html><html><head><title>T</title></head><body><h1>A</h1><br/><BR></body></html>",
    "<table><tr><td>1</td></tr></table>", '<a href="x_y">z</a>', "<!-- note -->", "<?php echo 1;",
    "<svg><g><path/></g></svg>", "<math><mrow><mi>x</mi><mo>=</mo></mrow></math>",
    "List<String>", "Map<String, List<Integer>>", "Foo<T>", "Pair<T1>", "useState<HttpClient>",
    "<https://a.example/b_c>", "<bob@mail.example>", "<mailto:bob@mail.example>",
    "if a<=b and c>d", "p < .05 > q", "x <- y", "a->b", "a<<b>>2", "array<3>", "<3", "<=>", "<>",
    "$a<b$ and $c>d$", "a[i]<b[j]", "a[0][i]", "m[i][j]", "row[user_id]", "f(x)[key_name]",
    "[x] done", "[ ] to do", "[1]", "[Note]", "[link](https://a.example)", "a || b", "| a | b |",
    "https://a.example/think", "and/or", "to /thinkers",
    "f <| x |> g", "p <|> q", "《红楼梦》", "【4】", "«mot»", "a > b >> c",
]  # fmt: skip

WRAPS = [
    "<{}>", "</{}>", "<{}/>", "<|{}|>", "<|/{}|>", "<\uff5c{}\uff5c>", "<|{}>", "<{}|>", "<_{}>",
    "<{}_x>", "<{}_0>", "<x:{}>", "<<{}>>", "<</{}>>", "<#{}#>", "<@{}@>", "<$_{}_$>", "[|{}|]",
    "[@{}@]", "\u25c1{}\u25b7", "\u25c1/{}\u25b7", "\uff1c{}\uff1e",
]  # fmt: skip
words = st.text(string.ascii_lowercase, min_size=2, max_size=12)
scripts = st.text(st.characters(categories=["Ll", "Lu", "Lo"]), min_size=1, max_size=8)
around = st.sampled_from(["", "a", " ", "\n", "<", ">", "[", "]", "(", "x_", "</p>", "[/x]"])


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("before", ["", "\n", ">", '"'])
@pytest.mark.parametrize("after", ["", " ", "Human"])
def test_a_marker_is_broken_by_a_space(marker: str, before: str, after: str) -> None:
    broken = harmless(before + marker + after)
    assert marker not in broken
    assert broken.replace(" ", "") == (before + marker + after).replace(" ", "")


@pytest.mark.parametrize("text", ["/think", "/no_think", "Yes. /no_think", "/nothink\n"])
def test_a_word_that_switches_thinking_is_broken(text: str) -> None:
    assert harmless(text) == text.replace("/", "/ ")


@pytest.mark.parametrize("text", ORDINARY)
def test_what_is_written_in_prose_html_or_code_stays(text: str) -> None:
    assert harmless(text) == text


@settings(deadline=None)
@given(wrap=st.sampled_from(WRAPS), name=words | scripts, before=around, after=around)
@example("<{}>", "role", "a", "HUMAN")
def test_any_name_in_a_marker_s_shape_is_broken(
    wrap: str, name: str, before: str, after: str
) -> None:
    marker = wrap.format(name)
    assume(not is_element(marker) and not is_type_argument(before, marker))
    text = before + marker + after
    broken = harmless(text)
    assert marker not in broken
    assert broken.replace(" ", "") == text.replace(" ", "")


@settings(deadline=None)
@given(
    wrap=st.sampled_from(["[{}]", "[/{}]", "[{}_X]", "[{}_7]", "[g{}]", ">>{}<<", "|||{}|||"]),
    name=st.text(string.ascii_uppercase, min_size=2, max_size=12),
    before=around,
)
def test_capitals_in_a_marker_s_shape_are_broken(wrap: str, name: str, before: str) -> None:
    marker = wrap.format(name)
    assert marker not in harmless(before + marker)


@settings(deadline=None)
@given(text=st.text(st.sampled_from('<>[]|/_~@aBé1 ="\u25c1\u25b7\n'), max_size=40))
def test_a_text_only_gains_spaces_and_gains_them_once(text: str) -> None:
    once = harmless(text)
    assert once.replace(" ", "") == text.replace(" ", "")
    assert harmless(once) == once


@settings(deadline=None)
@given(text=st.text(max_size=60))
def test_escaped_text_stays(text: str) -> None:
    escaped = html.escape(text.translate({ord(c): None for c in "[]>|\u25c1\u27e8\uff1c"}))
    assert harmless(escaped) == escaped.encode("utf-8", "replace").decode("utf-8")


def test_a_page_is_read_as_before() -> None:
    page = "<ul><li><b>One</b></li><li>Two<br></li></ul><p>A &lt; B</p>"
    assert harmless(page) == page
    assert tags(page) == ["ul", "li", "b", "li", "br", "p"]


def test_a_long_text_of_beginnings_takes_no_time_that_grows_with_its_square() -> None:
    for piece in ("<", "<a", "[", "[A", "<|", ">>A", "\u25c1a", "<a@", "</", "\uff1ca"):
        harmless(piece * 100_000)


def tags(page: str) -> list[str]:
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            found.append(tag)

    Reader().feed(page)
    return found


def is_element(marker: str) -> bool:
    """Whether a generated name happens to be an element's."""
    return marker.startswith("<") and marker.strip("</>").lower() in ELEMENTS


def is_type_argument(before: str, marker: str) -> bool:
    """Whether a generated name stands where `List<String>` has its argument."""
    return before[-1:].isalnum() and marker[1:2].isascii() and marker[1:2].isupper()
