"""What a POP3 listener may be told; every default names its source.

::

    ServerSettings(hostname="mail.example.org")
"""

from __future__ import annotations

from attrs import field, frozen

__all__ = ["Limits", "ServerSettings", "Timeouts"]


@frozen(kw_only=True)
class Limits:
    """Bounds, in octets or counts.

    :ivar line_octets: a command with its line end; RFC 2449 section 4 wants 255.
    :ivar bad_commands: commands in a row that cannot be read; one more closes the connection.
    :ivar commands_before_login: one more closes the connection, so that nobody stays for ever without a user.
    :ivar login_failures: failed log-ins in one connection; one more closes it.
    :ivar pending_octets: pipelined commands that are kept while one runs; then reading stops.
    :ivar piece_octets: how much of a message is read at once.
    """

    line_octets: int = 255
    bad_commands: int = 10
    commands_before_login: int = 50
    login_failures: int = 5
    pending_octets: int = 65536
    piece_octets: int = 65536


@frozen(kw_only=True)
class Timeouts:
    """Waits, in seconds.

    :ivar login: between commands before log-in; RFC 1939 section 3 knows only the time after it.
    :ivar idle: between commands after log-in. RFC 1939 section 3: 10 minutes at least.
    :ivar write: a client that reads nothing for so long is dropped.
    :ivar tls_handshake: from STLS or, with implicit TLS, from the connection.
    :ivar shutdown: what a running command gets after ``shutdown()``.
    :ivar linger: what a client gets to read our last words and close, when it is us who end the connection.
    :ivar login_failure_pause: before a failed log-in is answered; doubles with each in a connection.
    """

    login: float = 60.0
    idle: float = 600.0
    write: float = 300.0
    tls_handshake: float = 30.0
    shutdown: float = 10.0
    linger: float = 5.0
    login_failure_pause: float = 1.0


@frozen(kw_only=True)
class ServerSettings:
    """Of one listener.

    :ivar hostname: for the greeting and SASL realms.
    :ivar software: for IMPLEMENTATION (RFC 2449 section 6.9), told after log-in only; empty: not told.
    :ivar allow_plain_without_tls: USER, PASS and plain-text mechanisms without TLS too.
    :ivar offer_stls: whether STLS is on offer (the listener gave a TLS context).
    :ivar mechanisms: SASL mechanisms to offer of those that the authenticator knows; empty for all.
    :ivar expire: how long messages stay, for EXPIRE (RFC 2449 section 6.7): ``"NEVER"`` or days; empty: not told.
    """

    hostname: str
    software: str = "moxtwisted"
    allow_plain_without_tls: bool = False
    offer_stls: bool = False
    mechanisms: tuple[str, ...] = ()
    expire: str = "NEVER"
    limits: Limits = field(factory=Limits)
    timeouts: Timeouts = field(factory=Timeouts)
