"""Use of vLLM's KV cache during a rollout."""

from __future__ import annotations

from types import SimpleNamespace

from rvpo.rollout.vllm.cache_use import CacheUse


class FakeScheduler:
    """As vLLM's, as far as it is looked at."""

    def __init__(self) -> None:
        self.kv_cache_manager = SimpleNamespace(usage=0.0)
        self.requests: dict[str, SimpleNamespace] = {}

    def step(self, usage: float, **preempted: int) -> None:
        """A step after which requests have given up their place so many times; the others are
        finished and forgotten."""
        self.kv_cache_manager.usage = usage
        self.requests = {
            name: SimpleNamespace(num_preemptions=times) for name, times in preempted.items()
        }


def test_the_fullest_step_and_every_preemption_count() -> None:
    scheduler = FakeScheduler()
    use = CacheUse(scheduler)
    scheduler.step(0.25, a=0, b=0, c=0)
    use.look()
    scheduler.step(0.95, a=1, b=0, c=2)
    use.look()
    scheduler.step(0.5, a=1, b=1)
    use.look()
    scheduler.step(0.0)
    use.look()
    assert use.highest == 0.95
    assert use.preemptions == 4


def test_a_rollout_without_preemptions_has_0_of_them() -> None:
    use = CacheUse(FakeScheduler())
    use.look()
    assert (use.highest, use.preemptions) == (0.0, 0)


def test_nothing_is_known_of_an_engine_in_another_process() -> None:
    use = CacheUse(None)
    use.look()
    assert (use.highest, use.preemptions) == (None, None)
