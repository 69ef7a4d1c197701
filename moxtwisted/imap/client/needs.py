"""What a server must have announced for arguments that are typed; those given as text are the caller's affair.

The tables are the server's own (``moxtwisted.imap.options``); what stands here is what one capability implies of another, since not all
servers announce both.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from moxtwisted.imap.options import missing

__all__ = ["not_offered"]

_IMPLIED: Final[dict[str, tuple[str, ...]]] = {
    # RFC 9051 appendix E: what was folded into it.
    "IMAP4REV2": ("ESEARCH", "SEARCHRES", "LIST-EXTENDED", "LIST-STATUS", "BINARY", "STATUS=SIZE"),
    # RFC 7162 section 3.2.3
    "QRESYNC": ("CONDSTORE",),
    # RFC 9738 section 3.2: UIDAFTER and UIDBEFORE, which are of UIDONLY, too.
    "MESSAGELIMIT": ("UIDONLY",),
    # RFC 5267 section 4.1: each of them has the options, for its own command.
    "CONTEXT=SORT": ("CONTEXT=SEARCH",),
}
_WITH_VALUE: Final = ("APPENDLIMIT", "MESSAGELIMIT")


def not_offered(values: Iterable[Any], capabilities: frozenset[str]) -> str | None:
    """The first capability that one of these needs and that is not there, or ``None``.

    :param values: search keys, return options, data items and the like; what else stands there needs nothing.
    :param capabilities: in upper case.
    """
    return missing(tuple(values), _offered(capabilities))


# A server announces two or three sets of them; a client looks at each command.
@lru_cache(maxsize=16)
def _offered(capabilities: frozenset[str]) -> frozenset[str]:
    offered = set(capabilities)
    offered.update(name for name in _WITH_VALUE if any(one.startswith(name + "=") for one in capabilities))
    for name, implied in _IMPLIED.items():
        if name in offered:
            offered.update(implied)
    return frozenset(offered)
