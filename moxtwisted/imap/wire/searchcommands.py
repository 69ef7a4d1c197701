"""The commands that look for messages; ``moxtwisted.imap.wire.commands`` has them too."""

from __future__ import annotations

from attrs import frozen

from moxtwisted.imap.wire.command import Command
from moxtwisted.imap.wire.mailboxfilter import MailboxFilter
from moxtwisted.imap.wire.returnoptions import ReturnOptions
from moxtwisted.imap.wire.searchkeys import SearchKey
from moxtwisted.imap.wire.sortcriteria import SortCriterion, ThreadAlgorithm

__all__ = ["CancelUpdate", "MultiSearch", "Search", "Sort", "Thread"]


@frozen
class Search(Command):
    """SEARCH and UID SEARCH.

    :ivar key: the program; ``moxtwisted.imap.wire.searchkeys.And`` when it has several keys.
    :ivar returns: result options; ``RETURN ()`` is ``{ALL}`` (RFC 9051 section 6.4.4). ``None`` without
        RETURN, when an
        IMAP4rev1 client wants the untagged SEARCH response.
    :ivar charset: as given, in upper case (``"UTF-8"`` or ``"US-ASCII"``; others were refused), or ``None``.
        After
        UTF8=ACCEPT it must be ``None`` (RFC 9755 section 3), which the server checks.
    :ivar uid: whether UIDs shall be answered.
    """

    key: SearchKey
    returns: ReturnOptions | None = None
    charset: str | None = None
    uid: bool = False
    name = "SEARCH"


@frozen
class Sort(Command):
    """SORT and UID SORT (RFC 5256).

    :ivar criteria: one or more, the first decides first.
    :ivar returns: result options as with SEARCH (RFC 5267 section 3); ``None`` without RETURN.
    :ivar charset: ``"UTF-8"`` or ``"US-ASCII"``.
    """

    criteria: tuple[SortCriterion, ...]
    key: SearchKey
    returns: ReturnOptions | None = None
    charset: str = "UTF-8"
    uid: bool = False
    name = "SORT"


@frozen
class Thread(Command):
    """THREAD and UID THREAD (RFC 5256)."""

    algorithm: ThreadAlgorithm
    key: SearchKey
    charset: str = "UTF-8"
    uid: bool = False
    name = "THREAD"


@frozen
class CancelUpdate(Command):
    """CANCELUPDATE (RFC 5267 section 4.3.5).

    :ivar tags: of the searches, one or more.
    """

    tags: tuple[bytes, ...]
    name = "CANCELUPDATE"


@frozen
class MultiSearch(Command):
    """ESEARCH (RFC 7377).

    :ivar sources: which mailboxes; empty for the selected one.
    :ivar returns: result options; ``None`` without RETURN.
    :ivar charset: as of ``Search``.
    """

    key: SearchKey
    sources: tuple[MailboxFilter, ...] = ()
    returns: ReturnOptions | None = None
    charset: str | None = None
    name = "ESEARCH"
