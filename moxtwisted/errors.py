"""The errors that cross package borders; each carries data, not text.

A caller that must answer a peer takes ``reply_code`` and ``enhanced_code`` (RFC 3463) and
``public_text``; the log takes ``detail``, which may name internals::

    try:
        await account.deliver(...)
    except MailError as e:
        reply = (e.reply_code, e.enhanced_code, e.public_text)

Answers that belong to normal work (an unknown user, a missing record) are values, not errors.
"""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "ConsistencyError",
    "KeyRefusedError",
    "LimitError",
    "MailError",
    "MailboxExistsError",
    "MailboxMissingError",
    "MessageMissingError",
    "OverQuotaError",
    "StoreFullError",
    "StoreInUseError",
    "StoreUnavailableError",
    "no_account",
]


def no_account(name: str) -> str:
    """What somebody is told who named an account that is not there; an address is what many give instead."""
    hint = (
        "; accounts have names, which moxmail account list shows beside their addresses"
        if "@" in name
        else ""
    )
    return f"there is no account {name}{hint}"


class MailError(Exception):
    """Something asked for cannot be done.

    :ivar reply_code: the SMTP reply code that fits, 4yz or 5yz (RFC 5321 section 4.2.1).
    :ivar enhanced_code: the RFC 3463 code, as ``"4.2.2"``.
    :ivar imap_code: the IMAP response code without brackets (RFC 9051 section 7.1), or empty.
    :ivar public_text: what the peer may read; ASCII, one line.
    :ivar detail: what the log gets besides.
    """

    reply_code = 451
    enhanced_code = "4.3.0"
    imap_code = ""
    public_text = "error in processing"

    def __init__(self, detail: str = "", *, public_text: str | None = None) -> None:
        self.detail = detail
        if public_text is not None:
            self.public_text = public_text
        super().__init__(detail or self.public_text)

    @property
    def explanation(self) -> str:
        """What happened and to which thing, for the operator: ``no such mailbox: Archive``."""
        if not self.detail or self.public_text == MailError.public_text:
            return self.detail or self.public_text
        return f"{self.public_text}: {self.detail}"

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return 400 <= self.reply_code < 500


class OverQuotaError(MailError):
    """The account has no room for this message."""

    reply_code = 452
    enhanced_code = "4.2.2"
    imap_code = "OVERQUOTA"
    public_text = "mailbox is over its quota"


class StoreFullError(MailError):
    """The disk is full; nothing was kept of the request."""

    reply_code = 452
    enhanced_code = "4.3.1"
    # RFC 5530 has no nearer code than OVERQUOTA for a full disk that a client can act on
    imap_code = "OVERQUOTA"
    public_text = "insufficient system storage"


class StoreUnavailableError(MailError):
    """The store does not answer now (closed, locked by another process, shutting down)."""

    reply_code = 451
    enhanced_code = "4.3.0"
    imap_code = "UNAVAILABLE"
    public_text = "mail store is not available"


class StoreInUseError(StoreUnavailableError):
    """Another process has the data directory: a server, or a command that will be done with it."""


class MailboxMissingError(MailError):
    """No mailbox has that name, or it was removed meanwhile."""

    reply_code = 550
    enhanced_code = "5.1.1"
    imap_code = "NONEXISTENT"
    public_text = "no such mailbox"


class MessageMissingError(MailError):
    """The message was removed meanwhile."""

    reply_code = 550
    enhanced_code = "5.1.1"
    # RFC 5530 section 3: another session removed it, and a NOOP will tell.
    imap_code = "EXPUNGEISSUED"
    public_text = "the message is gone"


class MailboxExistsError(MailError):
    """A mailbox has that name already."""

    reply_code = 550
    enhanced_code = "5.3.0"
    imap_code = "ALREADYEXISTS"
    public_text = "mailbox exists already"


class LimitError(MailError):
    """A stated limit was passed (size, count, depth)."""

    reply_code = 552
    enhanced_code = "5.3.4"
    imap_code = "LIMIT"
    public_text = "over a limit"


class ConsistencyError(MailError):
    """The checker found data that contradicts itself."""


class KeyRefusedError(MailError):
    """The encryption key is missing or is not the one these files were written with."""


class ConfigurationError(MailError):
    """The configuration cannot be used; ``problems`` lists every reason."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))
