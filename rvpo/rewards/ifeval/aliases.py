"""The names that open-instruct gives to instructions and their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_N: Final = "N"
ALIASES: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "verify_keywords": ("keywords:existence", {"keyword_list": "keywords"}),
    "verify_keyword_frequency": ("keywords:frequency", {"word": "keyword", _N: "frequency"}),
    "validate_forbidden_words": ("keywords:forbidden_words", {}),
    "verify_letter_frequency": ("keywords:letter_frequency", {_N: "let_frequency"}),
    "validate_response_language": ("language:response_language", {}),
    "verify_sentence_constraint": (
        "length_constraints:number_sentences",
        {_N: "num_sentences", "quantifier": "relation"},
    ),
    "verify_paragraph_count": ("length_constraints:number_paragraphs", {_N: "num_paragraphs"}),
    "validate_word_constraint": (
        "length_constraints:number_words",
        {_N: "num_words", "quantifier": "relation"},
    ),
    "validate_paragraphs": (
        "length_constraints:nth_paragraph_first_word",
        {_N: "num_paragraphs", "i": "nth_paragraph"},
    ),
    "validate_placeholders": (
        "detectable_content:number_placeholders",
        {_N: "num_placeholders"},
    ),
    "verify_postscript": ("detectable_content:postscript", {}),
    "verify_bullet_points": ("detectable_format:number_bullet_lists", {_N: "num_bullets"}),
    "validate_choice": ("detectable_format:constrained_response", {}),
    "validate_highlighted_sections": (
        "detectable_format:number_highlighted_sections",
        {_N: "num_highlights"},
    ),
    "validate_sections": (
        "detectable_format:multiple_sections",
        {_N: "num_sections", "section_splitter": "section_spliter"},
    ),
    "validate_json_format": ("detectable_format:json_format", {}),
    "validate_title": ("detectable_format:title", {}),
    "validate_two_responses": ("combination:two_responses", {}),
    "validate_repeat_prompt": (
        "combination:repeat_prompt",
        {"original_prompt": "prompt_to_repeat"},
    ),
    "validate_end": ("startend:end_checker", {}),
    "validate_quotation": ("startend:quotation", {}),
    "validate_frequency_capital_words": (
        "change_case:capital_word_frequency",
        {_N: "capital_frequency", "quantifier": "capital_relation"},
    ),
    "validate_uppercase": ("change_case:english_capital", {}),
    "validate_lowercase": ("change_case:english_lowercase", {}),
    "validate_no_commas": ("punctuation:no_comma", {}),
}
"""(name in IFEval, its names of arguments that differ), as the rows of RLVR-IFeval have them
(arXiv:2411.15124)."""
