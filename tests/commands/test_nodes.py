"""Ranks that no launcher of ours started: each node with a working folder and files of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch.distributed as dist
import yaml

from rvpo.runtime.port import LOOPBACK, free_port
from tests.commands.forked import ForkedRun, forker
from tests.commands.test_train import (
    RANK_VARIABLES,
    count_steps,
    metrics,
    samples,
)
from tests.commands.test_train_judged import STEPS, judged, truth
from tests.configs import tiny_settings
from tests.judge.processes import wait_until
from tests.judge.server import FakeEndpoint

pytestmark = pytest.mark.slow

NODES = 2
PATIENCE_S = 240
"""For what takes seconds where nothing else runs."""

Started = Callable[..., list[ForkedRun]]
Runs = Callable[..., list[tuple[int, str]]]
Nodes = Callable[..., list[Path]]


@pytest.fixture
def started() -> Iterator[Started]:
    """A rank in each folder, as torchrun would start it; none is left behind.

    `meet` is the address of rank 0, `far` the network namespace of the other ranks, `others` the
    ranks that are waited for and never come. `environments` are what torchrun, or a test, has each
    of them know beyond.
    """
    every: list[ForkedRun] = []

    def start(
        folders: Sequence[Path],
        *arguments: str,
        meet: str = LOOPBACK,
        far: str | None = None,
        others: int = 0,
        environments: Sequence[Mapping[str, str]] = ({}, {}),
    ) -> list[ForkedRun]:
        port = str(free_port())
        kept = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
        ranks = [
            forker().start(
                ["train", "--config", "config.yaml", *arguments],
                folder,
                kept
                | {"RANK": str(rank), "LOCAL_RANK": "0", "WORLD_SIZE": str(len(folders) + others)}
                | {"LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": meet, "MASTER_PORT": port}
                | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(folder)])}
                | environment,
                far if rank else None,
            )
            for rank, (folder, environment) in enumerate(zip(folders, environments, strict=False))
        ]
        every.extend(ranks)
        return ranks

    yield start
    for rank in every:
        rank.kill()
        rank.wait(PATIENCE_S)


@pytest.fixture
def run_nodes(started: Started) -> Runs:
    """Exit status and last words of each rank of a run that ends by itself."""

    def run(folders: Sequence[Path], *arguments: str, **more: Any) -> list[tuple[int, str]]:
        ranks = started(folders, *arguments, **more)
        return [(rank.wait(PATIENCE_S), rank.text()) for rank in ranks]

    return run


@pytest.fixture
def network() -> Iterator[dict[str, str]]:
    """This machine and a second one, with a cable between them and loopbacks of their own."""
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and the program ip")
    name, near = f"rvpo-{os.getpid()}", f"rvpo{os.getpid() % 100000}"
    # Of four addresses each, so that test runs beside one another do not share any.
    third, fourth = divmod(4 * (os.getpid() % 2**14), 256)
    here, there = f"10.77.{third}.{fourth + 1}", f"10.77.{third}.{fourth + 2}"
    commands = [
        f"ip netns add {name}",
        f"ip link add {near} type veth peer name far netns {name}",
        f"ip addr add {here}/30 dev {near}",
        f"ip link set {near} up",
        f"ip -n {name} addr add {there}/30 dev far",
        f"ip -n {name} link set far up",
        f"ip -n {name} link set lo up",
    ]
    try:
        for command in commands:
            done = subprocess.run(command.split(), capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"there are no network namespaces here: {done.stderr}")
        yield {"meet": here, "far": name}
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@pytest.fixture
def nodes(tiny_model: Path, tmp_path: Path) -> Nodes:
    """Two nodes that share a disk, each with a working folder of its own."""

    def make(**sections: Any) -> list[Path]:
        folders = [tmp_path / f"node-{number}" for number in range(NODES)]
        for folder in folders:
            folder.mkdir()
            rows = [{"prompt": f"word {n}", "id": str(n)} for n in range(8)]
            (folder / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
            settings = tiny_settings(tiny_model, tmp_path / "shared" / "run", **sections)
            settings["data"] = {"train": {"path": "rows.jsonl"}}
            (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        return folders

    return make


def test_nodes_without_a_common_folder_are_refused_and_nothing_is_written(
    nodes: Nodes,
    run_nodes: Runs,
) -> None:
    folders = nodes()
    for folder in folders:
        settings = yaml.safe_load((folder / "config.yaml").read_text()) | {"output": "runs/own"}
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    before = [sorted(folder.iterdir()) for folder in folders]
    for code, said in run_nodes(folders):
        assert code == 2
        assert "output: rank 1 on" in said.splitlines()[-1]
        assert "put output on a disk that all of them share" in said
        assert "Traceback" not in said
    assert [sorted(folder.iterdir()) for folder in folders] == before


def other_rows_and_settings(folder: Path) -> Sequence[str]:
    text = (folder / "rows.jsonl").read_text()
    (folder / "rows.jsonl").write_text(text.replace("word 3", "word three"))
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(settings | {"seed": 99}))
    return "rank 1 on", "rows of data.train", "settings"


def no_rows(folder: Path) -> Sequence[str]:
    (folder / "rows.jsonl").unlink()
    return ("rows.jsonl",)


@pytest.mark.parametrize("change", [other_rows_and_settings, no_rows])
def test_nodes_with_other_inputs_are_refused_by_name(
    nodes: Nodes, run_nodes: Runs, tmp_path: Path, change: Callable[[Path], Sequence[str]]
) -> None:
    folders = nodes()
    named = change(folders[1])
    for code, said in run_nodes(folders):
        assert code == 2
        assert [name for name in named if name not in said.splitlines()[-1]] == []
        assert "Traceback" not in said
    assert not (tmp_path / "shared").exists()


def test_prompts_that_the_ranks_cannot_share_are_refused(
    nodes: Nodes,
    run_nodes: Runs,
) -> None:
    for code, said in run_nodes(nodes(), "rollout.prompts_per_step=3"):
        assert code == 2
        assert "cannot be shared equally by the 2 ranks" in said.splitlines()[-1]


def test_what_one_node_alone_is_told_to_do_is_refused_by_name(
    nodes: Nodes,
    run_nodes: Runs,
) -> None:
    folders = nodes()
    settings = yaml.safe_load((folders[1] / "config.yaml").read_text())
    settings["rollout"]["prompts_per_step"] = 3
    (folders[1] / "config.yaml").write_text(yaml.safe_dump(settings))
    for code, said in run_nodes(folders):
        assert code == 2
        assert "3 prompts cannot be shared equally" in said.splitlines()[-1]


def test_a_score_without_a_level_in_the_midst_of_training_ends_every_rank_with_a_sentence(
    nodes: Nodes, run_nodes: Runs, tmp_path: Path
) -> None:
    estimator = {"name": "level_min"}
    late = {"rewards": {"big": {"function": "tests.broken_rewards:leaves_its_range"}}}
    for code, said in run_nodes(nodes(advantage=estimator, checkpoint={"every": 1}, **late)):
        assert code == 2, said
        assert "reward 'big' has a score of -3" in said.splitlines()[-1]
        assert "rewards.big.satisfied: {bad: ..., good: ...}" in said.splitlines()[-1]
        assert "Traceback" not in said
    run = tmp_path / "shared" / "run"
    assert count_steps(run) == 2
    assert {path.name for path in (run / "checkpoints").iterdir()} >= {"step-000002"}


def test_a_node_whose_others_never_come_can_be_stopped(nodes: Nodes, started: Started) -> None:
    first, _ = nodes()
    (alone,) = started([first], others=1)
    process = psutil.Process(alone.pid)
    wait_until(lambda: "LISTEN" in {c.status for c in process.net_connections()}, PATIENCE_S)
    time.sleep(1)  # it has opened the place to meet, and waits there
    assert alone.poll() is None
    alone.send_signal(signal.SIGTERM)
    assert alone.wait(PATIENCE_S) in (-signal.SIGTERM, 130)


def test_a_node_that_dies_ends_the_others_and_a_restart_goes_on_with_every_prompt_once(
    nodes: Nodes, started: Started, run_nodes: Runs, tmp_path: Path
) -> None:
    folders = nodes(
        rewards={"late": {"function": "tests.commands.dying:at_the_third_step"}},
        checkpoint={"every": 1},
    )
    # As torchrun's agent does, this store outlives the ranks that meet in it.
    kept = dist.TCPStore(LOOPBACK, 0, NODES, is_master=True, wait_for_workers=False)
    place = {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_PORT": str(kept.port)}
    run = tmp_path / "shared" / "run"
    first, second = started(
        folders, "--resume-if-any", environments=[place, place | {"RVPO_TEST_DIES": "1"}]
    )
    assert second.wait(PATIENCE_S) == -signal.SIGKILL
    assert first.wait(PATIENCE_S) == 2
    assert "lost another rank" in first.text().splitlines()[-1]
    assert "Traceback" not in first.text()
    assert count_steps(run) == 2
    found = run_nodes(folders, "--resume-if-any", environments=[place, place])
    assert [code for code, _ in found] == [0, 0], found
    assert count_steps(run) == 4
    prompts = Counter(row["prompt_id"] for row in samples(run))
    assert prompts == dict.fromkeys(map(str, range(8)), 4)


def test_every_node_reaches_the_judge_without_a_setting(
    nodes: Nodes, run_nodes: Runs, network: dict[str, str], tmp_path: Path
) -> None:
    with FakeEndpoint(truth=truth) as endpoint:
        found = run_nodes(nodes(**judged(endpoint, tmp_path / "cache")), **network)
    assert [code for code, _ in found] == [0, 0], found
    rows = samples(tmp_path / "shared" / "run")
    assert len(rows) == STEPS * 2 * 4
    assert {value is None for row in rows for value in row["scores"].values()} == {False}


def test_a_judge_that_only_its_own_machine_reaches_is_refused(
    nodes: Nodes, run_nodes: Runs, network: dict[str, str], tmp_path: Path
) -> None:
    with FakeEndpoint(truth=truth) as endpoint:
        folders = nodes(**judged(endpoint, tmp_path / "cache", host="127.0.0.1"))
        for code, said in run_nodes(folders, **network):
            assert code == 2
            assert "judge.host: 127.0.0.1 is reached from this machine alone" in said
            assert "Traceback" not in said


def test_nodes_with_a_network_between_them_give_what_one_machine_gives(
    nodes: Nodes, run_nodes: Runs, network: dict[str, str], tmp_path: Path
) -> None:
    folders = nodes()
    here = tmp_path / "here"
    for found in (run_nodes(folders, **network), run_nodes(folders, f"output={here}")):
        assert [code for code, _ in found] == [0, 0], found
    there = tmp_path / "shared" / "run"
    assert len(metrics(there)) == 4
    assert metrics(there) == metrics(here)
    first, second = (
        (folder / "model" / "model.safetensors").read_bytes() for folder in (there, here)
    )
    assert first == second
