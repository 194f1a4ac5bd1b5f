"""The 25 instructions of IFEval, each a check of a text.

Source: Zhou et al., arXiv:2311.07911, table 4. They are written anew after the paper's and the
published data's description. Two things differ in rare cases: sentences are split by a rule in
place of NLTK's model, and a keyword is a text in place of a pattern.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from rvpo.rewards.ifeval.text import divided, paragraphs, sentences, tokens, words
from rvpo.rewards.language import language_of

Check = Callable[..., bool]
_OPTIONS: Final = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_FENCE: Final = re.compile(r"\A```(?:json)?\s*\n?(.*?)\n?```\Z", re.DOTALL | re.IGNORECASE)


def counted(count: int, relation: str | None, number: Any, slack: int = 0) -> bool:
    """A count in its relation to a number.

    Args:
        relation: `at least`, `less than`, `at most`, `more than`, `around` or `exactly`, which is
            meant where there is none.
        slack: distance that `around` allows.

    Raises:
        ValueError: there is no such relation.
    """
    wanted = int(number)
    match (relation or "exactly").strip().lower():
        case "at least":
            return count >= wanted
        case "less than":
            return count < wanted
        case "at most":
            return count <= wanted
        case "more than":
            return count > wanted
        case "around":
            return abs(count - wanted) <= slack
        case "exactly" | "equal to":
            return count == wanted
    raise ValueError(f"{relation!r} is no relation of numbers")


def _has(text: str, word: str) -> int:
    return len(re.findall(re.escape(str(word)), text, re.IGNORECASE))


def _existence(text: str, keywords: Sequence[str]) -> bool:
    return all(_has(text, each) for each in _several(keywords))


def _frequency(text: str, keyword: str, frequency: int, relation: str | None = None) -> bool:
    return counted(_has(text, keyword), relation, frequency)


def _forbidden(text: str, forbidden_words: Sequence[str]) -> bool:
    found = (rf"(?<!\w){re.escape(str(each))}(?!\w)" for each in _several(forbidden_words))
    return not any(re.search(each, text, re.IGNORECASE) for each in found)


def _letters(text: str, letter: str, let_frequency: int, let_relation: str | None = None) -> bool:
    return counted(text.lower().count(str(letter).lower()), let_relation, let_frequency)


def _language(text: str, language: str) -> bool:
    return language_of(text) in (None, str(language).lower())


def _sentences(text: str, num_sentences: int, relation: str | None = None) -> bool:
    return counted(len(sentences(text)), relation, num_sentences, slack=1)


def _paragraphs(text: str, num_paragraphs: int) -> bool:
    parts = divided(text, r"\*[ ]?\*[ ]?\*")
    return parts is not None and len(parts) == int(num_paragraphs)


def _words(text: str, num_words: int, relation: str | None = None) -> bool:
    slack = max(round(int(num_words) / 10), 1)
    return counted(len(words(text)), relation, num_words, slack)


def _first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    parts, at = paragraphs(text), int(nth_paragraph)
    if len(parts) != int(num_paragraphs) or not 1 <= at <= len(parts):
        return False
    first = tokens(parts[at - 1])[:1]
    return bool(first) and first[0].lower() == str(first_word).strip().lower()


def _placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[[^\[\]\n]+\]", text)) >= int(num_placeholders)


def _postscript(text: str, postscript_marker: str) -> bool:
    letters = re.findall(r"[a-z]", str(postscript_marker).lower())
    pattern = r"\.?\s?".join(letters) + r"\b\.?:?\s*\w"
    return re.search(rf"^[^\S\n]*{pattern}", text, re.IGNORECASE | re.MULTILINE) is not None


def _bullets(text: str, num_bullets: int) -> bool:
    return len(re.findall(r"^[^\S\n]*(?:\*[^*]|-[^-]).*$", text, re.MULTILINE)) == int(num_bullets)


def _constrained(text: str, options: Sequence[str] = _OPTIONS) -> bool:
    return any(str(each).lower() in text.lower() for each in options)


def _highlighted(text: str, num_highlights: int) -> bool:
    found = re.findall(r"\*\*[^\n*]+\*\*|\*[^\n*]+\*", text)
    return sum(bool(each.strip("* ")) for each in found) >= int(num_highlights)


def _sections(text: str, section_spliter: str, num_sections: int) -> bool:
    mark = re.escape(str(section_spliter).strip())
    return len(re.findall(rf"(?:^|\W){mark}\s?\d+", text)) >= int(num_sections)


def _json(text: str) -> bool:
    text = text.strip()
    fenced = _FENCE.match(text) if text.endswith("```") else None
    try:
        json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str) -> bool:
    ended = (line[: line.rfind(">>") + 2] for line in text.split("\n"))
    titles = (title for line in ended for title in re.findall(r"<<.+?>>", line, re.DOTALL))
    return any(each.strip("<> ") for each in titles)


def _two(text: str) -> bool:
    parts = divided(text, r"\*{6}")
    return parts is not None and len(parts) == 2 and parts[0] != parts[1]


def _repeat(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(str(prompt_to_repeat).strip().lower())


def _end(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(str(end_phrase).strip().lower())


def _quotation(text: str) -> bool:
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def _capitals(text: str, capital_frequency: int, capital_relation: str | None = None) -> bool:
    count = sum(each.isupper() for each in tokens(text))
    return counted(count, capital_relation, capital_frequency, slack=1)


def _upper(text: str) -> bool:
    return text.isupper() and _language(text, "en")


def _lower(text: str) -> bool:
    return text.islower() and _language(text, "en")


def _no_comma(text: str) -> bool:
    return "," not in text


def _several(value: Any) -> Sequence[Any]:
    """A list; a text is a list of one."""
    return [value] if isinstance(value, str) else list(value)


CHECKS: Final[Mapping[str, Check]] = {
    "keywords:existence": _existence,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden,
    "keywords:letter_frequency": _letters,
    "language:response_language": _language,
    "length_constraints:number_sentences": _sentences,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_words": _words,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "detectable_content:number_placeholders": _placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:number_highlighted_sections": _highlighted,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:json_format": _json,
    "detectable_format:title": _title,
    "combination:two_responses": _two,
    "combination:repeat_prompt": _repeat,
    "startend:end_checker": _end,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capitals,
    "change_case:english_capital": _upper,
    "change_case:english_lowercase": _lower,
    "punctuation:no_comma": _no_comma,
}
"""A check of each instruction, by its name in the data."""
