"""Tools of a server that speaks the Model Context Protocol.

https://modelcontextprotocol.io/specification, through its own SDK for Python.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shlex
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TextIO, cast

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from rvpo.environments.answering import CallResult, answered, failed, refusal, shortened
from rvpo.environments.environment import ToolFailed, WorldReply
from rvpo.environments.environment_config import EnvironmentConfig
from rvpo.environments.mcp_connection import McpConnection
from rvpo.environments.tool_calls import ToolCall
from rvpo.errors import ConfigError
from rvpo.fields import FilePath, PositiveInt
from rvpo.runtime.extras import Need, require
from rvpo.runtime.tied import tied
from rvpo.runtime.variable import filled, is_variable
from rvpo.types import Message, Prompt

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult, Tool

_WITHIN: Final = 0.9
"""Share of a turn's seconds that one call may take, so that a tool which hangs is told from a world
that does."""
_LAST_WORDS: Final = 300
"""Characters of what a server wrote to its stderr that a sentence ends with."""


def _address(value: str) -> str:
    if not re.match(r"https?://.", value):
        raise ValueError(f"must begin with http:// or https://, got {value!r}")
    return value


def _variable(value: Any) -> Any:
    if not is_variable(value):
        raise ValueError(
            "must be {variable: NAME}, with the environment variable that holds the header's "
            f"value, in capitals, got {'a text' if isinstance(value, str) else 'something else'}"
        )
    return value


class McpConfig(EnvironmentConfig):
    """Tools of an MCP server; an episode is over with the first turn that calls none."""

    name: Literal["mcp"] = "mcp"
    command: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Program and arguments of a server that speaks over stdin and stdout. It ends with the run,
    even one that is killed (on Linux); what it starts itself ends as it sees to that."""
    url: Annotated[str, AfterValidator(_address)] | None = None
    """Address of a server that runs already, by streamable HTTP, as http://127.0.0.1:8000/mcp; in
    place of `command`."""
    variables: tuple[str, ...] = ()
    """Environment variables that the server is given besides PATH, HOME and a few like them."""
    headers: Mapping[str, Annotated[dict[str, str], BeforeValidator(_variable)]] = {}
    """HTTP headers. The value of each is `{variable: NAME}`, what the environment holds under that
    name, so that no key is stored with the run."""
    shared: bool = False
    """True: one session for all episodes of a rank, right for a server that keeps nothing between
    calls. False: one for each episode, opened by its first call, so that what an episode left in
    the server reaches no other; with `command` that is a process each."""
    result_characters: PositiveInt = 20_000
    """Characters of a result that the policy is told; the rest is cut off."""
    log: FilePath | None = None
    """File behind whose end servers write their stderr; left out, a failure's sentence alone has
    its last lines."""

    @model_validator(mode="after")
    def _one_server(self) -> Self:
        if (self.command is None) == (self.url is None):
            given = "neither" if self.url is None else "both"
            raise ValueError(
                f"needs either a command, which starts a server, or the url of one, got {given}"
            )
        if self.command is None and (self.variables or self.log):
            raise ValueError("variables and log are for a server with a command, not with a url")
        if self.url is None and self.headers:
            raise ValueError("headers are for a server with a url; a command is given variables")
        return self

    def open(self) -> McpTools:
        """The server's tools, asked of it once.

        Raises:
            ConfigError: the SDK is not installed, a variable is not set, or the server does not
                start, or lists no tool.
        """
        require("environment.name=mcp", Need("mcp"))
        for name in self.variables:
            if not os.environ.get(name):
                raise ConfigError(
                    f"environment: there is no environment variable {name}; write "
                    f"`export {name}=...` before the run"
                )
        headers = filled(dict(self.headers), "environment.headers")
        logging.getLogger("mcp").addHandler(logging.NullHandler())  # else it writes to stderr
        return McpTools(self, headers)


