"""The words of ranks that do not meet, and those of others that merely sound so."""

from __future__ import annotations

import pytest
import torch

from rvpo.errors import EngineError, LostRankError, RankError, RewardError
from rvpo.runtime.environment import rank_environment
from rvpo.runtime.ranks import Ranks

GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553]"


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (f"{GLOO} Connection closed by peer [10.0.0.2]:1234", LostRankError),
        (f"{GLOO} Read error [10.0.0.2]:1234: Connection reset by peer", LostRankError),
        ("Application timeout caused pair closure", RankError),
        (f"{GLOO} Timed out waiting 60000ms for recv operation to complete", RankError),
    ],
)
def test_a_rank_that_is_gone_or_silent_is_a_sentence(words: str, kind: type[Exception]) -> None:
    with pytest.raises(kind), Ranks.alone().patience(1):
        raise RuntimeError(words)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("db: Connection refused"),
        RuntimeError("out of memory"),
        RewardError("reward 'sql' raised: Connection reset by peer"),
        EngineError("the disk said: Broken pipe"),
        RankError(f"rank 1 on b: {GLOO} Connection closed by peer"),
    ],
)
def test_what_others_say_of_connections_is_no_word_of_ranks(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, Ranks.alone().patience(1):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("missing", ["WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_a_launcher_that_tells_half_of_a_place_is_refused(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (rank_environment(0, 1, 1)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    with pytest.raises(RankError, match=f"{missing} is not set"):
        Ranks.join()


def test_more_ranks_than_gpus_of_a_machine_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in rank_environment(2, 3, 1).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(RankError, match="torch sees 2 GPUs there; start no more ranks than GPUs"):
        Ranks.join()


NCCL = "NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:93, {}, NCCL version 2.28"
INVALID = NCCL.format("invalid usage (run with NCCL_DEBUG=WARN for details)")
SYSTEM = NCCL.format("unhandled system error (run with NCCL_DEBUG=INFO for details)")
REMOTE = NCCL.format("remote process exited or there was a network error")
DUPLICATE = "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device ac000"
SEGMENT = "Error while creating shared memory segment /dev/shm/nccl-LeXlEJ (size 9637888)"


@pytest.mark.parametrize("kind", [torch.distributed.DistBackendError, torch.distributed.DistError])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (f"{INVALID}\nncclInvalidUsage: invalid.\nLast error:\n{DUPLICATE}", "distributed.process"),
        (f"{SYSTEM}\nncclSystemError: System call failed.\nLast error:\n{SEGMENT}", "--shm-size"),
        (f"{SYSTEM}\nncclSystemError: a socket\nLast error:\n", "NCCL_SOCKET_IFNAME=eth0"),
        (NCCL.format("internal error - please report this issue"), "NCCL_DEBUG=WARN"),
    ],
)
def test_what_nccl_raises_is_a_sentence_that_names_the_remedy(
    words: str, told: str, kind: type[Exception]
) -> None:
    with pytest.raises(RankError, match=told) as raised, Ranks.alone().patience(1, "again"):
        raise kind(words)
    assert "\n" not in str(raised.value)
    assert not isinstance(raised.value, LostRankError)


@pytest.mark.parametrize(
    "words",
    [
        f"{REMOTE}\nncclRemoteError: A call failed possibly due to a network error",
        f"{SYSTEM}\nLast error:\nsocketProgress: Connection closed by remote peer b<40541>",
        f"{SYSTEM}\nLast error:\nNet : Call to recv from 10.0.0.2<5835> failed : Broken pipe",
    ],
)
def test_a_rank_that_nccl_lost_is_no_cause(words: str) -> None:
    with pytest.raises(LostRankError, match="look at what it said"), Ranks.alone().patience(1):
        raise torch.distributed.DistBackendError(words)
