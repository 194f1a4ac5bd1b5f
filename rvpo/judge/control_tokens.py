"""Control tokens of chat models, known by their shape in any text.

Tokenizers of served judges read such markers even in the middle of a text. No list of models can
be complete, but what they are made of is: one unbroken run of characters between a pair of
brackets. What people write in the same shape is left alone where a standard says so (the elements
of HTML, SVG and MathML) or where its place does (a type argument, a subscript). A marker is marked
and not destroyed: one space after its first character, which a reader reads over.
"""

from __future__ import annotations

import re
from typing import Final

# WHATWG HTML with its obsolete elements, SVG 2 and MathML Core: what can stand without attributes.
# Those that models have as markers too (s, mask, img, image, audio, video, search, stop) are out.
ELEMENTS: Final = frozenset(
    """
    a abbr acronym address applet area article aside b base bdi bdo bgsound big blink blockquote
    body br button canvas caption center cite code col colgroup data datalist dd del details dfn
    dialog dir div dl dt em embed fieldset figcaption figure font footer form frame frameset h1 h2
    h3 h4 h5 h6 head header hgroup hr html i iframe input ins kbd label legend li link main map mark
    marquee menu meta meter nav nobr noembed noframes noscript object ol optgroup option output p
    param picture pre progress q rp rt ruby samp script section select slot small source span strike
    strong style sub summary sup table tbody td template textarea tfoot th thead time title tr track
    tt u ul var wbr
    animate circle clippath defs desc ellipse filter foreignobject g line lineargradient marker
    metadata path pattern polygon polyline radialgradient rect svg symbol text textpath tspan use
    math merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms mspace
    msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover semantics annotation
    """.split()  # noqa: SIM905 (one name a line would be a page)
)

# Names that are markers even where a type argument may stand.
_ROLES: Final = r"s|bos|eos|pad|unk|user|human|assistant|system|bot|robot|ai|model|tool|think"

# Each alternative is the empty place after a marker's first character.
_MARKER: Final = re.compile(
    rf"""
    # <|name, also without its end; <name> in any script, with one letter or more, save elements,
    # type arguments (List<String>, Map<K>), addresses, and runs that hold what only code has.
      (?<=<)(?=[|\uff5c][^\s>])
    | (?<=[<\uff1c\ufe64])
      (?=/?[^\s<>/=!?(){{}};,&"'`][^\s<>\uff1c\ufe64(){{}};,&"'`]{{0,127}}[>\uff1e\ufe65])
      (?=[^\s<>]{{0,127}}[^\W\d])
      (?![^\s<>]{{0,127}}(?:://|\w@\w))
      (?!(?ia:/?(?:{"|".join(sorted(ELEMENTS))})/?>))
      (?!(?<=[A-Za-z0-9_]<)(?a:(?!(?i:{_ROLES})>)[A-Z](?:\d|[A-Za-z0-9]*[a-z][A-Za-z0-9]*)?>))
    # [NAME], [gMASK], [|name|], [@NAME@]; [start_name] and [name7] where nothing is subscripted.
    | (?<=\[)(?=/?[a-z]?[A-Z][A-Z0-9_]+\])
    | (?<=\[)(?=([|\uff5c@\#$%])[^\s\[\]]{{1,127}}\1\])
    | (?<=\[)(?=/?(?:unused_?\d+|extra_id_\d+|(?:start|end)_header_id)\])
    | (?<![\w)\]]\[)(?<=\[)(?=/?(?:[a-z]+(?:_[a-z0-9]+)+|[a-z]+\d+|{_ROLES}|mask|cls|sep)\])
    # Brackets turned around: ]~b], ]~!b[, [e~[, ]<]name[>[
    | (?<=\])(?=~!?\w+[\[\]])
    | (?<=\])(?=<\])
    | (?<=\[)(?=\w+~\[)
    # Words that switch a judge's thinking, where they stand for themselves: /think, /no_think.
    | (?<!\S/)(?<=/)(?=(?:no_?)?think\b(?!>))
    # >>NAME<<, |||NAME|||, and pairs that no keyboard has.
    | (?<=>)(?=>[A-Z][A-Z0-9_]+<<)
    | (?<=\|)(?=\|\|[A-Z][A-Z0-9_]+\|\|\|)
    | (?<=[\u25c1\u25c0\u25c2\u27e8\u27ea\u276e\u2770\u29fc])
      (?=/?[^\s]{{1,127}}[\u25b7\u25b6\u25b8\u27e9\u27eb\u276f\u2771\u29fd])
    """,
    re.VERBOSE,
)

# The names of what ends a turn or a text: </s>, <|im_end|>, [EOS], and their likes.
_LAST: Final = re.compile(r"[<\[\uff1c][|\uff5c]?(/?[\w~\u2581-]{1,40})[|\uff5c]?[>\]\uff1e]\s*\Z")
_ENDS: Final = frozenset("/s eos eot eod eom eop end endoftext endofturn return pad".split())  # noqa: SIM905
_OF_WHAT: Final = frozenset(
    "of the im id token turn text sentence message msg assistant response document role".split()  # noqa: SIM905
)
_LONGEST_END: Final = 64  # characters, white space after it included


def without_end_of_turn(text: str) -> str:
    """The text without the tokens at its end that only say that a turn or the text is over."""
    end = len(text)
    while (token := _LAST.search(text[max(0, end - _LONGEST_END) : end])) is not None:
        words = set(re.split(r"[_~\u2581-]+", token[1].casefold()))
        if not words & _ENDS or not words <= _ENDS | _OF_WHAT:
            break
        end -= len(token[0])
    return text[:end]


def harmless(text: str) -> str:
    """The text with a space inside each marker that a tokenizer could take for a control token.

    Half a surrogate pair, which no UTF-8 can hold, becomes a question mark. All else is as it was.
    """
    return _MARKER.sub(" ", text.encode("utf-8", "replace").decode("utf-8"))
