"""Time and memory from a data set to the prompts of the first step, by its size.

    python -m performance.data_size

Lines of JSON in memory and as a stream, the same compressed, and a data set of the Hub in twenty
files, served on this machine: each with few rows and with many. Measured is what a run does after
its imports: rows read, lengths and digests of what it reads before it starts, the first step's
prompts as tokens. With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from performance.published import add_save_option, publish
from tests.configs import tiny_config
from tests.fake_hub import hub
from tests.tiny import save_tiny_model

TEXT = "Each of {n} children has {m} shells and finds {k} more on the way to the river. "
SHARDS = 20
NAME = "somebody/rows"
STEPS = 300
PER_STEP = 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000, 1_000_000])
    parser.add_argument("--measure", nargs=3, metavar=("MODEL", "DATA", "STREAMS"))
    add_save_option(parser)
    options = parser.parse_args()
    if options.measure:
        _measure(*options.measure)
        return
    lines = [
        f"Rows of 340 bytes, a run of {STEPS} steps of {PER_STEP} prompts. Time and memory are "
        "what comes on top of the imports.",
        "",
        "| data | rows | on disk | to the first step's prompts | most memory |",
        "| --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = save_tiny_model(folder / "model")
        for count in options.rows:
            lines += _of_size(folder, model, count)
    publish("data_size.md", "\n".join(lines), options)


def _of_size(folder: Path, model: Path, count: int) -> Iterator[str]:
    plain = folder / f"{count}.jsonl"
    with plain.open("w") as file:
        file.writelines(_lines(count))
    packed = plain.with_suffix(".jsonl.gz")
    with plain.open("rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target)
    yield _row("lines in memory", count, plain, _child(model, plain, streams=False))
    yield _row("lines, streamed", count, plain, _child(model, plain, streams=True))
    yield _row("gz, streamed", count, packed, _child(model, packed, streams=True))
    dataset = folder / f"hub-{count}"
    dataset.mkdir()
    for number in range(SHARDS):
        shard = dataset / f"train-{number:05}-of-{SHARDS:05}.jsonl"
        with shard.open("w") as file:
            file.writelines(_lines(count // SHARDS, number))
    with hub(dataset, NAME) as address:
        found = _child(model, NAME, streams=True, hub=address, home=folder / f"home-{count}")
    yield _row(f"Hub, {SHARDS} files, streamed", count, dataset, found)


def _lines(count: int, seed: int = 0) -> Iterator[str]:
    chance = random.Random(seed)
    for number in range(count):
        n, m, k = (chance.randint(2, 99) for _ in range(3))
        text = (TEXT.format(n=n, m=m, k=k) * 4)[:300] + f" ({number})"
        yield json.dumps({"prompt": text, "answer": n * m + k}) + "\n"


def _row(what: str, count: int, data: Path, found: dict[str, float]) -> str:
    files = data.iterdir() if data.is_dir() else [data]
    size = sum(file.stat().st_size for file in files) / 1e6
    return (
        f"| {what} | {count:,} | {size:,.1f} MB | {found['seconds']:.1f} s "
        f"({found['cpu']:.1f} s of CPU) | {found['megabytes']:,.0f} MB |"
    )


def _child(
    model: Path, data: Path | str, *, streams: bool, hub: str = "", home: Path | None = None
) -> dict[str, float]:
    """A process of its own: what another has in memory is not counted."""
    own = {"HF_HUB_OFFLINE": "1"} if home is None else {"HF_ENDPOINT": hub, "HF_HOME": str(home)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | own
    command = [sys.executable, "-m", "performance.data_size", "--measure"]
    done = subprocess.run(
        [*command, str(model), str(data), "yes" if streams else ""],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(data, found, file=sys.stderr)
    return found


def _measure(model: str, data: str, streams: str) -> None:
    import datasets  # noqa: F401
    import pyarrow  # noqa: F401
    import transformers  # noqa: F401

    from rvpo.data.encoder import encoder_of
    from rvpo.data.lengths import fitting
    from rvpo.data.order import PromptStream
    from rvpo.data.splits import read_splits
    from rvpo.data.visited import visited
    from rvpo.rewards.suite import RewardSuite
    from rvpo.trainer.digest import TokenDigest, digests

    source: dict[str, Any] = {"path": data, "streaming": bool(streams)}
    config = tiny_config(
        Path(model),
        data={"train": source, "too_long": "drop" if streams else "refuse"},
        steps=STEPS,
        rollout={"engine": {"name": "transformers"}, "prompts_per_step": PER_STEP},
    )
    encoder = encoder_of(config.model, config.rollout, model)
    before, started, used = _peak(), time.perf_counter(), time.process_time()
    score = RewardSuite.from_config(config.rewards, config.every_judge)
    prompts = fitting(config, read_splits(config), encoder)
    score.fitted(prompts.every)
    seen = visited(config, prompts)
    tokens = TokenDigest(seen.fixed)
    room = config.rollout.max_completion_tokens
    encoder.check_lengths(seen.every, room, seen=tokens.add)
    digests(config, model, encoder.tokenizer, prompts.by_setting, tokens)
    step = PromptStream(prompts.train, PER_STEP, config.seed).at(0)
    found = [encoder.encode(prompt) for prompt in step]
    assert len(found) == PER_STEP
    seconds = time.perf_counter() - started
    cpu = time.process_time() - used
    print(json.dumps({"seconds": seconds, "cpu": cpu, "megabytes": _peak() - before}))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
