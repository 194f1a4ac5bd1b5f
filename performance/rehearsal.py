"""Seconds that the rehearsal of a run takes, inside its process.

    python -m performance.rehearsal experiments/quickstart.yaml [SECTION.NAME=VALUE ...]

Prints the median of five rehearsals, and what reading the inputs took once. Judges are not asked.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from statistics import median

from rich.console import Console

from rvpo.commands.inputs import read_inputs
from rvpo.config.run import load_config
from rvpo.report.display import Display
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.rehearsal import rehearse_rewards, rehearse_saving

REPEATS = 5


def main(file: str, settings: list[str]) -> None:
    config = load_config(Path(file), settings)
    started = time.perf_counter()
    inputs = read_inputs(config, datetime.now(), Display(config.steps, Console()), Ranks.alone())
    reading = time.perf_counter() - started
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        rehearse_saving(
            inputs.model_path, inputs.encoder, config.model.trust_remote_code, lambda text: None
        )
        rehearse_rewards(config, inputs.score, inputs.prompts.train, inputs.encoder)
        seconds.append(time.perf_counter() - started)
    print(
        f"rehearsal {median(seconds):.2f} s (first {seconds[0]:.2f}, median of {REPEATS}); "
        f"reading inputs {reading:.2f} s"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
