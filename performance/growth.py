"""How cost, memory and disk grow with the work.

    python -m performance.growth

Rows to the first step of a run (a tiny model), micro-batches laid out, samples gathered on two
ranks, a comparison watched, a long run of many rewards reported.
With --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from performance.published import add_save_option, publish
from rvpo.compare.execute import POLL_S
from rvpo.config.run import dump_config
from rvpo.files.gzipped import zipped
from rvpo.report.run_folder import RunFolder
from rvpo.runtime.launch import launch
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.batch import TrainedSample, arrange
from rvpo.types import Prompt, Sample
from tests.configs import tiny_config
from tests.tiny import save_tiny_model

WORDS = [f"word{number}" for number in range(2000)]
TEXT = "Each of {n} children has {m} shells and finds {k} more on the way to the river. "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    add_save_option(parser)
    options = parser.parse_args()
    if options.rank:
        _gathered()
        return
    lines = ["| what | time | memory or disk |", "| --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = save_tiny_model(folder / "model")
        for rows in options.rows:
            lines += _rows(folder, model, rows)
        lines += [_laid_out(), _ranks(), _watched(folder), _reported(folder)]
    publish("growth.md", "\n".join(lines), options)


def _rows(folder: Path, model: Path, count: int) -> list[str]:
    """A run of one step, and a plan of 300 steps of 96 prompts."""
    data, chance = folder / f"{count}.jsonl", random.Random(0)
    with data.open("w") as file:
        for number in range(count):
            n, m, k = (chance.randint(2, 99) for _ in range(3))
            text = (TEXT.format(n=n, m=m, k=k) * 4)[:300] + f" ({number})"
            file.write(json.dumps({"prompt": text, "answer": n * m + k}) + "\n")
    config = tiny_config(
        model,
        folder / f"run-{count}",
        data={"train": {"path": str(data)}},
        steps=1,
    )
    file = folder / f"{count}.yaml"
    file.write_text(dump_config(config))
    size = f"{count:,} rows, {data.stat().st_size / count:.0f} bytes each"
    many = ["steps=300", "rollout.prompts_per_step=96", f"output={folder / 'planned'}"]
    return [
        f"| {size}: run of one step | {_program(['train', '--config', str(file)])} |",
        f"| {size}: plan of 28,800 visits | {_program(['plan', '--config', str(file), *many])} |",
    ]


def _program(arguments: Sequence[str]) -> str:
    """Time and memory of `rvpo` with these arguments."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "rvpo", *arguments]
    quiet = os.open(os.devnull, os.O_WRONLY)
    actions = [(os.POSIX_SPAWN_DUP2, quiet, 1)]
    child = os.posix_spawn(sys.executable, command, os.environ, file_actions=actions)
    _, status, used = os.wait4(child, 0)
    os.close(quiet)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    cpu = used.ru_utime + used.ru_stime
    wall = time.perf_counter() - started
    print(arguments[0], f"{wall:.0f} s", file=sys.stderr)
    return f"{wall:.0f} s ({cpu:.0f} s of CPU) | {used.ru_maxrss / 1024:,.0f} MB at most"


