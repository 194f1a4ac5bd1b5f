"""The files that one prompt crosses on its way to a W&B point, and one verdict to its advantage.

    python -m performance.files_crossed [--tree FOLDER] [--save]

One training step on one prompt, with the tiny model of the tests, the transformers engine, a judge
behind HTTP and W&B offline, is followed in the trainer and in the judge's worker. A file is crossed
where one of its functions holds the prompt, or the verdict, in an argument, in `self` or in its
result; see `performance.follower`. Settings are not looked into. The verdict's own way is followed
up to the first advantages, and the prompt's without a judge up to the call of W&B.

A call that gives nothing on of what it got only looks at it, and so does all that it calls: such
are checks, digests and files of samples. Files where calls only look are listed apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from performance.published import add_save_option, publish

ROOT: Final = Path(__file__).resolve().parent.parent
# In pieces: a digest reads this file.
PROMPT: Final = " ".join(("Spell", "kwyjibo,", "please."))
VERDICT: Final = " ".join(("It", "spells", "kwyjibo."))
SAMPLED: Final = "FILES_CROSSED_SAMPLED"
"""The variable that names the file of what was sampled."""


def recorded(
    prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **_: Any
) -> list[float]:
    """A reward, a little more for each sample. It writes down what was sampled for the prompt."""
    texts = [completion[0]["content"] for completion in completions]
    Path(os.environ[SAMPLED]).write_text(json.dumps([texts, completion_ids]))
    return [0.1 + 0.07 * number for number in range(len(texts))]


class Judge(BaseHTTPRequestHandler):
    """Says of every criterion that it is met; its words on the prompt occur nowhere else."""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        verdict = {"reason": VERDICT if PROMPT in asked else "Yes.", "met": True}
        message = {"content": json.dumps(verdict)}
        usage = {"prompt_tokens": 100, "completion_tokens": 20}
        choice = {"message": message, "finish_reason": "stop"}
        reply = json.dumps({"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def judge() -> Iterator[str]:
    """A judge's address, as long as the context lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()


def settings(folder: Path, output: str, address: str | None) -> dict[str, Any]:
    """A run of one step on one prompt; judged where there is an address."""
    rewards: dict[str, Any] = {"recorded": {"function": "performance.files_crossed:recorded"}}
    judged: dict[str, Any] = {}
    if address is not None:
        rewards["judged"] = {"rubric": "channels", "criteria": {"spelt": "The word is spelt."}}
        endpoint = {"url": address, "model": "fake"}
        judged = {"judge": {"model": "fake", "endpoints": [endpoint], "cache": None, "workers": 1}}
    return {
        "output": str(folder / output),
        "steps": 1,
        "model": {"path": str(folder / "model"), "precision": "fp32"},
        "data": {"train": {"path": str(folder / "rows.jsonl")}},
        "rollout": {
            "engine": {"name": "transformers"},
            "prompts_per_step": 1,
            "samples_per_prompt": 4,
            "max_completion_tokens": 8,
        },
        "rewards": rewards,
        "advantage": {"name": "rvpo"},
        "update": {"lr": 1e-3},
        **judged,
    }


def train(tree: Path, folder: Path, config: dict[str, Any], **variables: str) -> None:
    """Run a tree's `rvpo train` with this folder's `performance`."""
    file = folder / "config.json"  # JSON is YAML
    file.write_text(json.dumps(config))
    paths = (ROOT / "performance" / "profiled", tree, ROOT)
    environment = os.environ | variables | {"PYTHONPATH": ":".join(map(str, paths))}
    environment |= {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"}
    environment[SAMPLED] = str(folder / "sampled.json")
    command = [sys.executable, "-P", "-m", "rvpo", "train", "--config", str(file)]
    done = subprocess.run(
        command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.exit(done.stdout.decode())


def prompt_ids(model: Path) -> list[int]:
    from transformers import AutoTokenizer

    return list(AutoTokenizer.from_pretrained(model)(PROMPT, add_special_tokens=False).input_ids)


def followed(tree: Path, folder: Path, *, is_verdict: bool) -> list[Any]:
    """The lists of `Follower.write`, of the judge's worker before those of the trainer."""
    told: dict[str, Any] = {"is_verdict": is_verdict, "texts": [VERDICT], "numbers": []}
    with judge() as address:
        where = address if is_verdict else None
        if not is_verdict:  # the same seed samples the same again
            train(tree, folder, settings(folder, "plain", where))
            texts, completions = json.loads((folder / "sampled.json").read_text())
            ids = [prompt_ids(folder / "model"), *completions]
            told["texts"] = [PROMPT, *(text for text in texts if len(text) > 2)]
            told["numbers"] = [" ".join(map(str, each)) for each in ids]
        told |= {"package": f"{tree / 'rvpo'}/", "out": str(folder)}
        (folder / "told.json").write_text(json.dumps(told))
        run = settings(folder, "judged" if is_verdict else "followed", where)
        train(tree, folder, run, FILES_CROSSED=str(folder / "told.json"))
    files = sorted(folder.glob("followed-*.json"))
    found = [json.loads(file.read_text()) for file in files]
    for file in files:
        file.unlink()
    return found


def table(name: str, processes: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    """The lists of all processes as lines of Markdown."""
    crossed = dict.fromkeys(file for process in processes for file in process[0])
    looked = dict.fromkeys(f for process in processes for f in process[1] if f not in crossed)
    forms = dict.fromkeys(form for process in processes for form in process[2])
    kinds = {"files crossed": crossed, "only looked at in": looked, "classes that held it": forms}
    lines = ["", f"| one {name} | | |", "| --- | ---: | --- |"]
    return lines + [f"| {kind} | {len(each)} | {', '.join(each)} |" for kind, each in kinds.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tree", type=Path, default=ROOT, help="whose rvpo/ is followed")
    add_save_option(parser)
    options = parser.parse_args()
    tree = options.tree.resolve()
    from tests.tiny import save_tiny_model

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_tiny_model(folder / "model")
        (folder / "rows.jsonl").write_text(json.dumps({"id": "one", "prompt": PROMPT}) + "\n")
        lines = []
        for name, is_verdict in (("prompt", False), ("verdict", True)):
            lines += table(name, followed(tree, folder, is_verdict=is_verdict))
    publish("files_crossed.md", "\n".join(lines).strip(), options)


if __name__ == "__main__":
    main()
