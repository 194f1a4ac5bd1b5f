"""5,000 samples of two servers that fail, die and come back; and whom a group goes to.

    python -m performance.servers_faults

The servers are the tests' own (tests/rollout/servers/server.py), in this process: their model is a
function of prompt, seed and version, so each sample can be told from a wrong one. Prints what
became of the samples, of each fault how often it was met, what a server's death costs, how prompts
were shared out, and the time that a sample takes beside its generation; with --save also written to
performance/results/.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from performance.judge_faults import table
from performance.published import add_save_option, publish
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.servers.engine import ServersEngine
from rvpo.rollout.servers.http import Http
from rvpo.runtime.ignore import ignore
from rvpo.runtime.seed import derived_seed
from rvpo.types import Rollout, Sample
from tests.rollout.servers.engines import NO_WEIGHTS, asking, is_right, make_prompts
from tests.rollout.servers.server import FakeServer, Faults
from tests.tiny import save_tiny_model

GROUP = 8
SEED = 5
LATENCY_S = 0.05


@dataclass(frozen=True)
class Outcome:
    """A rollout, looked at."""

    asked: int
    lost: int
    doubled: int
    wrong: int
    seconds: float

    @property
    def row(self) -> list[str]:
        counts = (self.asked, self.wrong, self.doubled, self.lost)
        return [*(f"{count:,}" for count in counts), f"{self.seconds:.1f}"]


def outcome(
    engine: ServersEngine,
    encoder: Encoder,
    samples: int,
    version: int = 1,
    at: Callable[[int], None] = ignore,
) -> Outcome:
    """Ask for so many samples.

    Args:
        at: told how many are there, after each.
    """
    heard: Counter[int] = Counter()

    def hear(row: int, sample: Sample) -> None:
        heard[row] += 1
        at(len(heard))

    started = time.monotonic()
    rollout: Rollout = engine.generate(make_prompts(samples // GROUP), GROUP, SEED, hear)
    seconds = time.monotonic() - started
    wrong = sum(
        not is_right(sample, derived_seed(SEED, row), encoder) or sample.policy_version != version
        for row, sample in enumerate(rollout.samples)
    )
    doubled = sum(times - 1 for times in heard.values())
    return Outcome(samples, samples - len(heard), doubled, wrong, seconds)


@contextmanager
def two(
    encoder: Encoder, faults: Faults | None = None, latency_s: float = 0.0
) -> Iterator[tuple[list[FakeServer], ServersEngine, Http]]:
    """Two servers, and who asks them."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(FakeServer(faults, seed=seed, latency_s=latency_s))
            for seed in range(2)
        ]
        http = Http()
        engine = stack.enter_context(asking(encoder, servers, http=http))
        yield servers, engine, http


def faults(encoder: Encoder, samples: int, share: float) -> Iterator[str]:
    with two(encoder, Faults.passing(share)) as (servers, engine, _):
        found = outcome(engine, encoder, samples)
    met = sum((server.seen.faults for server in servers), Counter[str]())
    requests = sum(sum(server.seen.rows.values()) for server in servers)
    yield f"Faults in {met.total() / requests:.0%} of {requests:,} requests:"
    yield ""
    yield from table(["samples", "wrong", "doubled", "lost", "seconds"], [found.row])
    yield ""
    rows = [[name.replace("_", " "), f"{times:,}"] for name, times in met.most_common()]
    yield from table(["fault", "requests that met it"], rows)


def deaths(encoder: Encoder, samples: int) -> Iterator[str]:
    """One of two servers dies in the middle of a rollout, and comes back."""
    rows = []
    with two(encoder, latency_s=LATENCY_S) as (servers, engine, _):
        dying = servers[0]

        def at(moment: int, act: Callable[[], None]) -> Callable[[int], None]:
            return lambda heard: act() if heard == moment else None

        rows.append(["nothing", *outcome(engine, encoder, samples).row])
        killed = outcome(engine, encoder, samples, at=at(samples // 4, dying.kill))
        rows.append(["one is killed", *killed.row])
        rows.append(["one is gone", *outcome(engine, encoder, samples).row])
        dying.restart()
        rows.append(["it is back, without the weights", *outcome(engine, encoder, samples).row])
        engine.load_weights(NO_WEIGHTS, version=2)
        rows.append(["it has the next weights", *outcome(engine, encoder, samples, 2).row])
        again = outcome(engine, encoder, samples, 2, at(samples // 4, dying.restart))
        rows.append(["it is started again meanwhile", *again.row])
    yield f"Two servers, each answer after {LATENCY_S:g} s and 64 at once:"
    yield ""
    yield from table(["while", "samples", "wrong", "doubled", "lost", "seconds"], rows)


def routing(encoder: Encoder) -> Iterator[str]:
    prompts = make_prompts(GROUP, tokens=665)
    with two(encoder) as (servers, engine, _):
        rollout = engine.generate(prompts, GROUP, SEED)
    once = sum(len(sample.prompt_ids) for sample in rollout.samples[::GROUP])
    computed = sum(server.seen.prompt_tokens for server in servers)
    least, most = sorted(server.seen.tokens for server in servers)
    yield (
        f"Of {GROUP} groups of {GROUP} on two servers {computed:,} tokens of prompts were "
        f"computed, where all prompts have {once:,}; one server had {most / least - 1:.0%} more to "
        "do than the other."
    )


def overhead(encoder: Encoder, samples: int) -> Iterator[str]:
    async def used() -> float:
        return time.thread_time()

    with two(encoder) as (_, engine, http):
        outcome(engine, encoder, samples)
        asking_s, hearing_s = http.run(used()), time.thread_time()
        engine.generate(make_prompts(samples // GROUP), GROUP, SEED)
        asking_s, hearing_s = http.run(used()) - asking_s, time.thread_time() - hearing_s
    yield (
        f"A sample takes {1e3 * asking_s / samples:.2f} ms of the thread that asks, and "
        f"{1e3 * hearing_s / samples:.2f} ms of the one that hears it, with completions of a few "
        "tokens."
    )


def report(encoder: Encoder, samples: int, share: float) -> str:
    parts: Sequence[Iterator[str]] = (
        faults(encoder, samples, share),
        deaths(encoder, min(samples, 2000)),
        routing(encoder),
        overhead(encoder, min(samples, 2000)),
    )
    return "\n\n".join("\n".join(part) for part in parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--share", type=float, default=0.3, help="requests that meet a fault")
    add_save_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = save_tiny_model(Path(folder) / "model")
        encoder = Encoder.from_model(str(model), trust_remote_code=False, max_context_tokens=None)
        text = report(replace(encoder, max_context_tokens=4096), options.samples, options.share)
    publish("servers_faults.md", text, options)


if __name__ == "__main__":
    main()
