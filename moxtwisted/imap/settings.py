"""What an IMAP listener may be told; every default names its source.

::

    ServerSettings(hostname="mail.example.org")
    ServerSettings(hostname="localhost", allow_plain_without_tls=True)
"""

from __future__ import annotations

from attrs import field, frozen

__all__ = ["Limits", "ServerSettings", "Timeouts"]


@frozen(kw_only=True)
class Limits:
    """Bounds, in octets or counts.

    :ivar line_octets: a command line without its literals; RFC 7162 section 4 wants 8192 at least, 16384 as mox.
    :ivar literal_octets: one literal other than a message of APPEND (mox: 100 KB).
    :ivar command_octets: a command with all its literals but APPEND's (mox: 1 MB).
    :ivar literals: how many in one command (mox: 1000).
    :ivar append_octets: a message of APPEND, unless the account says less; and all messages of one APPEND together. APPENDLIMIT
        before login.
    :ivar append_messages: messages of one MULTIAPPEND.
    :ivar keywords: keywords of one message; each is told again with every change of the message's flags.
    :ivar messages: how many messages one command should be about at most; announced with MESSAGELIMIT. RFC 9738 section 3 wants 1000
        at least.
    :ivar messages_enforced: where it ends indeed, when that is more (RFC 9738 section 4.2), for clients that do not know the limit.
    :ivar contexts: searches that are kept up to date (UPDATE of RFC 5267) in one session.
    :ivar search_mailboxes: mailboxes that one ESEARCH may go through.
    :ivar bad_commands: BAD responses in a row; one more closes the connection. RFC 9051 section 7.1.5 leaves it to us.
    :ivar commands_before_login: one more closes the connection, so that nobody stays for ever without a user.
    :ivar login_failures: failed LOGIN and AUTHENTICATE in one connection; one more closes it.
    :ivar pending_octets: pipelined commands that are kept while one runs; then reading stops.
    :ivar fetch_batch: messages whose facts are read from the store at once.
    :ivar body_batch_octets: how much of message bodies is read from the store at once; a client that does not read keeps as much in memory.
    :ivar notifications: happenings that are kept for a client that said NOTIFY and does not read; more end it (mox: 10,000).
    :ivar output_piece_octets: the usual size of one piece of a long answer.
    """

    line_octets: int = 16384
    literal_octets: int = 100_000
    command_octets: int = 1_000_000
    literals: int = 1000
    append_octets: int = 100 * 1024 * 1024
    append_messages: int = 1000
    keywords: int = 100
    messages: int = 100_000
    messages_enforced: int = 1_000_000
    search_mailboxes: int = 10_000
    contexts: int = 16
    bad_commands: int = 10
    commands_before_login: int = 50
    login_failures: int = 5
    pending_octets: int = 65536
    fetch_batch: int = 512
    body_batch_octets: int = 786432
    output_piece_octets: int = 131072
    notifications: int = 10_000


@frozen(kw_only=True)
class Timeouts:
    """Waits, in seconds.

    :ivar login: from the greeting, and between commands before login (mox: 30 s; RFC 9051 section 5.4 allows it).
    :ivar idle: between commands after login, and in IDLE. RFC 9051 section 5.4: 30 minutes at least.
    :ivar literal: no octet of an announced literal or unfinished line.
    :ivar write: a client that reads nothing for so long is dropped (mox: 5 minutes).
    :ivar tls_handshake: from STARTTLS or, with implicit TLS, from the connection.
    :ivar shutdown: what a running command gets after ``shutdown()``.
    :ivar linger: what a client gets to read our last words and close, when it is us who end the connection.
    :ivar progress_first, progress: a command that is still under way after so long is said to be so, and again each time after
        so long (RFC 9585 section 4: 10 to 15 seconds).
    :ivar login_failure_pause: before a failed login is answered; doubles with each in a connection.
    """

    login: float = 30.0
    idle: float = 1800.0
    literal: float = 300.0
    write: float = 300.0
    tls_handshake: float = 30.0
    shutdown: float = 10.0
    linger: float = 5.0
    progress_first: float = 1.0
    progress: float = 10.0
    login_failure_pause: float = 1.0


@frozen(kw_only=True)
class ServerSettings:
    """Of one listener.

    :ivar hostname: for the greeting and SASL realms.
    :ivar software: for ID, name and version; told after login only (mox), so that a scan learns nothing.
    :ivar allow_plain_without_tls: LOGIN and plain-text mechanisms without TLS too.
    :ivar offer_starttls: whether STARTTLS is on offer (the listener gave a TLS context).
    :ivar mechanisms: SASL mechanisms to offer of those that the authenticator knows; empty for all.
    :ivar disabled_capabilities: never announced and not to be used.
    """

    hostname: str
    software: tuple[str, str] = ("moxtwisted", "")
    allow_plain_without_tls: bool = False
    offer_starttls: bool = False
    mechanisms: tuple[str, ...] = ()
    disabled_capabilities: frozenset[str] = frozenset()
    limits: Limits = field(factory=Limits)
    timeouts: Timeouts = field(factory=Timeouts)
