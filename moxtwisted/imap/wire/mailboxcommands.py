r"""Commands about what is said of mailboxes: METADATA (RFC 5464), QUOTA (RFC 9208); and LANGUAGE (RFC 5255).

::

    a3 GETMETADATA (MAXSIZE 1024 DEPTH 1) INBOX (/private/filters/values /shared/comment)
      -> GetMetadata(b"a3", "INBOX", ("/private/filters/values", "/shared/comment"), 1024, Depth.ONE)

Names of entries are in lower case, since case does not matter in them (RFC 5464 section 3.2). An empty mailbox name is the
server itself.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from moxtwisted.imap.wire.commands import Command

__all__ = ["Depth", "GetMetadata", "GetQuota", "GetQuotaRoot", "Language", "SetMetadata", "SetQuota"]


class Depth(Enum):
    """How far below an entry GETMETADATA looks (RFC 5464 section 4.2.2)."""

    ZERO = "0"
    ONE = "1"
    INFINITY = "infinity"


@frozen
class GetMetadata(Command):
    """GETMETADATA.

    :ivar mailbox: empty for the server.
    :ivar entries: one or more, each once.
    :ivar max_size: MAXSIZE, octets of a value, or None.
    """

    mailbox: str
    entries: tuple[str, ...]
    max_size: int | None = None
    depth: Depth = Depth.ZERO
    name = "GETMETADATA"


@frozen
class SetMetadata(Command):
    """SETMETADATA.

    :ivar mailbox: empty for the server.
    :ivar values: by entry, each once; None removes it.
    """

    mailbox: str
    values: tuple[tuple[str, bytes | None], ...]
    name = "SETMETADATA"


@frozen
class GetQuota(Command):
    """GETQUOTA.

    :ivar root: as the server named it.
    """

    root: str
    name = "GETQUOTA"


@frozen
class GetQuotaRoot(Command):
    """GETQUOTAROOT."""

    mailbox: str
    name = "GETQUOTAROOT"


@frozen
class SetQuota(Command):
    """SETQUOTA.

    :ivar limits: resource in upper case, and its limit.
    """

    root: str
    limits: tuple[tuple[str, int], ...]
    name = "SETQUOTA"


@frozen
class Language(Command):
    """LANGUAGE.

    :ivar ranges: what the user understands, best first, in lower case; empty asks for the list of languages.
    """

    ranges: tuple[str, ...] = ()
    name = "LANGUAGE"
