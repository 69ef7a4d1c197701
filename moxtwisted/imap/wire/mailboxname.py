r"""Names of mailboxes: their two encodings, their rules, and the patterns of LIST.

Inside the program a name is a ``str`` in NFC with ``/`` between its levels. On the wire it is modified UTF-7
(RFC 3501 section 5.1.3) until the client enabled IMAP4rev2 or UTF8=ACCEPT, then UTF-8::

    >>> encode("Entwürfe", utf8=False), encode("Entwürfe", utf8=True)
    (b'Entw&APw-rfe', b'Entw\xc3\xbcrfe')
    >>> decode(b"Entw&APw-rfe", utf8=False), decode(b"inbox/x", utf8=False)
    ('Entwürfe', 'INBOX/x')
    >>> ListPattern("Archive/%").matches("Archive/2020")
    True
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator

from moxtwisted.message import modifiedutf7

__all__ = [
    "INBOX",
    "MATCHLESS",
    "MAX_DEPTH",
    "MAX_LEVEL_OCTETS",
    "MAX_NAME_OCTETS",
    "SEPARATOR",
    "ListPattern",
    "MailboxNameError",
    "SuppliedName",
    "ancestry",
    "canonical",
    "combine",
    "decode",
    "decode_utf7",
    "encode",
    "encode_utf7",
    "validate",
]

SEPARATOR = "/"
INBOX = "INBOX"

MATCHLESS = "\0"
"""A pattern of LIST that stands for no name: there is none with a NUL."""

MAX_NAME_OCTETS = 1000
"""The longest name that can be created, in octets of UTF-8 (our choice; Dovecot has 4096, Cyrus 490)."""

MAX_LEVEL_OCTETS = 255
"""The longest part between separators, so that mailboxes can be exported as directories."""

MAX_DEPTH = 40
"""The most levels of a name that can be created (our choice; Dovecot's limit as well)."""

# What is longer is no name that any mailbox has in NFC. To put many combining marks into their order takes very long.
_MOST_CHARACTERS = 2000

_NONCHARACTERS = "".join(f"\\U{plane:04x}fffe\\U{plane:04x}ffff" for plane in range(17))
_FORBIDDEN = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]")


class MailboxNameError(ValueError):
    """The octets are no mailbox name, or the name may not be used for a new mailbox.

    :ivar public_text: why, for the client; ASCII.
    """

    def __init__(self, public_text: str) -> None:
        self.public_text = public_text
        super().__init__(public_text)


class SuppliedName(str):
    """A canonical name that the client wrote in another way, which RFC 9051 section 6.3.9.7 (OLDNAME) wants to be told.

    It is that name everywhere; the other way is beside it.

    :ivar supplied: what the client wrote, decoded.
    """

    __slots__ = ("supplied",)

    supplied: str

    @classmethod
    def of(cls, name: str, supplied: str) -> SuppliedName:
        """The canonical name, with what was written."""
        made = cls(name)
        made.supplied = supplied
        return made


def decode_utf7(octets: bytes) -> str:
    """Decode modified UTF-7.

    :raise MailboxNameError: for octets outside printable US-ASCII, a shift that is not closed, or one that RFC 3501
        section 5.1.3 forbids.
    """
    try:
        return modifiedutf7.decode(octets)
    except modifiedutf7.ModifiedUTF7Error as error:
        raise MailboxNameError(f"mailbox name is {error}") from None


def encode_utf7(name: str) -> bytes:
    """Encode as modified UTF-7; always printable US-ASCII."""
    return modifiedutf7.encode(name)


def canonical(name: str) -> str:
    """The name with INBOX, as whole name or as first level, in that spelling, and in NFC.

    RFC 9051 section 5.1: INBOX is the same in any case. RFC 5198 section 3: NFC, so that one name has one form; we
    convert what a client sends instead of refusing it, unless it is too long for a name anyway.
    """
    if name[:1] in "Ii" and name[:5].upper() == INBOX and name[5:6] in {"", SEPARATOR}:
        name = INBOX + name[5:]
    if name.isascii() or len(name) > _MOST_CHARACTERS:
        return name
    return unicodedata.normalize("NFC", name)


def ancestry(name: str) -> Iterator[str]:
    """The name, and those above it: to be looked up among many, with which not each name has to be compared."""
    at = len(name)
    while at > 0:
        yield name[:at]
        at = name.rfind("/", 0, at)


def decode(octets: bytes, *, utf8: bool) -> str:
    """The canonical name for octets of the wire.

    :param utf8: whether the client enabled UTF-8 names.
    :raise MailboxNameError: for a wrong encoding. The name may still be one that ``validate`` refuses.
    """
    if not utf8:
        return canonical(decode_utf7(octets))
    try:
        return canonical(octets.decode("utf-8"))
    except UnicodeDecodeError:
        raise MailboxNameError("mailbox name is not valid UTF-8") from None


