"""vLLM's variables: ours where it must be so, else the user's, else the usual ones."""

from pathlib import Path

from rvpo.runtime.vllm_environment import vllm_environment


def test_the_words_of_the_user_count_but_for_memory_and_meeting_place() -> None:
    given = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_RPC_BASE_PATH": "/elsewhere",
        "VLLM_NO_USAGE_STATS": "0",
        "OMP_WAIT_POLICY": "ACTIVE",
        "OTHER": "kept",
    }
    found = vllm_environment(given, 3, Path("/here"))
    assert found == given | {
        "VLLM_CPU_KVCACHE_SPACE": "3",
        "VLLM_RPC_BASE_PATH": "/here",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }


def test_an_engine_within_this_process_meets_nobody_and_lets_its_threads_be() -> None:
    found = vllm_environment({}, 3, None)
    assert not {"VLLM_RPC_BASE_PATH", "OMP_WAIT_POLICY"} & set(found)
