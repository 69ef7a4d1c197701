"""Numbers as they stand in responses, many at once.

A large part of telling 10,000 messages is making their numbers' digits, which are the same in every mailbox. So they are kept::

    decimals(range(1, 10001))            # ["1", "2", …]
    decimals(array("I", [3, 5, 8]))      # ["3", "5", "8"]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["decimals"]

#: Numbers below this one are kept, from 1 to the largest that was asked for; 65,536 are 4.7 MB.
_KEPT_BELOW: Final = 1 << 16
#: So many more are made at once.
_STEP: Final = 1024

_kept = ["0"]


def decimals(numbers: Sequence[int]) -> list[str]:
    """Each number as text.

    :param numbers: positive, ascending, none twice.
    """
    if not numbers:
        return []
    first, last = numbers[0], numbers[-1]
    if last >= _KEPT_BELOW:
        return list(map(str, numbers))
    if last >= len(_kept):
        _kept.extend(map(str, range(len(_kept), min(last // _STEP * _STEP + _STEP, _KEPT_BELOW))))
    if last - first == len(numbers) - 1:
        return _kept[first : last + 1]
    return list(map(_kept.__getitem__, numbers))
