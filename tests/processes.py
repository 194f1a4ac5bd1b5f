"""Processes of a run."""

from __future__ import annotations

import psutil


def kill_all(launcher: int) -> None:
    """End a run by SIGKILL as a whole: ranks and engines first, for a rank whose launcher is gone
    would still come to an orderly end."""
    top = psutil.Process(launcher)
    for process in (*top.children(recursive=True), top):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def ranks_of(launcher: int) -> dict[int, psutil.Process]:
    """The running ranks, by number."""
    children = psutil.Process(launcher).children()
    return {int(each.environ()["RANK"]): each for each in children if "RANK" in each.environ()}


def engines_of(launcher: int, name: str = "VLLM::") -> list[psutil.Process]:
    """vLLM's processes, or those of a name."""
    children = psutil.Process(launcher).children(recursive=True)
    return [each for each in children if name in " ".join(each.cmdline())]


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that only waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
