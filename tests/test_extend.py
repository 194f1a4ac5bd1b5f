"""Each page of `docs/extend` is followed, in a copy of the package: one file and one word."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pages import ROOT, Block, block


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the package in it."""
    shutil.copytree(ROOT / "rvpo", tmp_path / "rvpo")
    return tmp_path


def add(copy: Path, shown: Block, union: str) -> None:
    """The block's file, and its first class in a union of the package's `__init__.py`."""
    assert shown.file is not None
    file = copy / shown.file
    assert not file.exists()
    file.write_text(shown.code, encoding="utf-8")
    added = re.findall(r"^class (\w+)", shown.code, re.MULTILINE)[0]
    module = shown.file.removesuffix(".py").replace("/", ".")
    words = file.parent / "__init__.py"
    text, found = re.subn(
        rf"^({union} =) (.*[^(\n])$|^({union} = \()$",
        lambda at: (
            f"from {module} import {added}\n"
            + (f"{at[1]} {at[2]} | {added}" if at[1] else f"{at[3]}{added} |")
        ),
        words.read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    assert found == 1
    words.write_text(text, encoding="utf-8")


def python(copy: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(copy), str(ROOT)])}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_with(copy: Path, sections: str) -> Path:
    """A run's file with the sections that a page shows in place of the quickstart's."""
    file = copy / "added.yaml"
    file.write_text(f"base: {ROOT}/experiments/quickstart.yaml\n{sections}", encoding="utf-8")
    return file


CHOOSE = """
import sys
from pathlib import Path
from rvpo.commands.settings import of_section, render
from rvpo.config.run import load_config

chosen = load_config(Path(sys.argv[1])).advantage
print(type(chosen).__name__, chosen.hardness)
print(render(of_section("advantage.hardness")))
"""


def test_an_advantage_is_a_file_and_a_word(copy: Path) -> None:
    add(copy, block("python", "class Blend"), "Estimator")
    config = run_with(copy, block("yaml", "name: blend").code)
    assert python(copy, "-c", CHOOSE, str(config)).splitlines() == [
        "Blend 0.3",
        "advantage.hardness  [blend]: number = 0.5",
        "    Share of the minimum, 0 to 1.",
    ]


FOLLOW = """
import sys
from pathlib import Path
from rvpo.config.run import load_config
from rvpo.report.run_folder import RunFolder
from tests.fakes import make_record, tracked

*_, tracker = load_config(Path(sys.argv[1])).report.trackers
folder = RunFolder.create(Path("run"), "", {})
for steps in (range(1, 3), range(3, 4)):  # a run, and the same gone on with
    tracker.check()
    report = tracker.open(tracked(folder, []))
    for step in steps:
        report(make_record(step, {"reward": 0.5 * step}))
    report.close()
print(Path("run/curves.csv").read_text(), end="")
"""


def test_a_tracker_is_a_file_and_a_word(copy: Path) -> None:
    add(copy, block("python", "class Spreadsheet"), "AnyTracker")
    config = run_with(copy, block("yaml", "name: spreadsheet").code)
    assert python(copy, "-c", FOLLOW, str(config)).split() == ["1,0.5,", "2,1.0,", "3,1.5,"]


LEARN = """
import sys
from pathlib import Path
import torch
from rvpo.config.run import load_config
from rvpo.losses import LossInputs

update = load_config(Path(sys.argv[1])).update
new, old, sampled = torch.tensor([[-1.0, -2.0], [-1.5, -1.5], [-1.5, -3.5]])
sample, lengths = torch.tensor([0, 0]), torch.tensor([2])
importance = update.correction(old, sampled, sample, 1)
inputs = LossInputs(
    logprobs=new, old_logprobs=old, advantages=torch.tensor([2.0, 2.0]), importance=importance,
    sample=sample, lengths=lengths,
)
print([round(x, 3) for x in importance.tolist()], update.loss(inputs).loss.tolist())
"""


def test_a_loss_is_a_file_and_a_word(copy: Path) -> None:
    add(copy, block("python", "class Reinforce"), "PolicyLoss")
    config = run_with(copy, block("yaml", "name: reinforce").code)
    assert python(copy, "-c", LEARN, str(config)) == "[1.0, 2.0] [1.0, 2.0]\n"


def test_a_correction_is_a_file_and_a_word(copy: Path) -> None:
    add(copy, block("python", "class Soften"), "AnyCorrection")
    config = run_with(copy, block("yaml", "name: soften").code)
    factor = min(math.exp(2) ** 0.7, 3.0)
    assert python(copy, "-c", LEARN, str(config)).startswith(f"[{factor}, {factor}]")


