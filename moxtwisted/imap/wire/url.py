r"""IMAP URLs of messages and their parts (RFC 5092), with the authorisation of RFC 4467.

::

    url = parse("imap://joe@example.com/INBOX/;uid=20/;section=1.2;urlauth=submit+fred:internal:91354a47…")
    url.user, url.host, url.mailbox, url.uid, url.section         # "joe", "example.com", "INBOX", 20, "1.2"
    url.authorization                                             # Authorization(access="submit+fred", …)
    url.rump                                                      # the text up to "submit+fred"

    parse("/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.MIME")            # relative to a server
    parse(";UID=20/;SECTION=HEADER", base="Drafts")                           # relative to a mailbox

URLs of servers, mailboxes and searches are refused: nothing here has a use for them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from attrs import frozen

from moxtwisted.identifiers import INBOX, is_inbox

__all__ = ["IMAPURL", "Authorization", "URLError", "encode_text", "parse", "render", "render_rump"]

MAX_URL_OCTETS: Final = 8192

_SERVER = re.compile(
    r"(?:imap:)?//(?:(?P<user>[^@/;:]*)(?:;AUTH=[^@/;:]+)?@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?/",
    re.IGNORECASE,
)
# RFC 5092 section 11: a mailbox and a section have neither ";" nor "?" that is not encoded.
_MESSAGE = re.compile(
    r"(?:(?P<mailbox>[^;?#]+?)(?:;UIDVALIDITY=(?P<validity>[0-9]{1,10}))?/)?"
    r";UID=(?P<uid>[0-9]{1,10})"
    r"(?:/;SECTION=(?P<section>[^;?#]+?))?"
    r"(?:/;PARTIAL=(?P<offset>[0-9]{1,18})(?:\.(?P<length>[0-9]{1,18}))?)?",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    r"(?:;EXPIRE=(?P<expire>[0-9TZtz:.+-]+))?;URLAUTH=(?P<access>(?:submit|user)\+[^;:?#/]+|authuser|anonymous)"
    r"(?::(?P<mechanism>[A-Za-z0-9.-]+):(?P<token>[0-9A-Fa-f]{32,256}))?\Z",
    re.IGNORECASE,
)
# RFC 3339 section 5.6: date-time, cut around the seconds.
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:)([0-9]{2})((?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2}))"
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ALLOWED = re.compile(r"(?:[A-Za-z0-9\-._~!$'()*+,&=:@/]|%[0-9A-Fa-f]{2})*")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
# What RFC 5092 section 7 calls dot-segments.
_DOTS = re.compile(r"(?:(?<=/)|\A)\.\.?(?=/|\Z)")
_TO_ESCAPE = re.compile(rb"[^A-Za-z0-9\-._~!$'()*+,&=:@/]")


class URLError(ValueError):
    """This is no URL of a message that we could read."""


@frozen
class Authorization:
    """What RFC 4467 adds to a URL.

    :ivar access: ``submit+`` or ``user+`` and a user in the URL's encoding, ``authuser`` or ``anonymous``, as given.
    :ivar expire: seconds since 1970, or None.
    :ivar mechanism: in upper case; with ``token`` empty as long as nobody has authorised it.
    :ivar token: hexadecimal, as given.
    """

    access: str
    expire: float | None = None
    mechanism: str = ""
    token: str = ""

    @property
    def kind(self) -> str:
        """``submit``, ``user``, ``authuser`` or ``anonymous``."""
        return self.access.partition("+")[0].lower()

    @property
    def user(self) -> str:
        """The user behind the plus sign, decoded; or empty."""
        return decode_text(self.access.partition("+")[2])


@frozen
class IMAPURL:
    """A message, or a part of it.

    :ivar user: decoded, or None.
    :ivar host: in lower case; None when the URL is relative to a server.
    :ivar mailbox: decoded.
    :ivar section: as in ``BODY[…]``, or empty for all of the message.
    :ivar partial: (offset, length), the length None for the rest; or None.
    :ivar rump: the text without mechanism and token.
    """

    mailbox: str
    uid: int
    section: str = ""
    partial: tuple[int, int | None] | None = None
    uidvalidity: int | None = None
    user: str | None = None
    host: str | None = None
    authorization: Authorization | None = None
    rump: str = ""


def decode_text(text: str) -> str:
    """Percent-encoded UTF-8, decoded.

    :raise URLError: for characters that must be encoded, and what is no UTF-8.
    """
    if _ALLOWED.fullmatch(text) is None:
        raise URLError("characters that must be encoded")
    try:
        decoded = _ESCAPED.sub(lambda m: bytes([int(m[1], 16)]), text.encode("ascii")).decode("utf-8")
    except UnicodeDecodeError:
        raise URLError("not UTF-8") from None
    if "\0" in decoded or "\r" in decoded or "\n" in decoded:
        raise URLError("control characters")
    return decoded


def encode_text(text: str) -> str:
    """The way back."""
    return _TO_ESCAPE.sub(lambda m: b"%%%02X" % m[0][0], text.encode("utf-8")).decode("ascii")


def _number(text: str | None, most: int = 0xFFFFFFFF) -> int | None:
    if text is None:
        return None
    value = int(text)
    if not 0 < value <= most:
        raise URLError("a number is out of range")
    return value


def _expire(text: str) -> float:
    """Seconds since 1970 of a date-time (RFC 4467 section 9)."""
    match = _DATE_TIME.fullmatch(text.upper())
    if match is None:
        raise URLError("EXPIRE is no date-time")
    start, seconds, rest = match.groups()
    # RFC 3339 section 5.7: a leap second.
    leap = seconds == "60"
    try:
        when = datetime.fromisoformat(f"{start}{59 if leap else seconds}{rest}")
    except ValueError:
        raise URLError("EXPIRE is no date-time") from None
    return when.timestamp() + leap


def _authorization(match: re.Match[str]) -> Authorization:
    expire = None if match["expire"] is None else _expire(match["expire"])
    found = Authorization(match["access"], expire, (match["mechanism"] or "").upper(), match["token"] or "")
    # RFC 4467 section 9: enc-user has to be one, also where nobody asks for the user.
    decode_text(found.access.partition("+")[2])
    return found


def parse(text: str, base: str | None = None) -> IMAPURL:
    """Read a URL.

    :param base: the mailbox that a relative URL without one belongs to.
    :raise URLError: when it is none, or not of a message.
    """
    if len(text) > MAX_URL_OCTETS or not text.isascii():
        raise URLError("not a URL")
    authorized = _AUTHORIZATION.search(text)
    authorization = None if authorized is None else _authorization(authorized)
    path = text if authorized is None else text[: authorized.start()]
    rump = text
    if authorized is not None and authorized["token"] is not None:
        rump = text[: authorized.end("access")]
    user = host = None
    server = _SERVER.match(path)
    if server is not None:
        user = decode_text(server["user"]) if server["user"] else None
        host, base = server["host"].lower(), None
        path = path[server.end() :]
    elif path.startswith("/"):
        path, base = path[1:], None
    elif _SCHEME.match(path):
        raise URLError("not a URL of IMAP")
    message = _MESSAGE.fullmatch(path)
    if message is None:
        raise URLError("not the URL of a message")
    uid = _number(message["uid"])
    name = message["mailbox"]
    mailbox = _mailbox(decode_text(name) if name is not None else None, base)
    if uid is None:
        raise URLError("not the URL of a message")
    partial = None
    if message["offset"] is not None:
        partial = (int(message["offset"]), _number(message["length"], 2**62))
    section = decode_text(message["section"] or "")
    validity = _number(message["validity"])
    return IMAPURL(mailbox, uid, section, partial, validity, user, host, authorization, rump)


def _mailbox(name: str | None, base: str | None) -> str:
    """RFC 5092 section 7.2: a relative path begins where the base has its last ``/``."""
    if name is None:
        if base is None:
            raise URLError("no mailbox")
        return base
    parent = base.rpartition("/")[0] if base is not None else ""
    name = f"{parent}/{name}" if parent else name
    return INBOX if is_inbox(name) else name


def render(url: IMAPURL) -> str:
    """The text of a URL, without its authorisation."""
    server = ""
    if url.host is not None:
        user = (
            encode_text(url.user).replace("@", "%40").replace("/", "%2F").replace(":", "%3A")
            if url.user
            else ""
        )
        server = f"imap://{user}{'@' if user else ''}{url.host}"
    # RFC 5092 section 7: they would be taken for steps in the hierarchy of URLs.
    name = _DOTS.sub(lambda m: "%2E" * len(m[0]), encode_text(url.mailbox))
    # Two slashes in front would begin with a server.
    text = f"{server}/{'%2F' + name[1:] if name.startswith('/') else name}"
    if url.uidvalidity is not None:
        text += f";UIDVALIDITY={url.uidvalidity}"
    text += f"/;UID={url.uid}"
    if url.section:
        text += f"/;SECTION={encode_text(url.section)}"
    if url.partial is not None:
        offset, length = url.partial
        text += f"/;PARTIAL={offset}" + ("" if length is None else f".{length}")
    return text


def render_rump(url: IMAPURL) -> str:
    """The text of a URL with who may read it and until when, for a server to authorise (RFC 4467 section 3).

    :raise URLError: it does not say who, in the URL's encoding; whose mail it is; or on which server.
    """
    authorization = url.authorization
    if authorization is None or url.host is None or not url.user:
        raise URLError("a URL to be authorised has a user, a server and who may read")
    expire = ""
    if authorization.expire is not None:
        # RFC 4467 section 9: date-time of RFC 3339.
        when = datetime.fromtimestamp(int(authorization.expire), UTC)
        expire = f";EXPIRE={when:%Y-%m-%dT%H:%M:%SZ}"
    rest = f"{expire};URLAUTH={authorization.access}"
    match = _AUTHORIZATION.fullmatch(rest)
    if match is None or match["token"] is not None:
        raise URLError("this does not say who may read")
    _authorization(match)
    return render(url) + rest
