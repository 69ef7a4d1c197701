"""What the store learns junk with, in all accounts.

::

    store.learner = LEARNER          # flags, moves and replies are learned from now on, behind the replies
    await account.relearn()          # forget it all and learn it anew
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from moxtwisted.junk.scoring import VERSION
from moxtwisted.junk.tokens import ENOUGH_OCTETS, Features, features
from moxtwisted.message.mime import Scanner
from moxtwisted.store.interfaces import IBodyReader
from moxtwisted.store.junkwords import JunkWords

__all__ = ["LEARNER", "read_features"]

_READ_OCTETS: Final = 1 << 18


def read_features(octets: IBodyReader) -> Features:
    """The tokens of a message that is kept; the same that it had when it came."""
    scanner = Scanner()
    for offset in range(0, min(octets.size, ENOUGH_OCTETS), _READ_OCTETS):
        scanner.feed(octets.read(offset, min(_READ_OCTETS, ENOUGH_OCTETS - offset)))
    return features(scanner.finish(), octets.read)


def _take_apart(octets: IBodyReader) -> tuple[Collection[int], bool]:
    found = read_features(octets)
    return found.numbers(), found.html


LEARNER: Final = JunkWords(VERSION, _take_apart)
