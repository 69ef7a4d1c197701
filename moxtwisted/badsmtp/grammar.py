"""Errors on demand: what a local part asks for, and what each code says.

::

    >>> parse_local_part("mail550")
    Wish(verb='mail', code=550, enhanced='', fault='', number=None)
    >>> parse_local_part("rcpt451_4.7.1")
    Wish(verb='rcpt', code=451, enhanced='4.7.1', fault='', number=None)
    >>> parse_local_part("dend.drip10").fault
    'drip'

The grammar is that of BadSMTP, and faults behind a dot, which may follow a code, too::

    wish  = verb (code [ "_" enhanced ] [ "." fault ] / "." fault)
    code  = 3DIGIT
    enhanced = 1*DIGIT "." 1*DIGIT "." 1*DIGIT
    fault = name [ number ]                ; the number is of seconds, for most

Which verbs there are says the protocol: ``parse_local_part(text, IMAP_VERBS, IMAP_FAULTS)``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType

from attrs import frozen

__all__ = ["ALIASES", "FAULTS", "SMTP_VERBS", "TEXTS", "UNKNOWN_TEXT", "Wish", "parse_local_part"]

#: What each code says, in the words of BadSMTP.
TEXTS: Mapping[int, str] = MappingProxyType(
    {
        421: "Service not available, closing transmission channel",
        450: "Requested mail action not taken: mailbox unavailable",
        451: "Requested action aborted: local error in processing",
        452: "Requested action not taken: insufficient system storage",
        500: "Syntax error, command unrecognized",
        501: "Syntax error in parameters or arguments",
        502: "Command not implemented",
        503: "Bad sequence of commands",
        504: "Command parameter not implemented",
        521: "Machine does not accept mail",
        535: "Authentication failed",
        550: "Requested action not taken: mailbox unavailable",
        551: "User not local; please try forward path",
        552: "Requested mail action aborted: exceeded storage allocation",
        553: "Requested action not taken: mailbox name not allowed",
        554: "Transaction failed",
        571: "Blocked - see https://example.com/blocked",
    }
)

#: What any other code says.
UNKNOWN_TEXT = "Unknown error"

#: The verbs of SMTP that a wish may name. ``dend`` is the end of a message, after the final dot.
SMTP_VERBS = frozenset({"mail", "rcpt", "data", "dend", "bdat", "rset", "quit", "starttls", "noop", "auth"})

#: Other names of verbs.
ALIASES: Mapping[str, str] = MappingProxyType({"dot": "dend"})

#: What may become of a reply; ``moxtwisted.badsmtp.faults`` does it.
FAULTS = frozenset(
    {
        "stall",
        "drip",
        "split",
        "cut",
        "close",
        "closeafter",
        "midway",
        "reset",
        "barelf",
        "codes",
        "eightbit",
        "long",
        "garbage",
        "twice",
        "empty",
        "nul",
        "many",
        "continued",
        "inject",
    }
)

# ``^([a-z]+)(\d{3})_(\d+)\.(\d+)\.(\d+)@`` and ``^([a-z]+)(\d{3})@`` of BadSMTP, and what we add behind a dot.
_WISH = re.compile(
    r"(?P<verb>[a-z]{1,16})"
    r"(?:(?P<code>[0-9]{3})(?:_(?P<enhanced>[0-9]+\.[0-9]+\.[0-9]+))?)?"
    r"(?:\.(?P<fault>[a-z]{1,16})(?P<number>[0-9]{1,5})?)?\Z"
)


@frozen
class Wish:
    """What somebody asks to go wrong.

    :ivar verb: the command that it is about, in lower case.
    :ivar code: what is to be answered, 0 when the answer stays and only its form goes wrong.
    :ivar enhanced: the enhanced status code, or empty.
    :ivar fault: the form that the answer takes, or empty.
    :ivar number: of the fault: seconds for those that take time; None when none was given.
    """

    verb: str
    code: int = 0
    enhanced: str = ""
    fault: str = ""
    number: int | None = None

    @property
    def text(self) -> str:
        """What is said with the code."""
        return TEXTS.get(self.code, UNKNOWN_TEXT)


def parse_local_part(
    text: str, verbs: Collection[str] = SMTP_VERBS, faults: Collection[str] = FAULTS
) -> Wish | None:
    """What a local part asks for.

    :param text: the local part of an address, a user name: whatever carries the wish in this protocol. Its case says nothing.
    :param verbs: the verbs that may be named, in lower case.
    :param faults: the faults that may be named, in lower case.
    :return: None when it asks for nothing.
    """
    match = _WISH.match(text.lower())
    if match is None:
        return None
    verb = ALIASES.get(match["verb"], match["verb"])
    code, fault = match["code"], match["fault"]
    if verb not in verbs or (fault is not None and fault not in faults) or (code is None and fault is None):
        return None
    number = match["number"]
    return Wish(
        verb, int(code or 0), match["enhanced"] or "", fault or "", None if number is None else int(number)
    )
