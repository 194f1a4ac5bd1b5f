"""What looks like a secret, by its name or its form, and so must be neither stored nor shown."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from rvpo.config.variable import is_variable

Path = tuple[str | int, ...]

_OWNERS: Final = (
    "api|access|auth|oauth2?|bearer|secret|private|account|admin|master|signing|encryption|license"
    "|service|subscription|deploy|personal|refresh|login|hf|hub|huggingface|github|gitlab|git|slack"
    "|wandb|openai|anthropic|claude|azure|google|gemini|mistral|groq|cohere|nvidia|deepseek|xai"
    "|openrouter|together|fireworks|aws|gcp|serper|tavily|brave|perplexity|replicate|judge"
)
_NAME: Final = re.compile(
    rf"""
    (?: .*(?:password|passwd|passphrase|passcode|pwd|secret|credential|authorization)s?
      | .*api_?keys? | (?:.*_)?(?:pass|auth|jwt|bearer|cookies?)
      | token | (?:.*_)?(?:(?:{_OWNERS})_?(?:key|token)s?|session_?tokens?|access_key_id)
    )
    (?:_(?:value|text|string|header))? _?\d*
    """,
    re.VERBOSE,
)
"""Names whose values are secrets whatever they are; `max_tokens` and `primary_key` are none."""
_MAYBE_NAME: Final = re.compile(
    r"(?:.*_)?(?:\w*key|\w*token|auth\w*|cred\w*|pat|sas|sig|signature|session|login|code)s?_?\d*"
)
"""Names whose values are secrets where they look drawn at random."""

# Prefixes by which vendors let keys be found, and how much follows at least.
_FORMS: Final = r"""
    (?<![A-Za-z0-9])(?:
        (?:sk|pplx|xai|csk|pa|tvly|fc|key|ms)-(?=[\w-]*[\dA-Z])[\w-]{16,}
      | (?:sk|gsk|r8|fw|rk|pk|jina|lin_api|ntn|secret|esecret|figd|dop_v1|doo_v1|tgp_v1|wandb_v1)
        _(?=\w*\d)\w{16,}
      | hf_[A-Za-z0-9]{20,} | hf_(?=\w*\d)\w{16,} | api_org_\w{16,}
      | nvapi-[\w-]{10,} | AIza[\w-]{20,} | ya29\.[\w-]{10,} | GOCSPX-[\w-]{10,}
      | gh[opsur]_\w{10,} | github_pat_\w{10,}
      | gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent)-[\w-]{10,}
      | xox[a-z]-(?=[\w-]*\d)[\w-]{8,} | xapp-(?=[\w-]*\d)[\w-]{10,}
      | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,} | npm_[A-Za-z0-9]{20,} | pypi-[\w-]{20,}
      | dckr_(?:pat|oat)_[\w-]{10,} | hv[sb]\.[\w-]{16,} | dapi[0-9a-f]{24,} | PMAK-[\w-]{20,}
      | SG\.[\w-]{10,}\.[\w-]{10,} | shp(?:at|ca|pa|ss)_\w{16,} | whsec_[\w+/=]{16,}
      | ATATT3[\w=-]{16,} | \d{8,10}:AA[\w-]{30,} | AGE-SECRET-KEY-\w{16,}
      | eyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?
    )
  | -----BEGIN[ ](?:[A-Z0-9]+[ ])*PRIVATE[ ]KEY
  | hooks\.slack\.com/services/\w+/\w+/\w+
  | (?<![\w+.-])[A-Za-z][\w+.-]{0,30}://[^\s/?\#@:]*:[^\s/?\#@]+@ | https?://[^\s/?\#@]+@
