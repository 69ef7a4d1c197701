r"""Special uses of mailboxes that clients may set (RFC 6154, RFC 8457), by CREATE or as metadata.

::

    parse_uses(b"\\drafts \\Sent")      -> ("\\Drafts", "\\Sent")
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

__all__ = ["SETTABLE", "UnknownUseError", "checked_uses", "parse_uses"]

SETTABLE: Final = frozenset({"\\Archive", "\\Drafts", "\\Important", "\\Junk", "\\Sent", "\\Trash"})
r"""RFC 6154 section 2 and RFC 8457 section 3; \All and \Flagged are views that we do not have."""

_SPELLING: Final = {use.lower(): use for use in SETTABLE}


class UnknownUseError(ValueError):
    """Not a special use, or none that can be set."""


def checked_uses(uses: Iterable[str]) -> tuple[str, ...]:
    """In their usual spelling, each once.

    :raise UnknownUseError: when one cannot be set.
    """
    try:
        return tuple(dict.fromkeys(_SPELLING[use.lower()] for use in uses))
    except KeyError as e:
        raise UnknownUseError("special use is not supported") from e


def parse_uses(value: bytes | None) -> tuple[str, ...]:
    """The value of /private/specialuse (RFC 6154 section 4): attributes with spaces between, as LIST has them.

    :raise UnknownUseError: see `checked_uses`.
    """
    return checked_uses((value or b"").decode("ascii", "replace").split())
