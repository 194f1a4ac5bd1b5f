"""Names that mean a secret, in short, in any spelling and in the languages of many."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

_JUDGES: Final = ("judge", "judges")


def is_of_endpoints(path: Sequence[Any]) -> bool:
    """True for a setting of a judge or a classifier: misplaced texts and tables there may hold the
    key of an endpoint, so that no sentence repeats them."""
    return "classifier" in path or any(name in _JUDGES for name in path[:1])


_LONGEST: Final = 200
# Letters that look like Latin ones, of Cyrillic and Greek; Turkish, Polish and Danish letters that
# have no accent to take off.
_LOOKALIKES: Final = str.maketrans("аеорсухіѕјѵαορνιıłøđ", "aeopcyxisjvaopviilod")


def readable(text: str) -> str:
    """The text as it reads: without what is invisible, and with one form for each character."""
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKC", text) if not _is_invisible(c))


def snake(name: str) -> str:
    """`clientSecret` and `Client-Secret` as `client_secret`; without accents."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", readable(name[:_LONGEST]))
    return re.sub(r"[\W_]+", "_", _without_accents(spaced.casefold())).strip("_")


def _is_invisible(char: str) -> bool:
    kind = unicodedata.category(char)
    is_filler = char in "\u034f\u115f\u1160\u3164\uffa0"
    is_selector = "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"
    return kind == "Cf" or is_filler or is_selector


def _without_accents(text: str) -> str:
    parts = unicodedata.normalize("NFKD", text)
    bare = "".join(c for c in parts if not unicodedata.combining(c))
    return bare.translate(_LOOKALIKES)


def _any_of(words: Iterable[str]) -> str:
    return "|".join(sorted(map(snake, words), key=len, reverse=True))


_VENDORS: Final = (
    "hf|huggingface|github|gitlab|slack|discord|telegram|wandb|comet|neptune|langsmith"
    "|langfuse|openai|anthropic|claude|azure|google|gemini|mistral|groq|cohere|nvidia|deepseek"
    "|xai|openrouter|together|fireworks|dashscope|moonshot|zhipu|siliconflow|aws|gcp|serper"
    "|tavily|brave|exa|jina|voyage|perplexity|replicate|stripe|square|twilio|sendgrid|notion"
    "|kaggle|modal|runpod|pinecone|databricks|sourcegraph|sentry|datadog"
)
_OWNERS: Final = (
    "api|access|auth|oauth2?|bearer|secret|private|account|admin|master|signing|encryption|license"
    "|service|subscription|deploy|personal|refresh|login|judge|bot|webhook|functions|hub|git"
    rf"|{_VENDORS}"
)
# Long enough that whatever ends with them means them, as `datenbankpasswort` does.
_WORDS: Final = _any_of(
    [
        *("passwort", "kennwort", "losungswort", "zugangscode", "contraseña", "contrasenya"),
        *("mot de passe", "motdepasse", "palavra passe", "wachtwoord", "toegangscode", "lösenord"),
        *("passord", "adgangskode", "salasana", "jelszó", "lozinka", "pasvorto", "mật khẩu"),
        *("kata sandi", "пароль", "токен", "секрет", "συνθηματικό", "κωδικός πρόσβασης", "סיסמה"),
        *("كلمة المرور", "كلمة السر", "पासवर्ड", "密码", "密碼", "口令", "密钥", "密鑰", "令牌"),
        *("パスワード", "秘密鍵", "暗証番号", "비밀번호", "รหัสผ่าน"),
        *(
            "credenciales",
            "credenciais",
            "credenziali",
            "zugangsdaten",
            "identifiants de connexion",
        ),
    ]
)
_SHORT: Final = _any_of(
    [
        *("pw", "psw", "pswd", "passw", "passwrd", "pass", "auth", "jwt", "bearer", "cookie"),
        *("cookies", "cred", "creds", "otp", "totp", "mdp", "jeton", "senha", "segredo", "segreto"),
        *("secreto", "geheimnis", "hasło", "heslo", "geslo", "şifre", "ключ api", "api ключ"),
        *("cle api", "clave api", "clave secreta", "clave privada", "chave api", "chave secreta"),
        *("chiave api", "chiave segreta", "klucz api", "api schlüssel", "api密钥", "apiキー"),
        *("geheimer schlüssel", "clé secrète", "clé privée", "recovery code", "seed phrase"),
    ]
)
_NAME: Final = re.compile(
    rf"""
    (?: .*(?:password|pass_word|passwd|passphrase|pass_phrase|passcode|pwd|secret|credential
            |authorization)s?
      | .*api_?(?:key|tok|token)s? | .*(?:{_WORDS}) | (?:.*_)?(?:{_SHORT})
      | token | (?:.*_)?(?:(?:{_OWNERS})_?(?:key|token|tok)s?|session_?tokens?|access_key_id)
    )
    (?:_(?:value|text|string|header))? _?\d*
    """,
    re.VERBOSE,
)
"""Names whose values are secrets whatever they are; `max_tokens` and `primary_key` are none."""
_MAYBE: Final = re.compile(
    rf"(?:.*_)?(?:\w*key|\w*token|auth\w*|cred\w*|pat|sas|sig|signature|session|login|code|{_VENDORS}"
    r")s?_?\d*"
)
"""Names whose values are secrets where they look drawn at random."""
_WORDS_OF_MANY_MEANINGS: Final = _any_of(
    ["tok", "pin", "clave", "parola", "sandi", "geheim", "schlüssel", "sleutel", "ключ"]
)
_OFTEN: Final = re.compile(rf"(?:.*_)?(?:{_WORDS_OF_MANY_MEANINGS})_?\d*")
"""Words that mean a secret or something else: `tok` a tokenizer, `parola` a word."""


def is_secret_name(name: Any) -> bool:
    """`api_key`, `clientSecret` and `X-Auth-Token` are; `max_tokens` and `tokenizer` are not."""
    return isinstance(name, str) and _NAME.fullmatch(snake(name)) is not None


def is_maybe_name(name: str) -> bool:
    """True where a value below the name is a secret if it looks drawn at random."""
    return _MAYBE.fullmatch(snake(name)) is not None


def is_often_name(name: str) -> bool:
    """True where a value below the name is a secret unless it is a word, a path or a number."""
    return _OFTEN.fullmatch(snake(name)) is not None
