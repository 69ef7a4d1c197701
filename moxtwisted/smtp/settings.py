"""What an SMTP, submission or LMTP listener may be told; every default names its source.

::

    ServerSettings(hostname="mx.example.org")                                # an MX
    ServerSettings(hostname="mail.example.org", mode=Mode.SUBMISSION, mechanisms=("SCRAM-SHA-256", "PLAIN"))
    ServerSettings(hostname="mail.example.org", mode=Mode.LMTP)
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from attrs import field, frozen

__all__ = ["BareLineEnds", "Limits", "Mode", "ServerSettings", "Timeouts"]


class Mode(Enum):
    """What the listener is for."""

    MX = "mx"
    SUBMISSION = "submission"
    LMTP = "lmtp"


class BareLineEnds(Enum):
    """What happens to a CR or LF alone inside DATA (and BDAT without BINARYMIME).

    In command lines they are always refused, and so are they next to a lone dot: that is SMTP smuggling.
    """

    #: A lone LF becomes CRLF, a lone CR stays an ordinary octet. Real mail has both.
    NORMALISE = "normalise"
    #: RFC 5321 section 2.3.8 to the letter: the message is refused and the connection closed.
    REFUSE = "refuse"


@frozen(kw_only=True)
class Limits:
    """Bounds, all in octets or counts.

    :ivar line_octets: a command line with CRLF. RFC 5321 section 4.5.3.1.4 asks for 512 at least, extensions add; 2048 as mox.
    :ivar auth_line_octets: a line within AUTH; RFC 4954 section 4 asks for 12288.
    :ivar recipients: accepted recipients of one transaction; RFC 5321 section 4.5.3.1.8 asks for 100 at least.
    :ivar bad_transactions: transactions that failed without a good one in between; one more closes the connection (mox).
    :ivar bad_commands: replies 500 to 504 in one connection; one more closes it.
    :ivar auth_failures: failed AUTH commands in one connection; one more closes it.
    :ivar auth_failures_slow: from this failure on the connection is in slow mode.
    :ivar discard_octets: how much of a message that is too large is read and thrown away, before the connection is
        closed instead.
    :ivar proxy_header_octets: the whole PROXY protocol header (v1: 107; v2 with TLVs may be longer).
    """

    line_octets: int = 2048
    auth_line_octets: int = 12288
    recipients: int = 1000
    bad_transactions: int = 10
    bad_commands: int = 20
    auth_failures: int = 10
    auth_failures_slow: int = 3
    discard_octets: int = 64 * 1024 * 1024
    proxy_header_octets: int = 4096


@frozen(kw_only=True)
class Timeouts:
    """Waits, in seconds.

    :ivar command: the next command. RFC 5321 section 4.5.3.2.7 asks servers for 5 minutes at least; mox takes 30 s.
    :ivar data_block: the next octets of a message (RFC 5321 section 4.5.3.2.5 has 3 minutes for the client).
    :ivar data_total: a whole message (mox: 30 minutes).
    :ivar tls_handshake: from STARTTLS or, for implicit TLS, from the connection, to the end of the handshake.
    :ivar proxy_header: the whole PROXY protocol header.
    :ivar handler: an answer of the host; then 451 and close. RFC 5321 section 4.5.3.2.6 has clients wait 10 minutes for the last.
    :ivar write: a peer that reads nothing for so long is dropped.
    :ivar shutdown: what a message in transfer gets after ``shutdown()``.
    :ivar slow_read: the pause before each read in slow mode.
    :ivar slow_write: the pause before each octet in slow mode.
    :ivar slow_total: the longest that one reply is stretched in slow mode.
    :ivar linger: after a refusal that closes: how long we still read (and throw away), so that the refusal is not lost.
    :ivar auth_failure: the pause before the answer to a failed AUTH grows by so much with each failure after the third.
    """

    command: float = 300.0
    data_block: float = 180.0
    data_total: float = 1800.0
    tls_handshake: float = 60.0
    proxy_header: float = 5.0
    handler: float = 540.0
    write: float = 300.0
    shutdown: float = 30.0
    slow_read: float = 1.0
    slow_write: float = 1.0
    slow_total: float = 30.0
    linger: float = 2.0
    auth_failure: float = 1.0


@frozen(kw_only=True)
class ServerSettings:
    """Everything a listener needs to know.

    :ivar hostname: our name, in the greeting and in the reply to EHLO.
    :ivar software: the word after ESMTP in the greeting; give no version to strangers.
    :ivar mode: MX, submission or LMTP.
    :ivar size_limit: octets of a message (SIZE, RFC 1870); 0 = no fixed limit.
    :ivar smtputf8: offer SMTPUTF8 (RFC 6531).
    :ivar chunking: offer CHUNKING and BINARYMIME (RFC 3030).
    :ivar dsn: offer DSN (RFC 3461).
    :ivar requiretls: offer REQUIRETLS under TLS (RFC 8689).
    :ivar prdr: offer PRDR (draft-hall-prdr): the handler then answers a message for several recipients with a reply for each, when the
        client asks for that.
    :ivar require_starttls: MAIL without TLS gets 530 (RFC 3207 section 4: not for an MX that is published).
    :ivar auth_without_tls: offer AUTH on a connection in clear.
    :ivar mechanisms: SASL mechanisms in the order of the EHLO line; empty = no AUTH.
    :ivar auth_required: MAIL needs AUTH first (530); ``None`` = exactly for submission.
    :ivar future_release_seconds: the longest HOLDFOR (RFC 4865), submission only; 0 = not offered; 60 days as mox.
    :ivar bare_line_ends: see ``BareLineEnds``.
    :ivar close_on_first_unknown_command: on port 25, a connection whose first command is no SMTP command is no SMTP client.
    :ivar proxy_networks: peers that must begin with a PROXY protocol header (v1 or v2); from others it is not understood.
    """

    hostname: str
    software: str = "moxtwisted"
    mode: Mode = Mode.MX
    size_limit: int = 100 * 1024 * 1024
    smtputf8: bool = True
    chunking: bool = True
    dsn: bool = True
    requiretls: bool = True
    prdr: bool = False
    require_starttls: bool = False
    auth_without_tls: bool = False
    mechanisms: tuple[str, ...] = ()
    auth_required: bool | None = None
    future_release_seconds: int = 60 * 86400
    bare_line_ends: BareLineEnds = BareLineEnds.NORMALISE
    close_on_first_unknown_command: bool = True
    proxy_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    limits: Limits = field(factory=Limits)
    timeouts: Timeouts = field(factory=Timeouts)

    @property
    def needs_auth(self) -> bool:
        """Whether MAIL is refused until AUTH succeeded."""
        return self.mode is Mode.SUBMISSION if self.auth_required is None else self.auth_required
