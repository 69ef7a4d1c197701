"""Wishes in the name that a client says in EHLO.

::

    >>> wishes = parse_hello_name("size10000-no8bit-authplain.example.com")
    >>> wishes.size, sorted(wishes.left_out), wishes.mechanisms
    (10000, ['8BITMIME'], ('PLAIN',))

Only the leftmost label counts, without regard to case. It is cut at each hyphen, and each piece is looked at for a token that
it contains, as BadSMTP does; ``helo500.`` and ``ehlo421.`` in front are the whole label. What we add has to be the whole piece:
``bad`` with a verb and a code or a fault (``badquit421``, ``badrcptdrip5``), which holds for every such command of the connection,
and how a message may end (``eodlf``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from attrs import evolve, field, frozen

from moxtwisted.badsmtp.grammar import SMTP_VERBS, Wish, parse_local_part

__all__ = [
    "DEFAULT_MECHANISMS",
    "MAXIMUM_DELAY_SECONDS",
    "MAXIMUM_SIZE",
    "MINIMUM_SIZE",
    "Wishes",
    "parse_hello_name",
]

MINIMUM_SIZE = 1000
MAXIMUM_SIZE = 10 * 1024 * 1024
MAXIMUM_DELAY_SECONDS = 605

#: What AUTH offers when nobody wishes otherwise.
DEFAULT_MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "CRAM-SHA256", "XOAUTH2")

#: Token to the extension that it leaves out.
_LEFT_OUT: Mapping[str, str] = MappingProxyType(
    {
        "nosize": "SIZE",
        "no8bit": "8BITMIME",
        "nopipelining": "PIPELINING",
        "nostarttls": "STARTTLS",
        "nochunking": "CHUNKING",
        "nosmtputf8": "SMTPUTF8",
        "noenhancedstatuscodes": "ENHANCEDSTATUSCODES",
    }
)

#: Token to what AUTH offers; of several the last wins.
_MECHANISMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "noauth": (),
        "authplain": ("PLAIN",),
        "authlogin": ("LOGIN",),
        "authcram": ("CRAM-MD5", "CRAM-SHA256"),
        "authoauth": ("XOAUTH2",),
        "authscram": ("SCRAM-SHA-256", "SCRAM-SHA-1"),
        "authbearer": ("OAUTHBEARER",),
        "authntlm": ("NTLM",),
        "authall": (*DEFAULT_MECHANISMS, "SCRAM-SHA-256", "SCRAM-SHA-1", "OAUTHBEARER", "NTLM"),
    }
)

#: Token to what else ends a message than CRLF dot CRLF, as servers have it that fall for smuggling.
_ENDS: Mapping[str, bytes] = MappingProxyType(
    {"eodlf": b"\n.\n", "eodlfcrlf": b"\n.\r\n", "eodcrlflf": b"\r\n.\n", "eodcr": b"\r.\r"}
)

#: ``badehlo…`` is about the reply to EHLO, HELO and LHLO.
_TOKEN_VERBS = SMTP_VERBS | {"ehlo"}

_HELLO_CODE = re.compile(r"(?:helo|ehlo)([0-9]{3})\.")
_SIZE = re.compile(r"size([0-9]{1,12})")
_DELAY = re.compile(r"dlay([0-9]{1,12})")
_BAD = re.compile(r"bad(ehlo|starttls|mail|rcpt|data|dend|dot|bdat|rset|quit|noop|auth)([a-z0-9]+)\Z")

#: A label has 63 octets by DNS; what is longer is no name, and is not looked at further.
_LABEL_CHARACTERS = 255


@frozen(kw_only=True)
class Wishes:
    """What an EHLO name asks for.

    :ivar size: what SIZE says; None: as the settings say.
    :ivar left_out: extensions that are not offered.
    :ivar mechanisms: what AUTH offers; none: AUTH is not offered.
    :ivar reject: whether EHLO is answered with 502, so that the client has to fall back to HELO.
    :ivar delay_seconds: before the reply to EHLO, and before the reply to each later command.
    :ivar hello_code: the code that EHLO or HELO is answered with, or 0.
    :ivar faults: what goes wrong in this connection, by verb.
    :ivar ends: what ends a message besides CRLF dot CRLF.
    :ivar strict_lines: whether a message with a lone CR or LF is refused.
    """

    size: int | None = None
    left_out: frozenset[str] = frozenset()
    mechanisms: tuple[str, ...] = DEFAULT_MECHANISMS
    reject: bool = False
    delay_seconds: int = 0
    hello_code: int = 0
    faults: Mapping[str, Wish] = field(factory=dict)
    ends: tuple[bytes, ...] = ()
    strict_lines: bool = False


def parse_hello_name(name: str) -> Wishes:
    """What a name asks for; nothing special for most.

    :param name: the argument of EHLO or HELO.
    """
    lower = name.lower()
    code = _HELLO_CODE.match(lower)
    wishes = Wishes(hello_code=int(code[1])) if code is not None else Wishes()
    label = lower.partition(".")[0]
    if len(label) <= _LABEL_CHARACTERS:
        for piece in label.split("-"):
            wishes = _apply(wishes, piece)
    return wishes


def _apply(wishes: Wishes, piece: str) -> Wishes:
    bad = _parse_bad(piece)
    if bad is not None:
        return evolve(wishes, faults={**wishes.faults, bad.verb: bad})
    if piece in _ENDS:
        return evolve(wishes, ends=(*wishes.ends, _ENDS[piece]))
    left_out = {keyword for token, keyword in _LEFT_OUT.items() if token in piece}
    wishes = evolve(wishes, left_out=wishes.left_out | left_out) if left_out else wishes
    for token, mechanisms in _MECHANISMS.items():
        if token in piece:
            wishes = evolve(wishes, mechanisms=mechanisms)
    size, delay = _SIZE.search(piece), _DELAY.search(piece)
    if size is not None:
        octets = min(max(int(size[1]), MINIMUM_SIZE), MAXIMUM_SIZE)
        wishes = evolve(wishes, size=octets, left_out=wishes.left_out - {"SIZE"})
    if delay is not None and 1 <= int(delay[1]) <= MAXIMUM_DELAY_SECONDS:
        wishes = evolve(wishes, delay_seconds=int(delay[1]))
    if "reject" in piece or "noehl" in piece:
        wishes = evolve(wishes, reject=True)
    return evolve(wishes, strict_lines=True) if piece == "strictlines" else wishes


def _parse_bad(piece: str) -> Wish | None:
    match = _BAD.match(piece)
    if match is None:
        return None
    verb, rest = match.groups()
    if rest[0].isdigit():
        return parse_local_part(verb + rest, _TOKEN_VERBS)
    return parse_local_part(f"{verb}.{rest}", _TOKEN_VERBS)
