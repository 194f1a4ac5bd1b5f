"""What `docs/clusters` holds for schedulers works, as far as that can be seen without one."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.distributed.run import get_args_parser
from typer.main import get_command

from rvpo.cli import app
from rvpo.config.run import RunConfig, load_config
from rvpo.rollout.servers.settings import ServersConfig
from tests.judge.processes import wait_until
from tests.pages import ROOT, block, text_of

FOLDER = ROOT / "docs" / "clusters"
SBATCH = FOLDER / "train.sbatch"
SERVERS = FOLDER / "servers.sbatch"
JOBSET = yaml.safe_load(text_of(FOLDER / "jobset.yaml"))
JOB = JOBSET["spec"]["replicatedJobs"][0]["template"]["spec"]
POD = JOB["template"]["spec"]
SKYPILOT = yaml.safe_load(text_of(FOLDER / "skypilot.yaml"))
SCRIPTS = {
    "page": block("bash", "torchrun --nnodes").code,
    "jobset": POD["containers"][0]["args"][0],
    "skypilot": SKYPILOT["run"],
}
"""Commands that are given on each machine, which start torchrun there."""

FIELDS = {
    "jobset": ({"apiVersion", "kind", "metadata", "spec"}, JOBSET),
    "jobset.spec": ({"failurePolicy", "replicatedJobs"}, JOBSET["spec"]),
    "replicated job": ({"name", "replicas", "template"}, JOBSET["spec"]["replicatedJobs"][0]),
    "job": ({"completionMode", "completions", "parallelism", "backoffLimit", "template"}, JOB),
    "pod": ({"restartPolicy", "terminationGracePeriodSeconds", "containers", "volumes"}, POD),
    "container": (
        {"name", "image", "command", "args", "resources", "volumeMounts"},
        POD["containers"][0],
    ),
    "skypilot": (
        {"name", "workdir", "num_nodes", "resources", "volumes", "setup", "run"},
        SKYPILOT,
    ),
}
"""Names that the schemas of JobSet v1alpha2, Kubernetes 1.32 and SkyPilot 0.14 have."""


def training(words: list[str]) -> RunConfig:
    """The run that a `rvpo train` command describes; its options exist."""
    known = get_command(app).commands["train"]  # type: ignore[attr-defined]
    parsed = known.make_context("train", list(words)).params
    assert parsed["resume_if_any"]
    return load_config(ROOT / parsed["config"], parsed["settings"] or [])


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_each_machine_is_told_starts_torchrun_and_a_valid_run(
    name: str, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    # Each word on a line of its own, as torchrun would get it.
    said = "torchrun() { printf '%s\\0' \"$@\"; }\n" + re.sub(
        r"exec torchrun|\S*/torchrun", "torchrun", SCRIPTS[name]
    )
    script.write_text(said)
    known = {
        "JOB_COMPLETION_INDEX": "1",
        "SKYPILOT_NUM_NODES": "2",
        "SKYPILOT_NUM_GPUS_PER_NODE": "8",
        "SKYPILOT_NODE_RANK": "1",
        "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
    }
    done = subprocess.run(
        ["bash", "-eu", str(script)],
        env=os.environ | known,
        capture_output=True,
        text=True,
        check=True,
    )
    asked = get_args_parser().parse_args(done.stdout.split("\0")[:-1])
    assert (asked.module, asked.training_script, asked.nnodes) == (True, "rvpo", "2")
    assert asked.master_addr
    assert asked.training_script_args.pop(0) == "train"
    config = training(asked.training_script_args)
    assert config.rollout.prompts_per_step % (2 * int(asked.nproc_per_node)) == 0
    if name == "jobset":
        assert asked.shutdown_timeout < POD["terminationGracePeriodSeconds"]


def run_batch(folder: Path, status: int) -> tuple[int, list[dict[str, str]], list[str]]:
    """The batch script on a Slurm of shell scripts: exit status, each rank's place and words, and
    what Slurm was asked to do."""
    programs = {
        "scontrol": 'echo "$@" >> asked; if [ "$1" = show ]; then echo b1; echo b2; fi',
        "srun": """
            while [ "${1#-}" != "$1" ]; do echo "srun $1" >> asked; shift; done
            status=0
            for id in 0 1 2 3; do
                SLURM_PROCID=$id SLURM_LOCALID=$((id % 2)) "$@" || status=$?
            done
            exit $status""",
        "rvpo": f"""
            names="RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT"
            for name in $names; do echo "$name ${{!name}}"; done > rank-$RANK
            printf 'word %s\\n' "$@" >> rank-$RANK
            exit {status}""",
    }
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    place = {
        "SLURM_JOB_NODELIST": "b[1-2]",
        "SLURM_JOB_ID": "123456",
        "SLURM_NTASKS": "4",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_CPUS_PER_TASK": "8",
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", SBATCH, "experiments/quickstart.yaml", "output=runs/with space"],
        cwd=folder,
        env=os.environ | place,
    )
    ranks = []
    for number in range(4):
        lines = (folder / f"rank-{number}").read_text().splitlines()
        found = dict(line.split(" ", 1) for line in lines if not line.startswith("word "))
        ranks.append(found | {"words": "\0".join(w[5:] for w in lines if w.startswith("word "))})
    return done.returncode, ranks, (folder / "asked").read_text().splitlines()


@pytest.mark.parametrize(("status", "again"), [(0, False), (2, False), (130, True)])
def test_the_batch_job_starts_every_rank_in_its_place_and_again_when_it_was_stopped(
    status: int, again: bool, tmp_path: Path
) -> None:
    code, ranks, asked = run_batch(tmp_path, status)
    assert code == status
    assert [rank["RANK"] for rank in ranks] == list("0123")
    assert [rank["LOCAL_RANK"] for rank in ranks] == list("0101")
    common = {(rank["WORLD_SIZE"], rank["LOCAL_WORLD_SIZE"], rank["MASTER_ADDR"]) for rank in ranks}
    assert common == {("4", "2", "b1")}
    (port,) = {int(rank["MASTER_PORT"]) for rank in ranks}
    assert 1024 < port < 32768  # below those that the kernel hands out
    for rank in ranks:
        command, *rest = rank["words"].split("\0")
        assert command == "train"
        assert str(training(rest).output) == "runs/with space"
    assert ("requeue 123456" in asked) == again
    assert {"srun --cpus-per-task=8", "srun --kill-on-bad-exit=0"} <= set(asked)


def run_with_servers(folder: Path, status: int, *, asked_to_stop: bool) -> int:
    """The batch script with servers, on a Slurm of shell scripts. Each program notes its words and
    place in a file of its own; training hears of SIGTERM, and servers do not end before it."""
    programs = {
        "scontrol": 'echo "$@" >> asked; if [ "$1" = show ]; then printf "b%s\\n" 1 2 3 4; fi',
        "srun": """
            while [ "${1#-}" != "$1" ]; do
                case $1 in --nodelist=*) nodes=${1#*=};; --ntasks-per-node=*) each=${1#*=};; esac
                shift
            done
            id=0; children=
            trap 'kill -TERM $children' TERM
            for node in ${nodes//,/ }; do for local in $(seq 0 $((each - 1))); do
                SLURMD_NODENAME=$node SLURM_PROCID=$id SLURM_LOCALID=$local "$@" &
                children="$children $!"; id=$((id + 1))
            done; done
            code=0
            for child in $children; do
                wait $child; last=$?
                while kill -0 $child 2> /dev/null; do wait $child; last=$?; done
                [ $last -eq 0 ] || code=$last
            done
            exit $code""",
        "rvpo": f"""
            file=$1-$SLURMD_NODENAME-$SLURM_LOCALID
            printf '%s\\0' "$@" > words-$file
            [ $1 = train ] || {{ trap 'touch ended-$file; exit 130' TERM; touch $file; }}
            [ $1 = serve ] && while :; do sleep 0.05; done
            {{ echo $RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $MASTER_ADDR
            echo $RVPO_SERVER_KEY; }} > place-$file
            until [ -e serve-b3-0 ] && [ -e serve-b4-0 ]; do sleep 0.05; done
            {"trap 'exit 130' TERM; touch $file; while :; do sleep 0.05; done" * asked_to_stop}
            ls ended-* 2> /dev/null && exit 3
            exit {status}""",
    }
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    place = {
        "SLURM_JOB_NODELIST": "b[1-4]",
        "SLURM_JOB_ID": "123456",
        "PATH": f"{folder}:{os.environ['PATH']}",
    }
    engine = "rollout.engine={name: servers, tensor_parallel: 2}"
    given = ["experiments/quickstart.yaml", "output=runs/with space", engine]
    command = ["bash", str(SERVERS), *given]
    with subprocess.Popen(command, cwd=folder, env=os.environ | place) as job:
        if asked_to_stop:
            wait_until(lambda: len(list(folder.glob("train-*"))) == 16, 120)
            job.terminate()
    return job.returncode


@pytest.mark.parametrize(
    ("status", "asked_to_stop", "again"), [(0, False, False), (2, False, False), (130, True, True)]
)
def test_some_machines_train_and_the_others_serve_until_training_has_ended(
    status: int, asked_to_stop: bool, again: bool, tmp_path: Path
) -> None:
    assert run_with_servers(tmp_path, status, asked_to_stop=asked_to_stop) == status
    assert ("requeue 123456" in (tmp_path / "asked").read_text()) == again
    words = {
        file.name.removeprefix("words-"): file.read_text().split("\0")[:-1]
        for file in tmp_path.glob("words-*")
    }
    places, keys = set(), set()
    for node in ("b1", "b2"):
        for local in range(8):
            place, key = (tmp_path / f"place-train-{node}-{local}").read_text().splitlines()
            places.add(tuple(place.split()))
            keys.add(key)
            command, *rest = words.pop(f"train-{node}-{local}")
            assert command == "train"
            config = training(rest)
            assert str(config.output) == "runs/with space"
    assert places == {(str(r), "16", str(r % 8), "8", "b1") for r in range(16)}
    assert len(keys) == 1
    engine = config.rollout.engine
    assert isinstance(engine, ServersConfig)
    assert len(engine.urls) == 8
    assert engine.key_variable == "RVPO_SERVER_KEY"
    served = set()
    for node in ("b3", "b4"):
        command, *rest = words.pop(f"serve-{node}-0")
        known = get_command(app).commands["serve"]  # type: ignore[attr-defined]
        given = known.make_context(command, rest).params
        assert load_config(ROOT / given["config"], given["settings"]) == config
        ports = range(given["port"], given["port"] + given["servers"])
        served |= {f"http://{given['host']}:{port}" for port in ports}
        assert (tmp_path / f"ended-serve-{node}-0").exists()
    assert served == set(engine.urls)
    assert words == {}


def test_the_batch_job_leaves_time_to_save() -> None:
    given = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text_of(SBATCH), re.MULTILINE))
    name, seconds = given["signal"].split("@")
    assert name == "TERM"
    assert int(seconds) >= 300
    assert given["ntasks-per-node"] == given["gpus-per-node"]


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_of_a_manifest_is_one_of_its_schema(name: str) -> None:
    allowed, given = FIELDS[name]
    assert set(given) <= allowed


def test_the_pods_find_the_first_of_them_and_mount_what_they_name() -> None:
    job = JOBSET["spec"]["replicatedJobs"][0]["name"]
    name = JOBSET["metadata"]["name"]
    assert f"--master-addr {name}-{job}-0-0.{name} " in SCRIPTS["jobset"]
    assert JOB["completions"] == JOB["parallelism"]
    mounted = {mount["name"] for mount in POD["containers"][0]["volumeMounts"]}
    assert mounted == {volume["name"] for volume in POD["volumes"]}
    (output,) = re.findall(r"output=(\S+)", SCRIPTS["jobset"])
    assert str(Path(output).parent) in {
        each["mountPath"] for each in POD["containers"][0]["volumeMounts"]
    }


def instructions() -> list[tuple[str, list[str]]]:
    """Those of the Dockerfile, with their words."""
    text = re.sub(r"^\s*#.*\n", "", text_of(FOLDER / "Dockerfile"), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split()[0], shlex.split(line)[1:]) for line in lines]


def test_the_image_copies_what_is_there_and_installs_by_the_constraints() -> None:
    found: list[tuple[str, Any]] = instructions()
    assert {name for name, _ in found} <= {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "CMD"}
    assert found[0][0] == "FROM"
    for name, words in found:
        if name == "COPY":
            assert [each for each in words[:-1] if not (ROOT / each).exists()] == []
    install = next(words for name, words in found if name == "RUN" and "--constraint" in words)
    files = [after for word, after in pairwise(install) if word == "--constraint"]
    assert files == ["constraints.txt", "constraints-gpu.txt"]
    copied = {each for name, words in found if name == "COPY" for each in words[:-1]}
    assert {*files, "pyproject.toml", "README.md", "LICENSE", "rvpo"} <= copied