SIT = """
import sys
from pathlib import Path
from rvpo.commands.settings import of_section, render
from rvpo.config.run import load_config
from rvpo.evaluate.build import read_benchmarks
from rvpo.evaluate.measure import measure
from rvpo.evaluate.results import ResultFolder
from rvpo.runtime.ranks import Ranks
from tests.fakes import FakeEngine

Path("numbers.jsonl").write_text('{"question": "1 + 2?", "answer": 3}\\n' * 4)
(exam,) = read_benchmarks(load_config(Path(sys.argv[1])).evaluate.benchmarks, print)
engine = FakeEngine(lambda prompt: "It is 3." if int(prompt.id) % 2 else "3, no: -3.5")
ranks = Ranks.join()
folder = ResultFolder(Path("results"))
for _ in range(2):  # measured, and read again
    summary = measure(exam, engine, folder, ranks, weights={}, seed=0, say=print)
ranks.leave()
print(summary.quoted, summary.scores["accuracy"].value, summary.by_question)
print(render(of_section("evaluate.benchmarks.numbers.path")))
"""


def test_a_benchmark_is_a_file_and_a_word(copy: Path) -> None:
    add(copy, block("python", "class Numbers"), "AnyBenchmark")
    config = run_with(copy, block("yaml", "benchmarks: {numbers").code)
    assert python(copy, "-c", SIT, str(config)).splitlines() == [
        "numbers: 0 of 4 answers",
        "accuracy 0.5 {'0': 0.0, '1': 1.0, '2': 0.0, '3': 1.0}",
        "evaluate.benchmarks.numbers.path: text = required",
        "    A file with the columns question and answer, or a Hub dataset id.",
    ]


def refused(copy: Path, *arguments: str) -> str:
    """What the command line says to what it refuses."""
    environment = os.environ | {"PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", "rvpo", *arguments]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_a_benchmark_is_in_help_and_errors(copy: Path) -> None:
    add(copy, block("python", "class Numbers"), "AnyBenchmark")
    assert "gpqa, healthbench, bfcl or numbers;" in " ".join(
        python(copy, "-m", "rvpo", "evaluate", "--help").split()
    )
    assert "none is named; give --benchmark gpqa, healthbench, bfcl or numbers" in refused(
        copy, "evaluate", "--model", "m"
    )
    model = ("evaluate", "--model", "m", "--benchmark")
    assert "benchmarks.numbrs: no such setting; did you mean 'numbers'?" in refused(
        copy, *model, "numbrs"
    )
    assert "benchmarks.numbers.path: required and not given: a file with the" in refused(
        copy, *model, "numbers"
    )


def test_a_benchmark_that_needs_a_judge_is_refused_without_one(copy: Path) -> None:
    shown = block("python", "class Numbers")
    named = '    name: ClassVar[str] = "numbers"\n'
    assert named in shown.code
    code = shown.code.replace(named, f"{named}    needs_judge: ClassVar[bool] = True\n")
    add(copy, replace(shown, code=code), "AnyBenchmark")
    config = run_with(copy, block("yaml", "benchmarks: {numbers").code)
    assert "evaluate.benchmarks.numbers: needs a judge; add judge: {serve: MODEL}" in refused(
        copy, "show", "--config", str(config)
    )
    assert "benchmarks.numbers: needs a judge; add judge.serve=MODEL" in refused(
        copy, "evaluate", "--model", "m", "--benchmark", "numbers", "benchmarks.numbers.path=x"
    )


TICK = """
import json, sys
from pathlib import Path
from rvpo.commands.settings import of_section, render
from rvpo.config.run import load_config
from rvpo.data.sources import load_prompts
from rvpo.errors import RvpoError

tasks = [
    {"instruction": "Greet Ann.", "checklist": ["Says hello.", " ", "Names Ann."]},
    {"instruction": "Count.", "checklist": str([f"Says {n}." for n in range(9)])},
    {"instruction": "Rest.", "checklist": []},
]
Path("tasks.jsonl").write_text("\\n".join(map(json.dumps, tasks)))
file = Path(sys.argv[1])
for prompt in load_prompts(load_config(file).data.train, None, "data.train", print):
    print(prompt.id, prompt.turns, len(prompt.columns["rubric"]))
print(render(of_section("data.train.most")))
Path("others.jsonl").write_text('{"question": "Why?"}')
others = load_config(file, ["data.train.rubrics=others.jsonl"]).data.train
try:
    load_prompts(others, None, "data.train")
except RvpoError as error:
    print(error)
for setting in ("data.train.format=checklst", "data.train.least=3", "data.train.format=rar"):
    try:
        load_config(file, [setting])
    except RvpoError as error:
        print(error)
"""


def test_a_rubric_format_is_a_file_and_a_word(copy: Path) -> None:
    add(copy, block("python", "class ChecklistSource"), "RubricFormat")
    config = run_with(copy, block("yaml", "format: checklist").code)
    said = python(copy, "-c", TICK, str(config)).splitlines()
    report, texts, *read = said
    assert report.startswith("data.train: 3 rows read, 2 kept (left out: 1 without points).")
    assert texts.startswith("data.train: prompts are text")
    invalid = f"{config} is not a valid run:"
    assert read == [
        "task-0 (('user', 'Greet Ann.'),) 2",
        "task-1 (('user', 'Count.'),) 8",
        "data.train.most  [checklist]: whole number = 20",
        "    Points of a task that are judged, from the top of its list.",
        "data.train.rubrics: nothing in 'others.jsonl' can be used. 1 row read, 0 kept (left out: "
        "1 without an instruction). Rows of format checklist have the columns instruction and "
        "checklist; the first one here has question. Give other data, or their data.train.format",
        invalid,
        "  data.train.format: 'checklst' is not available; did you mean 'checklist'? Choose from "
        "checklist, wildchecklists, healthbench, research_rubrics, openrubrics, prbench, "
        "healthbench_professional, criteria, rubrichub, dr_tulu, nemo_gym, rar",
        invalid,
        "  data.train.least: no such setting; allowed here: share, split, subset, revision, "
        "filter, map, rubrics, format, most",
        invalid,
        "  data.train.domain: required and not given: the data set, medicine or science; the ids "
        "of its rows begin with the word",
        "  data.train.most: 'rar' has no such setting (checklist has); allowed here: share, split, "
        "subset, revision, filter, map, rubrics, format, doubtful, signs, domain",
    ]


