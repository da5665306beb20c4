"""Trying again: how long to wait after something was done in vain."""


def back_off(failures: int, first_seconds: float, most_seconds: float, luck: float) -> float:
    """How long to wait after the latest of ``failures`` in a row, in seconds.

    Each wait is twice as long as the one before, and then up to a quarter shorter, so that what has failed together is
    not tried again together.

    Args:
        failures: 1 after the first; less counts as 1.
        first_seconds: The wait after the first failure.
        most_seconds: No wait is longer, not even the first.
        luck: From 0 to 1, the same for every value: what is taken off.
    """
    doubled = first_seconds * 2.0 ** min(max(failures, 1) - 1, _DOUBLINGS_MAX)
    return min(doubled, most_seconds) * (1 - luck * _SHORTER_BY)


_DOUBLINGS_MAX = 64
"""More of them would say nothing that ``most_seconds`` does not say, and end in an overflow."""
_SHORTER_BY = 0.25
