"""A judge worker that speaks the protocol and asks nobody; options make it a bad one.

A criterion is met if its text occurs in the response.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from rvpo.judge.handshake import admit


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--beat", type=float, help="say so often, in seconds, that it lives")
    parser.add_argument("--pid", type=Path, help="folder to leave a file in, named by process id")
    parser.add_argument("--kill-on", help="SIGKILL itself on a response with this text")
    parser.add_argument("--die", help="print this to stderr and exit 3 before listening")
    parser.add_argument("--refuse", help="print this as the error of starting")
    parser.add_argument("--garble", action="store_true", help="reply with what is no reply")
    parser.add_argument("--twice", action="store_true", help="send each answer twice")
    parser.add_argument("--deaf", action="store_true", help="read no jobs")
    parser.add_argument("--stubborn", action="store_true", help="do not end when asked to")
    parser.add_argument("--seen", type=Path, help="file to write each job's response and share to")
    return parser.parse_args()


class FakeWorker:
    def __init__(self, options: argparse.Namespace, hello: dict[str, Any]) -> None:
        self.options = options
        self.hello = hello

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks: set[asyncio.Task[None]] = set()
        try:
            await admit(reader, writer, self.hello["token"], self.hello["port"])
            await self.requests(reader, writer, tasks)
        except ConnectionError:
            pass
        finally:
            for task in tasks:
                task.cancel()
            writer.close()

    async def requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tasks: set[Any]
    ) -> None:
        if self.options.beat:
            beating = asyncio.create_task(self.beat(writer))
            tasks.add(beating)
            beating.add_done_callback(tasks.discard)
        if self.options.deaf:
            await asyncio.Event().wait()
        while line := await reader.readline():
            request = json.loads(line)
            if "cancel" in request:
                self.note("cancelled")
                for task in tasks:
                    task.cancel()
                continue
            self.note(request["job"]["response"])
            task = asyncio.create_task(self.answer(request, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def answer(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.options.delay)
        response = request["job"]["response"]
        if self.options.kill_on and self.options.kill_on in response:
            os.kill(os.getpid(), signal.SIGKILL)
        answers = [
            {
                "value": float(question["text"] in response),
                "reason": response,
                "failure": None,
                "usage": {"requests": 1},
            }
            for question in request["job"]["questions"]
        ]
        line = json.dumps({"id": request["id"], "answers": answers}).encode() + b"\n"
        if self.options.garble:
            line = b'{"id": 0, "ans\n'
        for _ in range(2 if self.options.twice else 1):
            writer.write(line)
        await writer.drain()

    async def beat(self, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b'{"alive": true}\n')
            await asyncio.sleep(self.options.beat)

    def note(self, text: str) -> None:
        if self.options.seen:
            with self.options.seen.open("a") as file:
                file.write(json.dumps({"share": self.hello["share"], "text": text}) + "\n")


async def serve(options: argparse.Namespace, hello: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    if not options.stubborn:
        loop.add_reader(sys.stdin.fileno(), ended.set)
        loop.add_signal_handler(signal.SIGTERM, ended.set)
    worker = FakeWorker(options, hello)
    await asyncio.start_server(
        worker.connection, hello["host"], hello["port"], limit=2**24, reuse_port=True
    )
    print(json.dumps({"port": hello["port"]}), flush=True)
    await ended.wait()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options = parse()
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hello = json.loads(os.read(0, 65536))
    if options.pid:
        (options.pid / str(os.getpid())).write_text(json.dumps(sorted(os.environ)))
    if options.die:
        print(options.die, file=sys.stderr)
        sys.exit(3)
    if options.refuse:
        print(json.dumps({"error": options.refuse}), flush=True)
        sys.exit(1)
    asyncio.run(serve(options, hello))


if __name__ == "__main__":
    main()