GENERATE = """
import json, sys
from pathlib import Path
import torch
from rvpo.commands.engine import build_engine, check_engine
from rvpo.commands.plan import plan
from rvpo.commands.settings import of_section, render
from rvpo.config.run import load_config
from rvpo.errors import ConfigError
from rvpo.plan.machine import examine
from rvpo.rollout.encoder import Encoder
from rvpo.runtime.ranks import Ranks
from tests.fakes import make_prompt

model = sys.argv[2]
config = load_config(Path(sys.argv[1]), [f"model.path={model}", "model.precision=fp32"])
engine, ranks = config.rollout.engine, Ranks(rank=0, size=1, device=torch.device("cpu"))
encoder = Encoder.from_model(model, trust_remote_code=False, max_context_tokens=None)
ids = [[*encoder.tokenizer.encode(text), encoder.stop_ids[0]] for text in ("four", "4", "IV")]
rows = [{"prompt": "p/0", "ids": each, "logprobs": [-0.5] * len(each)} for each in ids]
Path(engine.path).write_text("".join(json.dumps(row) + chr(10) for row in rows))

print(render(of_section("rollout.engine.path")))
found = plan(config, examine(engine), gpus=1, gpu_memory_gib=80)
print([each.part for each in found.findings if each.part in ("rollout", "  engine", "KV cache")])
try:
    load_config(Path(sys.argv[1]), [f"model.path={model}", "environment={name: mcp, url: http://a}"])
except ConfigError as error:
    print(str(error).splitlines()[1].strip())
check_engine(config.rollout, ranks)
built = build_engine(config.model, config.rollout, model, encoder, config.seed, ranks)
built.load_weights(iter([("a", torch.zeros(1))]), version=3)
heard = []
rollout = built.generate(
    [make_prompt("p/0", "2 + 2?")], config.rollout.samples_per_prompt, seed=0,
    on_sample=lambda row, sample: heard.append(row),
)
built.close()
print(heard, [(each.text, each.finish_reason, each.policy_version) for each in rollout.samples])
"""


def test_an_engine_is_a_file_and_a_word(copy: Path, tiny_model: Path) -> None:
    add(copy, block("python", "class Replay"), "AnyEngine")
    config = run_with(copy, block("yaml", "name: replay").code)
    assert python(copy, "-c", GENERATE, str(config), str(tiny_model)).splitlines() == [
        "rollout.engine.path  [replay]: text = required",
        "    A .jsonl file; each line a completion, with `prompt` (an id), `ids`, `logprobs`.",
        "[]",
        "environment: replay samples one answer to each prompt, and takes no further turns; set "
        "rollout.engine.name=vllm or transformers or servers, or leave the environment out",
        "[0, 1] [('four', 'stop', 3), ('4', 'stop', 3)]",
    ]


SEND = """
import sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM
from rvpo.config.run import load_config
from rvpo.rollout.vllm.placement import place
from rvpo.runtime.ranks import Ranks

class Process:
    def collective_rpc(self, method, kwargs):
        self.model = AutoModelForCausalLM.from_pretrained(kwargs["weights_path"])

engine = load_config(Path(sys.argv[1])).rollout.engine
placement = place(engine, Ranks(rank=0, size=1, device=torch.device("cpu")), concurrent=True)
policy, process = AutoModelForCausalLM.from_pretrained(sys.argv[2]), Process()
sender = placement.transport.open(process, Path(sys.argv[2]))
for move in (0.0, 0.5):
    policy.model.norm.weight.data += move
    sender.send([(name, each.data) for name, each in policy.named_parameters()])
    print(process.model.model.norm.weight.tolist() == policy.model.norm.weight.tolist())
print(sorted(each.name for each in Path(engine.transport.path).iterdir()))
unnamed, alone = engine.model_copy(update={"transport": None}), torch.device("cpu")
print(place(unnamed, Ranks(rank=0, size=1, device=alone), concurrent=True).transport.name)
"""


def test_a_transport_is_a_file_and_a_word(copy: Path, tiny_model: Path) -> None:
    add(copy, block("python", "class Folder"), "AnyTransport")
    config = run_with(copy, block("yaml", "name: folder").code)
    sent = python(copy, "-c", SEND, str(config), str(tiny_model))
    assert sent == "True\nTrue\n['added.yaml', 'rvpo']\nshared\n"