def encode(name: str, *, utf8: bool) -> bytes:
    """The name's octets, before quoting."""
    return name.encode("utf-8") if utf8 else encode_utf7(name)


def validate(name: str) -> None:
    """Check a canonical name for a mailbox that shall be created.

    :raise MailboxNameError: when it is empty, too long or too deep, has an empty level or one that is ``.`` or ``..``, wildcards,
        control characters or ends of lines, or starts with ``#``.
    """
    if not name:
        raise MailboxNameError("mailbox name is empty")
    if len(name.encode("utf-8", "replace")) > MAX_NAME_OCTETS:
        raise MailboxNameError(f"mailbox name is longer than {MAX_NAME_OCTETS} octets")
    # RFC 9051 section 5.1: wildcards are not recommended in names; refused, since clients cannot ask for such mailboxes.
    if "*" in name or "%" in name:
        raise MailboxNameError("mailbox name has a wildcard")
    # RFC 9051 section 5.1.2.1: a leading number sign is for namespaces.
    if name.startswith("#"):
        raise MailboxNameError("mailbox name starts with #")
    # RFC 5198 section 2 and RFC 9755 section 3: neither control characters nor line or paragraph separators. Code points
    # that this Python does not know yet may be assigned by now; only those that never will be are refused.
    if _FORBIDDEN.search(name) is not None:
        raise MailboxNameError("mailbox name has a character that is not allowed")
    levels = name.split(SEPARATOR)
    if len(levels) > MAX_DEPTH:
        raise MailboxNameError(f"mailbox name has more than {MAX_DEPTH} levels")
    if not all(levels):
        raise MailboxNameError("mailbox name has an empty level")
    # Programs that keep mailboxes as directories (mbsync, for one) take such a name for a way out of their own and give up.
    if "." in levels or ".." in levels:
        raise MailboxNameError("mailbox name has a level . or ..")
    if any(len(level.encode("utf-8")) > MAX_LEVEL_OCTETS for level in levels):
        raise MailboxNameError(f"a level of the mailbox name is longer than {MAX_LEVEL_OCTETS} octets")


def combine(reference: str, pattern: str) -> str:
    """The pattern that LIST's two arguments mean together (RFC 9051 section 6.3.9): the reference is a prefix.

    A pattern that starts with the separator is taken from the root, and a separator that both have counts once.
    """
    if not reference:
        return canonical(pattern.removeprefix(SEPARATOR) if len(pattern) > 1 else pattern)
    if pattern.startswith(SEPARATOR):
        if reference.endswith(SEPARATOR):
            return canonical(reference + pattern[1:])
        return canonical(pattern[1:])
    return canonical(reference + pattern)


class ListPattern:
    """A pattern of LIST: ``*`` stands for anything, ``%`` for anything within a level.

    The pattern is a nondeterministic automaton whose set of states is one integer, so that a name costs one step per
    character whatever the number of wildcards (``*a*a*a*a…`` does not blow up).

    :param pattern: combined with the reference.
    """

    __slots__ = ("_any", "_final", "_inbox_steps", "_least", "_level", "_steps", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        steps: defaultdict[str, int] = defaultdict(int)
        self._any = self._level = 0
        state = 0
        for character in pattern:
            if character == "*":
                self._any |= 1 << state
            elif character == "%":
                self._level |= 1 << state
            else:
                steps[character] |= 1 << state
                state += 1
        self._steps = dict(steps)
        self._final = 1 << state
        self._least = state
        # RFC 9051 section 5.1: INBOX matches in any case, also in a pattern such as "inb*".
        self._inbox_steps = {c: self._steps.get(c, 0) | self._steps.get(c.lower(), 0) for c in INBOX}

    def matches(self, name: str) -> bool:
        """Whether the canonical name matches."""
        if self._any == 1 and self._final == 1:
            return True
        if len(name) < self._least:
            return False
        states = 1
        start = 0
        if name.startswith(INBOX) and name[5:6] in {"", SEPARATOR}:
            states = self._run(states, INBOX, self._inbox_steps)
            start = 5
        return bool(self._run(states, name[start:], self._steps) & self._final)

    def _run(self, states: int, text: str, steps: dict[str, int]) -> int:
        anything, level = self._any, self._any | self._level
        for character in text:
            stay = states & (anything if character == SEPARATOR else level)
            states = (states & steps.get(character, 0)) << 1 | stay
            if not states:
                break
        return states
