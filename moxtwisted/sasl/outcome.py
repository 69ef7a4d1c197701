"""What a SASL exchange answers: go on, come in, or stay out.

Every call of ``ServerExchange.respond`` returns one of three values; the mail protocol turns them into
its own lines::

    Challenge(b"r=...")      SMTP "334 cj0uLi4=",  IMAP "+ cj0uLi4="
    Success(login, account)  SMTP "235 2.7.0 ...", IMAP "a1 OK"
    Failure(Reason.X)        SMTP reason.reply_code + reason.enhanced_code, IMAP "a1 NO [reason.imap_code]"
"""

from __future__ import annotations

import enum
from typing import Self

from attrs import frozen

__all__ = ["Accepted", "Challenge", "Failure", "Outcome", "Reason", "ServerStep", "Success"]


class Reason(enum.Enum):
    """Why an authentication failed, with what each protocol says of it.

    The value is the word for logs, metrics and the table of login attempts. ``BAD_CREDENTIALS`` stands for an
    unknown user as well as for a wrong password: a peer must not be able to tell them apart.

    :ivar reply_code: the SMTP reply code (RFC 4954 sections 4 and 6).
    :ivar enhanced_code: the RFC 3463 code.
    :ivar imap_code: the response code of a tagged NO (RFC 9051 section 7.1), or empty; ``BAD_PROTOCOL`` and
        ``ABORTED`` are tagged BAD there.
    :ivar public_text: what the peer may read; one ASCII line.
    """

    reply_code: int
    enhanced_code: str
    imap_code: str
    public_text: str

    BAD_CREDENTIALS = ("badcreds", 535, "5.7.8", "AUTHENTICATIONFAILED", "bad user name or password")
    BAD_CHANNEL_BINDING = (
        "badchanbind",
        535,
        "5.7.8",
        "AUTHENTICATIONFAILED",
        "channel bindings do not match",
    )
    BAD_PROTOCOL = ("badprotocol", 501, "5.5.2", "", "malformed authentication exchange")
    NOT_AUTHORIZED = ("badauthzid", 535, "5.7.8", "AUTHORIZATIONFAILED", "authorization identity refused")
    # RFC 5248 registered 525 5.7.13 "user account disabled"; it is said only to who knew the password.
    DISABLED = ("logindisabled", 525, "5.7.13", "CONTACTADMIN", "login is disabled for this account")
    LIMITED = (
        "ratelimited",
        454,
        "4.7.0",
        "UNAVAILABLE",
        "too many failed logins from your network, try later",
    )
    UNAVAILABLE = ("error", 454, "4.7.0", "UNAVAILABLE", "temporary authentication failure")
    # RFC 4954 section 4: a cancelled exchange is rejected with 501.
    ABORTED = ("aborted", 501, "5.7.0", "", "authentication cancelled")

    def __new__(
        cls, word: str, reply_code: int, enhanced_code: str, imap_code: str, public_text: str
    ) -> Self:
        """Build a member from its word and what the protocols say."""
        member = object.__new__(cls)
        member._value_ = word
        member.reply_code = reply_code
        member.enhanced_code = enhanced_code
        member.imap_code = imap_code
        member.public_text = public_text
        return member

    @property
    def temporary(self) -> bool:
        """Whether the same attempt may succeed later."""
        return self.reply_code < 500


@frozen
class Accepted:
    """A backend's yes: the secret was right and the account may log in.

    :ivar login: the login name in the form the backend keeps it, for instance ``mjl@example.org``.
    :ivar account: the account behind it.
    """

    login: str
    account: str


@frozen
class Failure:
    """The end of an exchange without success.

    :ivar reason: why; also carries the reply codes.
    :ivar authcid: the user name that was tried as far as it is known, for the log only; it is what the peer
        sent, in any characters.
    :ivar text: a message for the peer in place of ``reason.public_text``, or empty: the operator's words for a
        disabled account.
    :ivar detail: for the log.
    :ivar data: the mechanism's own error message (SCRAM ``e=...``) for a protocol that can carry data with a
        failure; SMTP and IMAP cannot and leave it away.
    """

    reason: Reason
    authcid: str = ""
    text: str = ""
    detail: str = ""
    data: bytes | None = None

    @property
    def public_text(self) -> str:
        """What the peer may read."""
        return self.text or self.reason.public_text


@frozen
class Challenge:
    """Octets for the peer, not yet in base64.

    :ivar data: the octets; may be empty.
    :ivar final: the server has verified everything and only an empty response is missing. A protocol that can
        carry data with success may call ``respond(b"")`` at once and send ``data`` together with it.
    """

    data: bytes
    final: bool = False


@frozen
class Success:
    """The peer is who it says.

    :ivar login: the login name in the backend's form.
    :ivar account: the account behind it.
    :ivar authzid: the authorization identity that was asked for; empty = the login itself. Only identities
        equal to the login are let through, so this never grants anything else.
    :ivar mechanism: the SASL mechanism that was used.
    """

    login: str
    account: str
    authzid: str = ""
    mechanism: str = ""


Outcome = Accepted | Failure
ServerStep = Challenge | Success | Failure