"""
_FORM: Final = re.compile(_FORMS, re.VERBOSE)
_SHOWN: Final = re.compile(
    # Dots and stars: servers repeat keys with a part hidden.
    rf"{_FORMS} | (?<![A-Za-z0-9])(?:(?:sk|pplx|xai|nvapi)-[\w*.-]{{8,}}|(?:gsk|sk|r8)_\w{{16,}})"
    r" | Bearer\s+\S+",
    re.VERBOSE,
)
_SCHEME: Final = re.compile(r"(?:Bearer|Basic|Token|ApiKey)\s+\S+", re.IGNORECASE)
_ASSIGNED: Final = re.compile(
    r"(?<![\w.-])(?P<dashes>--?)?(?P<name>[A-Za-z][\w.-]*)(?P<sign>=|:\s+|\s+)(?=(?P<value>[^\s&;,'\"]+))"
)
_BASE64: Final = re.compile(r"[A-Za-z0-9_+/-]{24,}={0,2}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RUN: Final = re.compile(r"[A-Za-z0-9+]{16,}")
_LONGEST_NAME: Final = 200
_PLACEHOLDERS: Final = ("<", "{", "[", "$", "*", "(")


def without_secrets(document: Any) -> Any:
    """Settings as they are, if none of them is a secret by its name or by the form of its text.

    Raises:
        ValueError: some are; a sentence for each place, without what stands there.
    """
    problems = [f"{_dotted(path)}: {_refusal(path)}" for path in _places(document, ())]
    if problems:
        raise ValueError("\n".join(problems))
    return document


def masked(text: str) -> str:
    """The text with everything replaced that has the form of a key."""
    return _SHOWN.sub("[key]", text)


def mentions_secret(text: str) -> bool:
    """Whether some word of a text that may be of any form names a secret."""
    return any(map(is_secret_name, re.findall(r"[\w-]+", text)))


def holds_secret(value: Any) -> bool:
    """Whether text, or a table or list at any depth, holds what looks like a key or is named so.

    Stricter than `places_of_secrets`: for what is sent to others, `{variable: NAME}` included.
    """
    match value:
        case str():
            return _SHOWN.search(value) is not None or _is_secret(value)
        case dict():
            return any(
                is_secret_name(name) or holds_secret(name) or holds_secret(entry)
                for name, entry in value.items()
            )
        case list() | tuple():
            return any(map(holds_secret, value))
        case _:
            return False


def is_secret_name(name: Any) -> bool:
    """`api_key`, `clientSecret` and `X-Auth-Token` are; `max_tokens` and `tokenizer` are not."""
    return isinstance(name, str) and _NAME.fullmatch(_snake(name)) is not None


def _refusal(path: Path) -> str:
    instead = (
        "write {variable: NAME} in its place"
        if "arguments" in path
        else "name that in the endpoint's key_variable"
        if path[0] == "judge"
        else "leave it out here"
    )
    return (
        "holds what looks like a password or key, which would be stored with the run; put it into "
        f"an environment variable, and {instead}"
    )


def _places(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        if _is_secret(value) or (
            path and _is_maybe_name(_last_name(path)) and _looks_random(value)
        ):
            yield path
    elif isinstance(value, Mapping):
        yield from _places_in_table(value, path)
    elif isinstance(value, list | tuple | set | frozenset):
        items = list(value)
        if len(items) == 2 and is_secret_name(items[0]) and not _is_word(items[1]):
            yield path
            return
        for number, entry in enumerate(items):
            option = items[number - 1] if number else None
            if isinstance(option, str) and option.startswith("-") and is_secret_name(option[1:]):
                yield (*path, number)
            else:
                yield from _places(entry, (*path, number))


def _places_in_table(table: Mapping[Any, Any], path: Path) -> Iterator[Path]:
    named = [table[n] for n in ("name", "key", "header") if n in table]  # {name: …, value: …}
    if "value" in table and any(map(is_secret_name, named)) and _is_stored(table["value"], path):
        yield (*path, "value")
    for name, entry in table.items():
        inner = (*path, str(name))
        if _is_secret(str(name)):
            yield (*path, "[key]")
        elif is_secret_name(name) and not _names_by_user(path):
            if _is_stored(entry, inner):
                yield inner
        else:
            yield from _places(entry, inner)


def _names_by_user(path: Path) -> bool:
    """Whether entries of the table have names that users give to rewards, criteria and columns."""
    match path:
        case ("rewards",) | ("rewards", _, "criteria") | ("data", _, "types"):
            return True
    return False


def _is_stored(value: Any, path: Path) -> bool:
    """Whether what stands under the name of a secret can be one: no blank, yes, no or variable."""
    if is_variable(value):
        return "arguments" not in path
    if isinstance(value, Mapping):
        return any(_is_stored(entry, path) for entry in value.values())
    if isinstance(value, list | tuple | set):
        return any(_is_stored(entry, path) for entry in value)
    if isinstance(value, int | float) and _snake(_last_name(path)).endswith("pass"):
        return False  # of `pass` and `fail`
    return value is not None and not isinstance(value, bool) and value != ""


def _is_secret(text: str) -> bool:
    """Whether a text is or holds a key by its form, or sets a secret by its name."""
    if _FORM.search(text) or _SCHEME.fullmatch(text.strip()):
        return True
    if any(map(_assigns_secret, _ASSIGNED.finditer(text))):
        return True
    return any(_FORM.search(_decoded(part)) for part in _BASE64.findall(text))


def _assigns_secret(match: re.Match[str]) -> bool:
    # As in a query, a list of options, or a header; prose such as "a token is" assigns nothing.
    name, sign, value = match["name"], match["sign"], match["value"]
    if value.startswith(_PLACEHOLDERS):
        return False
    if sign == "=" or (sign.isspace() and match["dashes"]):
        known = is_secret_name(name) or (name.lower() in ("key", "sig", "code") and sign == "=")
        return (known and len(value) > 3) or (_is_maybe_name(name) and _looks_random(value))
    is_whole = (match.start(), match.end("value")) == (0, len(match.string.rstrip()))
    return sign.startswith(":") and is_whole and is_secret_name(name)


def _last_name(path: Path) -> str:
    return next((part for part in reversed(path) if isinstance(part, str)), "")


def _is_maybe_name(name: str) -> bool:
    return _MAYBE_NAME.fullmatch(_snake(name)) is not None


def _is_word(value: Any) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"[a-z ]*", value) is not None


def _looks_random(text: str) -> bool:
    """Whether letters and digits change places as in no word: hexadecimal, base64, UUIDs."""
    if _UUID.search(text):
        return True
    for run in _RUN.findall(text):
        kinds = ["digit" if c.isdigit() else "upper" if c.isupper() else "lower" for c in run]
        changes = sum(a != b for a, b in pairwise(kinds))
        if "digit" in kinds and len(set(kinds)) > 1 and changes >= 5:
            return True
    return False


def _decoded(text: str) -> str:
    padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
    try:
        return base64.urlsafe_b64decode(padded.replace("+", "-").replace("/", "_")).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _snake(name: str) -> str:
    spaced = re.sub(
        r"(?<=[a-z0-9])(?=[A-Z])", "_", unicodedata.normalize("NFKC", name[:_LONGEST_NAME])
    )
    return re.sub(r"[\W_]+", "_", spaced).strip("_").lower()


def _dotted(path: Path) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return masked(text.removeprefix("."))
