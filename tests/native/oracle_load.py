"""What ``fastim._load`` should say, in plain Python that keeps everything."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[int], share: float) -> int:
    """The smallest value that ``share`` of them do not exceed; 0 when there are none."""
    ordered = sorted(values)
    if not ordered:
        return 0
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]