class McpTools:
    """See `rvpo.environments.environment.Environment`.

    Args:
        headers: HTTP headers with their values.

    Attributes:
        seconds: time that one call may take.

    Raises:
        ConfigError: see `McpConfig.open`.
    """

    def __init__(self, config: McpConfig, headers: Mapping[str, str]) -> None:
        self._config = config
        self._headers = dict(headers)
        self.seconds = config.seconds * _WITHIN
        self.most_characters = config.result_characters
        self._log = _log(config)
        self._room = asyncio.Semaphore(config.at_once)
        self._open: set[McpConnection] = set()
        self._shared: McpConnection | None = None
        try:
            listed = asyncio.run(self._listed())
        except BaseException:
            self._log.close()
            raise
        self.names = tuple(tool.name for tool in listed)
        self.tools: tuple[Mapping[str, Any], ...] = tuple(map(_as_openai_has_it, listed))

    def session(self, prompt: Prompt, seed: int) -> McpSession:
        """See `Environment.session`."""
        return McpSession(self)

    async def close(self) -> None:
        """See `Environment.close`."""
        await asyncio.gather(*(connection.close() for connection in self._open))
        self._open.clear()
        self._log.close()

    def connection(self, of_episode: McpConnection | None) -> McpConnection:
        """The connection for an episode's next call."""
        if of_episode is not None and not self._config.shared:
            return of_episode
        if self._shared is not None and not self._shared.is_retired:
            return self._shared
        self._open = {each for each in self._open if not each.is_over}
        connection = McpConnection(self._client)
        self._open.add(connection)
        if self._config.shared:
            self._shared = connection
        return connection

    async def leave(self, connection: McpConnection) -> None:
        """Give up a connection of an episode that is over."""
        if not self._config.shared:
            await connection.close()
            self._open.discard(connection)

    async def call(self, connection: McpConnection, call: ToolCall) -> CallToolResult:
        """See `McpConnection.call`."""
        async with self._room:
            return await connection.call(call.name, dict(call.arguments), self.seconds)

    @property
    def _who(self) -> str:
        config = self._config
        return f"the MCP server {config.url or shlex.join(config.command or ())}"

    def _client(self) -> Client:
        from mcp import Client, StdioServerParameters
        from mcp.client.stdio import stdio_client

        config = self._config
        if config.command is None:
            return Client(_over_http(str(config.url), self._headers), cache=None)
        program, *arguments = tied(*config.command)
        server = StdioServerParameters(
            command=program,
            args=arguments,
            env={name: os.environ[name] for name in config.variables},
        )
        return Client(stdio_client(server, errlog=self._log), cache=None)

    async def _listed(self) -> list[Tool]:
        connection = McpConnection(self._client)
        tools: list[Tool] = []
        cursor: str | None = None

        try:
            async with asyncio.timeout(self._config.seconds):
                client = await connection.client()
                while True:
                    page = await client.list_tools(cursor=cursor)
                    tools += page.tools
                    if (cursor := page.next_cursor) is None:
                        break
        except TimeoutError:
            raise ConfigError(
                f"environment: {self._who} did not list its tools in {self._config.seconds:g} s"
                f"{self._last_words()}; see that it runs, or raise environment.seconds"
            ) from None
        except ToolFailed as error:
            raise ConfigError(
                f"environment: {self._who}: {error}{self._last_words()}; see that it runs by itself"
            ) from None
        finally:
            await connection.close()
        if not tools:
            raise ConfigError(f"environment: {self._who} has no tool; name another server")
        return tools

    def _last_words(self) -> str:
        """The end of what the servers wrote to stderr, for the end of a sentence."""
        if self._config.command is None:
            return ""
        self._log.flush()
        size = os.fstat(self._log.fileno()).st_size
        start = max(size - 4 * _LAST_WORDS, 0)
        text = os.pread(self._log.fileno(), size - start, start).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f"; the last that it wrote: {lines[-1][-_LAST_WORDS:]}" if lines else ""


class McpSession:
    """Answers each turn with the results of its calls.

    What a tool or the server says of an error is told to the policy, which may do better. A server
    that dies or hangs ends the episode.
    """

    state: Any = None

    def __init__(self, tools: McpTools) -> None:
        self._tools = tools
        self._connection: McpConnection | None = None

    async def begin(self) -> Sequence[Message]:
        """See `Session.begin`."""
        return ()

    async def answer(self, message: Message) -> WorldReply:
        """See `Session.answer`."""
        return await answered(message, self._tools.tools, self._result)

    async def close(self) -> None:
        """See `Session.close`."""
        if self._connection is not None:
            await self._tools.leave(self._connection)

    async def _result(self, call: ToolCall) -> CallResult:
        from mcp import MCPError

        if (refused := refusal(call, self._tools.names)) is not None:
            return refused
        self._connection = self._tools.connection(self._connection)
        try:
            result = await self._tools.call(self._connection, call)
        except MCPError as error:
            return failed(str(error), f"{call.name}: refused by the server")
        text = shortened(_text(result), self._tools.most_characters)
        return failed(text, f"{call.name}: an error") if result.is_error else CallResult(text)


@asynccontextmanager
async def _over_http(url: str, headers: dict[str, str]) -> AsyncIterator[Any]:
    """A connection by streamable HTTP, which sends these headers."""
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    async with (
        create_mcp_http_client(headers=headers) as http,
        streamable_http_client(url, http_client=http) as streams,
    ):
        yield streams


def _log(config: McpConfig) -> TextIO:
    if config.log is None:
        return cast(TextIO, tempfile.TemporaryFile("w+", errors="replace"))
    try:
        return config.log.open("a+", errors="replace")
    except OSError as error:
        raise ConfigError(f"environment.log: {config.log}: {error.strerror}") from None


def _as_openai_has_it(tool: Tool) -> Mapping[str, Any]:
    described = {
        "name": tool.name,
        "description": tool.description or "",
        "parameters": tool.input_schema,
    }
    return {"type": "function", "function": described}


def _text(result: CallToolResult) -> str:
    """The text of a result; things that are no text are named by their kind."""
    parts = [str(getattr(block, "text", f"[{block.type}]")) for block in result.content]
    if not parts and result.structured_content is not None:
        return json.dumps(result.structured_content, default=str)
    return "\n".join(parts)
