"""Tools and an environment in TRL's manner: nothing of rvpo is in them."""


def multiply(a: int, b: int) -> int:
    """
    Multiplies two integers.

    Args:
        a: The first integer.
        b: The second integer.

    Returns:
        The product of the two integers.
    """
    return a * b


async def async_add(a: int, b: int) -> int:
    """
    Asynchronously adds two integers.

    Args:
        a: The first integer.
        b: The second integer.

    Returns:
        The sum of the two integers.
    """
    return a + b


class Counter:
    """Counts to a target that the data give."""

    def reset(self, target: int, **kwargs: object) -> str | None:
        self.count = 0
        self.target = target
        self.row = kwargs
        return f" Stop at {target}."

    def get_reward(self) -> float:
        return float(self.count == self.target)

    def increment(self, step: int) -> int:
        """
        Increments the counter.

        Args:
            step: The value to add.

        Returns:
            The new value.
        """
        if step < 0:
            raise ValueError("a step is not negative")
        self.count += step
        return self.count

    def _helper(self) -> None:
        """No tool: it is not public."""


def reached(environments: list[Counter], **kwargs: object) -> list[float]:
    return [float(each.count == each.target) for each in environments]
