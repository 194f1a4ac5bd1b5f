"""The handshake by which a rank and a judge worker prove that they belong to one run.

Both know the run's token and neither sends it. The rank begins with a nonce, the worker answers
with another and an HMAC-SHA256 over both, and the rank with one of its own over both. Each names
its side and the port, so that neither can be handed on as the other's, or to another worker.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from typing import Final, Literal

BEAT_S: Final = 2.0
"""Time between signs of life of a worker, in seconds."""
SILENCE_S: Final = 30.0
"""Longest silence of a worker before it counts as lost, in seconds: machines are busy."""
PATIENCE_S: Final = 10.0
"""Longest time for either side to prove itself, in seconds."""

_LONGEST: Final = 1024  # bytes of a line from a rank
_LONGEST_REPLY: Final = 2**16
_NONCE: Final = 32  # bytes

Side = Literal["rank", "worker"]


class StrangerError(ConnectionError):
    """The other end does not know the run's token."""


class GivenUpError(Exception):
    """The run's own word, in a sentence, that this worker will never answer again."""


async def greet(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    token: str,
    port: int,
    patience_s: float = PATIENCE_S,
) -> None:
    """A rank's part, before it sends anything else.

    Raises:
        GivenUpError: the worker is gone for good.
        StrangerError: the other side gave no proof, or a wrong one.
        ConnectionError: it left before it gave one.
        TimeoutError: it said nothing.
    """
    mine = secrets.token_hex(_NONCE)
    _say(writer, {"nonce": mine})
    async with asyncio.timeout(patience_s):
        reply = await _hear(reader, _LONGEST_REPLY)
        if "error" in reply:
            _check(reply.get("proof", ""), _proof(token, "obituary", port, reply["error"]))
            raise GivenUpError(reply["error"])
        theirs = reply.get("nonce", "")
        _check(reply.get("proof", ""), proof(token, "worker", port, mine, theirs))
        _say(writer, {"proof": proof(token, "rank", port, mine, theirs)})
        await writer.drain()


async def admit(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, port: int
) -> None:
    """A worker's part, before it reads anything else.

    Raises:
        StrangerError: the other side gave no proof, or a wrong one.
        ConnectionError: it left before it gave one.
        TimeoutError: it took too long.
    """
    async with asyncio.timeout(PATIENCE_S):
        theirs = (await _hear(reader, _LONGEST)).get("nonce", "")
        if len(theirs) != 2 * _NONCE:
            raise StrangerError
        mine = secrets.token_hex(_NONCE)
        _say(writer, {"nonce": mine, "proof": proof(token, "worker", port, theirs, mine)})
        reply = await _hear(reader, _LONGEST)
        _check(reply.get("proof", ""), proof(token, "rank", port, theirs, mine))


def proof(token: str, side: Side, port: int, rank_nonce: str, worker_nonce: str) -> str:
    """Proof that `side` knows the token, in hexadecimal."""
    return _proof(token, side, port, rank_nonce, worker_nonce)


def obituary(token: str, port: int, sentence: str) -> bytes:
    """The line that tells whoever connects why this worker is gone for good."""
    # A text much longer than a sentence would not be read to its end.
    sentence = sentence[: _LONGEST_REPLY // 16]
    message = {"error": sentence, "proof": _proof(token, "obituary", port, sentence)}
    return json.dumps(message).encode() + b"\n"


def _proof(token: str, *said: str | int) -> str:
    return hmac.digest(token.encode(), json.dumps(said).encode(), "sha256").hex()


def _check(given: str, wanted: str) -> None:
    if not hmac.compare_digest(given.encode(errors="replace"), wanted.encode()):
        raise StrangerError


def _say(writer: asyncio.StreamWriter, message: dict[str, str]) -> None:
    writer.write(json.dumps(message).encode() + b"\n")


async def _hear(reader: asyncio.StreamReader, longest: int) -> dict[str, str]:
    """One short line: an object of texts."""
    line = bytearray()
    while not line.endswith(b"\n"):
        # Byte by byte: what comes after the line is not the handshake's to take.
        piece = await reader.read(1)
        if not piece:
            raise ConnectionResetError("the other side closed the connection")
        line += piece
        if len(line) > longest:
            raise StrangerError
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise StrangerError from error
    if not isinstance(message, dict) or not all(isinstance(v, str) for v in message.values()):
        raise StrangerError
    return message
