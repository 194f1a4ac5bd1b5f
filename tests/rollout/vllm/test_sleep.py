"""The choreography of a GPU's memory, on a stand-in for the engine that has it."""

from __future__ import annotations

from rvpo.rollout.vllm.sleep import Sleep


class FakeLlm:
    def __init__(self) -> None:
        self.awake = {"weights", "kv_cache"}

    def sleep(self, level: int) -> None:
        assert level == 1  # which keeps the weights
        self.awake = set()

    def wake_up(self, tags: list[str]) -> None:
        assert not self.awake & set(tags), "what is awake must not be mapped again"
        self.awake |= set(tags)


def test_new_weights_come_while_the_cache_is_asleep() -> None:
    llm = FakeLlm()
    sleep = Sleep(llm, ever=True)
    sleep.begin()
    sleep.end("weights")
    assert llm.awake == {"weights"}
    sleep.end("weights", "kv_cache")
    assert llm.awake == {"weights", "kv_cache"}


def test_a_second_rollout_with_the_same_weights_wakes_them_again() -> None:
    llm = FakeLlm()
    sleep = Sleep(llm, ever=True)
    for _ in range(2):
        sleep.begin()
        sleep.end("weights", "kv_cache")
        assert llm.awake == {"weights", "kv_cache"}


def test_an_engine_that_has_its_memory_alone_never_sleeps() -> None:
    llm = FakeLlm()
    sleep = Sleep(llm, ever=False)
    sleep.begin()
    assert llm.awake == {"weights", "kv_cache"}
    sleep.end("weights", "kv_cache")
