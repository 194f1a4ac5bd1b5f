"""The rule that ends a run whose training judge and gold judge drift apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rvpo.config.gold import GoldStopConfig
from rvpo.errors import ConfigError, nearest
from rvpo.report.gold import GoldScores
from rvpo.report.run_folder import RunFolder
from rvpo.runtime.ranks import Ranks


@dataclass(frozen=True)
class GoldStop:
    """Ends a run by what its folder holds of the gold watch, so that a resumed one ends alike.

    Args:
        rule: None lets every run go on to its last step.
        names: rewards and parts whose gap counts.
        most_missing: share of the verdicts that may be missing where a gap is to count.
        say: told why a run ends.
    """

    rule: GoldStopConfig | None
    names: Sequence[str]
    most_missing: float
    folder: RunFolder
    ranks: Ranks
    say: Callable[[str], None]

    def __call__(self, step: int) -> bool:
        """True where the run ends after so many updates, on every rank alike. Every rank must call.

        Raises:
            CheckpointError: what the watch kept is damaged.
            RankError: it is so on the main rank.
        """
        if self.rule is None:
            return False
        with self.ranks.together():
            found = self._reason(self.rule, step) if self.ranks.is_main else None
        reason = self.ranks.first(found)
        if reason is not None:
            self.say(reason)
        return reason is not None

    def check(self) -> None:
        """Refuse a rule that would end the run for what was so before training. Every rank must
        call, once the watch has looked at step 0.

        Raises:
            ConfigError: a gap is too large already.
            RankError: it is so on the main rank.
        """
        self.tell()
        rule = self.rule
        if rule is None or rule.gap is None:
            return
        with self.ranks.together():
            for name in self.names if self.ranks.is_main else ():
                gap = self._gaps(name, 0).get(0)
                if gap is not None and _exceeds(gap, rule.gap):
                    raise ConfigError(
                        f"evaluate.gold.stop.gap: {rule.gap:g} is less than the gap of '{name}' "
                        f"before training, {gap:.3f}, so that the rule would end every run; give a "
                        "larger one, or growth in its place, which counts from there, or name in "
                        "evaluate.gold.stop.of what is to count"
                    )

    def tell(self) -> None:
        """Say where growth cannot be counted, since the look before training lost too much."""
        if self.rule is None or self.rule.growth is None or not self.ranks.is_main:
            return
        path = self.folder.gold_scores(0)
        look = GoldScores.read(path) if path.exists() else None
        # What no held-out prompt asks for is not missing from the look.
        asked = [name for name in self.names if look is None or look.missing_of(name) > 0]
        lost = [f"'{name}'" for name in asked if 0 not in self._gaps(name, 0)]
        if lost:
            self.say(
                f"evaluate.gold.stop.growth: the gap of {', '.join(lost)} before training is not "
                "known, so that no growth is counted from there, and none from a later look; "
                "gap has its say without it"
            )

    def _reason(self, rule: GoldStopConfig, step: int) -> str | None:
        """The sentence for a run that ends here; None for one that goes on."""
        for name in self.names:
            gaps = self._gaps(name, step)
            start = gaps.get(0)
            trained = [(at, gap) for at, gap in gaps.items() if at > 0]
            last = dict(trained[-rule.times :])
            if step not in last or len(last) < rule.times:
                continue
            if all(any(_too_large(rule, gap, start)) for gap in last.values()):
                return _sentence(rule, name, last, start)
        return None

    def _gaps(self, name: str, step: int) -> dict[int, float]:
        """The gap after each step at which the watch looked, in order, up to this one. A look that
        lost too much has no say, in either direction."""
        found = {}
        for known in self.folder.watched():
            if known > step:
                continue
            look = GoldScores.read(self.folder.gold_scores(known))
            gap = look.mean("gaps", name)
            if gap is not None and look.missing_of(name) <= self.most_missing:
                found[known] = gap
        return found


def counted_names(rule: GoldStopConfig | None, aspects: Sequence[str]) -> tuple[str, ...]:
    """Names whose gap counts.

    Args:
        aspects: rewards that are watched, and their parts, in which gaps of either sign cannot
            cancel as they can in the whole.

    Raises:
        ConfigError: the rule names another one.
    """
    for name in () if rule is None else rule.of:
        if name not in aspects:
            close = nearest(name, aspects)
            meant = f"did you mean '{close}'?" if close else f"choose from {', '.join(aspects)}"
            raise ConfigError(
                f"evaluate.gold.stop.of: '{name}' is no reward that is watched, and no part of "
                f"one; {meant}"
            )
    return tuple(aspects) if rule is None or not rule.of else rule.of


def _too_large(rule: GoldStopConfig, gap: float, start: float | None) -> Iterator[bool]:
    yield rule.gap is not None and _exceeds(gap, rule.gap)
    if rule.growth is not None and start is not None:
        yield _exceeds(gap - start, rule.growth)


def _exceeds(gap: float, limit: float) -> bool:
    # Rounded, so that .9 - .7 does not exceed .2.
    return round(gap - limit, 9) > 0


def _sentence(
    rule: GoldStopConfig, name: str, gaps: Mapping[int, float], start: float | None
) -> str:
    limits = [f"gap={rule.gap:g}"] if rule.gap is not None else []
    if rule.growth is not None and start is not None:
        limits.append(f"growth={rule.growth:g} from {start:.3f} at the start")
    told = ", ".join(f"{gap:.3f} after step {step}" for step, gap in gaps.items())
    return (
        f"evaluate.gold.stop: the run ends here. The training judge scores '{name}' higher than "
        f"the gold judge does, by {told}: more than {' or '.join(limits)} allows. Checkpoint and "
        "model are kept; to train on, resume with another rule: --resume evaluate.gold.stop=null"
    )
