"""Signs in doubt: the judge is asked about them once, before a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO

from rvpo.commands.inputs import judges_of
from rvpo.commands.judge import known_judge
from rvpo.commands.needs import of_judge
from rvpo.config.judges import asked
from rvpo.config.rewards import RubricRewardConfig
from rvpo.config.run import RunConfig
from rvpo.data.sources import rubric_report
from rvpo.errors import ConfigError
from rvpo.rubrics import RubricSource
from rvpo.rubrics.doubt import UnclearSign
from rvpo.runtime.extras import require
from rvpo.runtime.ranks import Ranks
from rvpo.trial.signs import ask_signs


def tell_signs(
    config: RunConfig, file: Path, say: Callable[[str], None], judge: str | None = None
) -> int:
    """Ask a judge about the criteria of the data whose sign is in doubt, and write what it says.

    Args:
        file: takes a line for each; `signs` beside `rubrics` reads it.
        say: told what came of it, and what the judge's endpoints do.
        judge: name of the one that is asked; the rubric reward's if left out.

    Returns:
        Verdicts that failed.

    Raises:
        ConfigError: no data bring rubrics, there is no such judge, or the file cannot be written.
        DataError: the data cannot be read.
    """
    unclear = unclear_signs(config)
    if not unclear:
        say("no sign is in doubt: there is nothing to ask")
        return 0
    name = _judge_of(config) if judge is None else known_judge(judge, config)
    chosen = config.every_judge[name]
    require("rvpo judge --signs", *of_judge(chosen, name))
    told: Counter[str] = Counter()
    failed = 0
    with _writing(file) as lines, closing(judges_of({name: chosen}, Ranks.alone(), say)) as judges:
        judges.start()
        judges.connect()
        for each in ask_signs(unclear, judges[name]):
            line = each.criterion.to_json(each.polarity, each.reason)
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
            told[each.polarity or "still unclear"] += 1
            failed += each.failed
    counts = ", ".join(f"{number} {word}" for word, number in told.most_common())
    say(f"signs of {len(unclear)} criteria: {counts}; `signs` beside `rubrics` reads {file}")
    return failed


def unclear_signs(config: RunConfig) -> list[UnclearSign]:
    """The criteria of a run's data whose sign is in doubt, each once.

    Raises:
        ConfigError: no data bring rubrics.
        DataError: the data cannot be read.
    """
    sources = config.data.train_sources | config.data.held_out_sources
    rubrics = {place: each for place, each in sources.items() if isinstance(each, RubricSource)}
    if not rubrics:
        raise ConfigError(
            "--signs: the data bring no rubrics; give data.train={rubrics: ..., format: ...}"
        )
    found = [sign for place, each in rubrics.items() for sign in rubric_report(each, place).unclear]
    return list({sign.key: sign for sign in found}.values())


def _judge_of(config: RunConfig) -> str:
    rubrics = [each for each in config.rewards.values() if isinstance(each, RubricRewardConfig)]
    if not config.every_judge:
        raise ConfigError("--signs: there is no judge to ask; give the run a section `judge`")
    return asked(rubrics[0].judge if rubrics else None, config.every_judge)


def _writing(path: Path) -> IO[str]:
    try:
        # A lone surrogate, which UTF-8 cannot hold, becomes its escape, as JSON would write it.
        return path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(
            f"--signs: {path} cannot be written ({error.strerror}); give another file"
        ) from error
