"""Checks of the world that answers the policy, before a model is loaded."""

from __future__ import annotations

from typing import Final

from rvpo.data.splits import Splits
from rvpo.environments import Environment
from rvpo.errors import ConfigError, RvpoError
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.episodes.check import check_conversations
from rvpo.runtime.own_code import line_of
from rvpo.types import Prompt

_OF_SESSIONS: Final = ("begin", "answer", "close")
"""Methods of a session; its `state` may come later."""


def check_world(environment: Environment, prompts: Splits, encoder: Encoder, model: str) -> None:
    """Refuse a world that cannot answer about these prompts: of each source the first is tried.

    Args:
        model: the model's folder or Hub id, for messages.

    Raises:
        ConfigError, DataError: it is one.
    """
    for of_place in prompts.by_place.values():
        if of_place:
            _try_session(environment, of_place[0])
    role = "tool" if environment.tools else "user"
    check_conversations(encoder, prompts.every, role, model)


def _try_session(environment: Environment, prompt: Prompt) -> None:
    try:
        session = environment.session(prompt, 0)  # nothing has happened in it
    except RvpoError:
        raise
    except (Exception, SystemExit) as error:  # the user's code, which can raise anything
        # One that needs the event loop in which it is to live cannot be tried before there is one.
        if isinstance(error, RuntimeError) and "no running event loop" in str(error):
            return
        at = line_of(error, environment.session)
        raise ConfigError(
            f"environment: no world can be opened for prompt {prompt.id!r}: "
            f"{type(error).__name__}: {error}{f' ({at})' if at else ''}; mend its session"
        ) from error
    lacking = [name for name in _OF_SESSIONS if not callable(getattr(session, name, None))]
    if lacking:
        raise ConfigError(
            f"environment: its session for prompt {prompt.id!r} is a value of type "
            f"{type(session).__name__}, which has no {lacking[0]}; write one with "
            f"{', '.join(_OF_SESSIONS)} and state (rvpo.environments.Session)"
        )
