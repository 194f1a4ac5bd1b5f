"""The money that a worker may spend on its judge."""

from __future__ import annotations

from collections.abc import Sequence

from rvpo.errors import CheckpointError
from rvpo.judge.spending import SPENT, UNNOTED, Spending
from rvpo.judge.worker.endpoint import Endpoint
from rvpo.judge.worker.refusal import Failure
from rvpo.judge.worker.reply import CallFailed


class Purse:
    """Pays for each reply, and lets nothing more be asked once the money is spent.

    What is under way then still comes, and is paid: the limit is passed by less than the calls in
    flight cost.

    Args:
        spending: the books of everyone; None where nothing has a price.
        dollars: most that the judge may cost; None for no limit.
        endpoints: those that nobody is to ask any more then.
    """

    def __init__(
        self, spending: Spending | None, dollars: float | None, endpoints: Sequence[Endpoint]
    ) -> None:
        self._spending = spending
        self._dollars = dollars
        self._endpoints = endpoints

    def open(self) -> None:
        """See that there is money left."""
        if self._spending is None or self._dollars is None:
            return
        if self._spending.total() >= self._dollars:
            for endpoint in self._endpoints:
                endpoint.broken = Failure(SPENT)

    def pay(self, dollars: float) -> None:
        """Note what a reply has cost, whether or not it is of use.

        Raises:
            CallFailed: that cannot be noted.
        """
        if self._spending is None:
            return
        try:
            self._spending.add(dollars)
            self.open()
        except CheckpointError:
            raise CallFailed(UNNOTED, "stop") from None

    def close(self) -> None:
        """Close the books. A second call does nothing."""
        if self._spending is not None:
            self._spending.close()