def _laid_out() -> str:
    chance = random.Random(0)
    samples = [_sample(number // 16, chance.randint(200, 3000)) for number in range(8192)]
    started = time.process_time()
    bins = arrange(samples, tokens=8192, ranks=8)
    taken = time.process_time() - started
    return f"| 8,192 samples laid out in {len(bins):,} rows of 8,192 tokens | {taken:.2f} s | |"


def _sample(group: int, tokens: int) -> TrainedSample:
    sample = Sample(
        prompt=Prompt(id=str(group), messages=()),
        prompt_ids=(1,) * 300,
        completion_ids=(7,) * tokens,
        logprobs=(-0.5,) * tokens,
        text="",
        finish_reason="stop",
        policy_version=0,
    )
    return TrainedSample.of(sample, 0.5, group, is_masked=False, version=0)


def _ranks() -> str:
    with tempfile.NamedTemporaryFile("r") as file:
        os.environ["RVPO_GROWTH"] = file.name
        program = (sys.executable, "-m", "performance.growth")
        if launch(["--rank"], 2, program=program):
            raise SystemExit("a rank failed")
        return file.read()


def _gathered() -> None:
    """On each of two ranks: the trained samples of both."""
    ranks = Ranks.join(1)
    mine = [_sample(number, 2000) for number in range(2048)]
    ranks.wait()
    before, started = _rss(), time.perf_counter()
    every = [sample for part in ranks.gather_objects(mine) for sample in part]
    taken, grown = time.perf_counter() - started, _peak() - before
    if ranks.is_main:
        held = sum(len(s.completion_ids) * 8 for s in every) / 1e6
        line = f"{taken:.2f} s | +{grown:,.0f} MB a rank at most, of them {held:.0f} MB of tokens |"
        what = f"{len(every):,} samples of 2,000 tokens gathered on 2 ranks"
        Path(os.environ["RVPO_GROWTH"]).write_text(f"| {what} | {line}")
    ranks.leave()


def _rss() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _watched(folder: Path) -> str:
    """What `rvpo compare` does twice a second for each run that is running."""
    runs = [_run(folder / f"watched-{number}", 300, 0) for number in range(15)]
    started = time.process_time()
    for _ in range(10):
        assert [run.count_metrics() for run in runs] == [300] * 15
    share = (time.process_time() - started) / 10 / POLL_S
    return f"| 15 running runs of 300 steps watched | {share:.1%} of a core | |"


def _reported(folder: Path) -> str:
    run = _run(folder / "reported", 300, 1536 // 8)
    size = sum(file.stat().st_size for file in run.samples.iterdir()) / 12
    page = folder / "page.html"
    used = _program(["report", str(run.path), "--output", str(page)])
    what = "300 steps of 1,536 samples and 17 rewards reported"
    return (
        f"| {what} | {used}; page {page.stat().st_size / 1e6:.1f} MB; {size / 1e6:.1f} MB a step |"
    )


def _run(path: Path, steps: int, samples: int) -> RunFolder:
    """A run of 17 rewards as it lies on the disk, with the samples of 8 ranks in the last steps."""
    folder = RunFolder.create(path, dump_config(tiny_config(Path("model"), path)), {})
    chance = random.Random(0)
    names = [f"rubric/{number + 1}" for number in range(17)]
    kinds = [f"rewards/{name}/{kind}" for name in names for kind in ("mean", "std", "min", "max")]
    kinds += [f"advantage/{kind}/{name}" for name in names for kind in ("weight", "bottleneck")]
    kinds += [f"timing/{phase}" for phase in ("generate", "score", "update", "sync", "step")]
    with folder.metrics.open("w") as file:
        for step in range(1, steps + 1):
            row = {"step": step, **{kind: chance.random() for kind in kinds}}
            file.write(json.dumps(row) + "\n")
    folder.samples.mkdir()
    for step in range(steps - 11, steps + 1):
        for rank in range(8 if samples else 0):
            rows = (json.dumps(_row(step, names, chance)) + "\n" for _ in range(samples))
            name = f"step-{step:06d}.rank-{rank}.jsonl.gz"
            (folder.samples / name).write_bytes(zipped("".join(rows).encode()))
    return folder


def _row(step: int, names: Sequence[str], chance: random.Random) -> dict[str, object]:
    text = " ".join(chance.choices(WORDS, k=1000))
    said = {"question": "Is it right?", "answer": "met", "reason": text[:280]}
    return {
        **{"step": step, "prompt_id": "a", "prompt": [{"role": "user", "content": "Why?"}]},
        **{"completion": text, "thought": "", "answer": text, "completion_tokens": 1500},
        **{"finish_reason": "stop", "policy_version": step - 1, "failures": {}},
        **{"scores": dict.fromkeys(names, 1.0), "remarks": dict.fromkeys(names, said)},
        **{"z": {name: chance.gauss(0, 1) for name in names}, "advantage": 0.5, "trained": True},
    }


if __name__ == "__main__":
    main()
