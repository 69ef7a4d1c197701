"""Numbers of a mailbox, as STATUS tells them (RFC 9051 section 7.3.4 and extensions)."""

from __future__ import annotations

from moxtwisted.imap.wire import responsedata as r

__all__ = ["MailboxNumbers"]


def _item(name: str) -> property:
    def get(numbers: MailboxNumbers) -> int | None:
        value = numbers.get(name)
        return value if isinstance(value, int) else None

    return property(get)


class MailboxNumbers(dict[str, r.Value]):
    """Values by item, in upper case; those of known items as attributes, ``None`` where the server did not say one.

    :ivar size_octets: of all messages (STATUS=SIZE, RFC 8438).
    :ivar deleted_octets: of those with \\Deleted: about what EXPUNGE would give back (DELETED-STORAGE, RFC 9208 section 4.1.4).
    :ivar append_limit: octets of the largest message that may be saved (RFC 7889).
    """

    messages = _item("MESSAGES")
    recent = _item("RECENT")
    uidnext = _item("UIDNEXT")
    uidvalidity = _item("UIDVALIDITY")
    unseen = _item("UNSEEN")
    deleted = _item("DELETED")
    size_octets = _item("SIZE")
    deleted_octets = _item("DELETED-STORAGE")
    highestmodseq = _item("HIGHESTMODSEQ")
    append_limit = _item("APPENDLIMIT")

    @property
    def mailbox_id(self) -> str | None:
        """MAILBOXID (RFC 8474)."""
        value = self.get("MAILBOXID")
        return value if isinstance(value, str) else None
