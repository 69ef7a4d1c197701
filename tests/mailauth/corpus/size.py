"""How many cases of the corpus are looked at: 5,000 of each kind, or what the environment says."""

from __future__ import annotations

import os

__all__ = ["numbers"]


def numbers() -> range:
    """The numbers of the cases.

    ``MOXTWISTED_CORPUS=100000`` are the first hundred thousand, ``=5000:20000`` those between.
    """
    first, _, end = os.environ.get("MOXTWISTED_CORPUS", "5000").rpartition(":")
    return range(int(first or "0"), int(end))
