r"""What a message is judged by: its words, and what else is peculiar about it.

::

    found = features(scanned, read)
    found.views[VIEWS.index("subject")]            # {63-bit number, …}: what the counts are kept by
    found.text(digest("subject:free"))             # 'subject:free': what a person reads

A token is there or not; how often does not count. They are kept apart by where they come from, the *views*, because those of one view
say the same thing many times, and each view shall have its say:

=========== =====================================  ======================================================================
``subject`` ``subject:offer``                      words of the subject and pairs of them, and how it is written
``header``  ``from:@example.com``, ``has:x-y``     names and domains of people, which fields there are, how the message is
            ``mime:text/html``, ``html:width=9``   built, ``trick:…``: characters that nobody types
``link``    ``url:example.com``, ``mail:a.org``    where links and addresses in the text lead, and what is above that
``word``    ``offer``, ``OFFER``                   words of the text, in lower case but for those in capitals
``pair``    ``click here``                         two of them that follow each other
=========== =====================================  ======================================================================

What servers on the way and other filters wrote is left out: a message has the same tokens when it comes, when it lies in a mailbox, and
when it was brought in from elsewhere. Which machine sent it is not asked here: that is reputation.

Octets, characters, parts and tokens are bounded; damaged input gives other tokens, never an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from html import unescape
from itertools import compress, groupby, islice, pairwise
from typing import Final

from attrs import define, field

from moxtwisted.message.addresslist import HeaderAddress, parse_address_list
from moxtwisted.message.charset import decode
from moxtwisted.message.headers import Header, decode_words
from moxtwisted.message.mime import Part, ScannedMessage
from moxtwisted.message.text import decode_transfer, leaves

__all__ = ["ENOUGH_OCTETS", "MAX_TOKENS", "TOKENIZER", "VIEWS", "Features", "digest", "features"]

TOKENIZER: Final = 1
"""Grows when a message would give other tokens: then everything has to be learned anew."""
VIEWS: Final = ("subject", "header", "link", "word", "pair")
"""In the order of ``Features.views``."""
MAX_TOKENS: Final = 8192
"""A message has no more than these."""

_REACH: Final = 1 << 20  # octets; a part that begins behind them is not looked at
ENOUGH_OCTETS: Final = _REACH + (1 << 16)
"""The tokens of a longer message are those of so many octets at its beginning."""
_MAX_PARTS: Final = 50
_PART_OCTETS: Final = 16 * 1024
_ALL_OCTETS: Final = 48 * 1024
_MAX_WORDS: Final = 1500  # of all parts together
_NAMED: Final = 2000  # tokens of the views but word and pair
_FIELD_OCTETS: Final = 2000
_ADDRESSES: Final = 20
_LONGEST: Final = 24  # characters; what is longer is no word
_SUBJECT: Final = 400  # characters
_KEPT_NUMBERS: Final = 1 << 15

_MASK: Final = (1 << 63) - 1

Read = Callable[[int, int], bytes]
# words as they stand, their numbers, and those of the pairs
_Run = tuple[list[str], list[int], list[int]]

# What machines write, on the way or in the mailbox; what our prefix has; and what is different in each message.
_MACHINES: Final = frozenset(
    (
        *(b"received", b"return-path", b"delivered-to", b"x-original-to", b"envelope-to", b"delivery-date"),
        *(b"authentication-results", b"received-spf", b"dkim-signature", b"domainkey-signature", b"arc-seal"),
        *(b"arc-message-signature", b"arc-authentication-results", b"x-virus-scanned", b"x-virus-status"),
        *(
            b"status",
            b"x-status",
            b"x-keywords",
            b"x-uid",
            b"x-imap",
            b"x-imapbase",
            b"content-length",
            b"lines",
        ),
        *(
            b"x-mozilla-status",
            b"x-mozilla-status2",
            b"x-mozilla-keys",
            b"x-original-date",
            b"x-apparently-to",
        ),
        *(b"x-originalarrivaltime", b"x-evolution-source", b"x-received", b"x-account-key", b"x-uidl"),
        *(b"date", b"message-id", b"subject", b"from", b"to", b"cc"),
    )
)
_MACHINE_PREFIXES: Final = (
    *(
        b"x-spam",
        b"x-moxtwisted",
        b"x-mox-",
        b"x-mailscanner",
        b"x-rspamd",
        b"x-bogosity",
        b"x-pyzor",
        b"x-gm-",
    ),
    *(
        b"x-google-",
        b"x-ms-exchange",
        b"x-microsoft-antispam",
        b"x-antivirus",
        b"x-amavis",
        b"x-habeas",
        b"x-forefront",
    ),
)
# What list managers write; one token for all of it, for the same reason as with tags.
_LISTS: Final = (
    b"list-",
    b"x-mailman-",
    b"x-beenthere",
    b"errors-to",
    b"x-list",
    b"x-mailing-list",
    b"mailing-list",
    b"x-loop",
)
_PEOPLE: Final = (b"from", b"reply-to", b"to", b"cc", b"sender")
_WORDED: Final = (
    *(b"x-mailer", b"user-agent", b"list-id", b"precedence", b"organization", b"mime-version", b"importance"),
    b"x-priority",
)
# Every HTML message has them: as twenty tokens they would say the same thing twenty times.
_COMMON_TAGS: Final = frozenset(
    (
        *(
            "a",
            "br",
            "html",
            "body",
            "head",
            "p",
            "font",
            "b",
            "td",
            "tr",
            "table",
            "tbody",
            "div",
            "img",
            "span",
        ),
        *("title", "meta", "center", "li", "ul"),
    )
)

_WORD = re.compile(r"[$£€]?\w+(?:['’.,-]\w+)*[%!]*")
# Both begin with letters that are searched for at once: a class of characters there costs ten times as much.
_URL = re.compile(r"://([^\s/<>\"'?#)\\]{1,200})([^\s<>\"')]{0,300})")
_WWW = re.compile(r"(?<![/.\w])www\.[\w.-]{3,200}")
_URL_WORD = re.compile(r"[A-Za-z]{3,20}")
_MAIL_DOMAIN = re.compile(r"@([\w-]{1,63}(?:\.[\w-]{1,63}){1,10})")
_NUMERIC_HOST = re.compile(r"[\d.]+\Z|0x|\[")
_SILENT = re.compile(
    r"<(?:script\b.*?(?:</script|\Z)|style\b.*?(?:</style|\Z)|!--.*?(?:-->|\Z))", re.IGNORECASE | re.DOTALL
)
_INLINE = re.compile(
    r"</?(?:a|abbr|b|big|code|em|font|i|mark|s|small|span|strong|sub|sup|u|wbr)\b[^>]*(?:>|\Z)", re.IGNORECASE
)
_TAG = re.compile(r"<[/!?a-zA-Z][^>]*(?:>|\Z)")
_TAG_NAME = re.compile(r"<([a-z][a-z0-9]{0,10})")
_ATTRIBUTE = re.compile(
    r"\b(color|bgcolor|face|size|width|height|align|border|style|target|method|type|action)\s{0,3}=\s{0,3}[\"']?([^\s\"'>]{0,12})"
)
_ALT = re.compile(r"\balt\s{0,3}=\s{0,3}(?:\"([^\"]{1,300})\"|'([^']{1,300})')", re.IGNORECASE)
_IN_WORD = re.compile(r"\w</?[a-z!][^>]{0,300}>\w", re.IGNORECASE)
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]"
)
# A Latin letter beside a Greek or Cyrillic one that looks like another Latin letter.
_MIXED = re.compile("[a-zA-Z][\u0370-\u052f]|[\u0370-\u052f][a-zA-Z]")
_IDEOGRAPHS = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,}")
_RUN = re.compile(r"[!?$*=#_-]{3,}")
_DOTTED = re.compile(r"\w(?:[.’',-]\w){3,}\Z")
_NO_LETTERS = re.compile(r"[\W\d_]+")
_FEW = 4  # letters that stand apart make a word
_LETTERS_APART = bytes(_FEW)
_TAIL_NUMBER = re.compile(r"\s[A-Za-z]{0,20}\d+[a-z\d]{0,20}\Z")
_ZONE = re.compile(rb"[+-]\d{4}\Z")
_LETTERS = re.compile(r"[a-z]+")
_DIGITS = re.compile(r"\d+")


@lru_cache(1 << 15)
def digest(token: str) -> int:
    """The number that stands for a token: 63 bits, the same in every process."""
    return int.from_bytes(blake2b(token.encode("utf-8", "replace"), digest_size=8).digest(), "big") & _MASK


def _written(word: str) -> str:
    """How a word counts: empty for one that does not."""
    length = len(word)
    if length < 2:
        return ""
    if length > 2 * _FEW - 2 and _DOTTED.match(word) is not None:
        # V.I.A.G.R.A
        word = _NO_LETTERS.sub("", word) or "long:0"
        length = len(word)
    if length > _LONGEST:
        return f"long:{min(length // 8, 9)}"
    return word if length > 2 and word.isupper() else word.lower()


class _Numbers(dict[str, int]):
    """The numbers of words as they stand in texts; 0 for those that do not count. What stood in a text before is not hashed again: a
    dictionary is three times as fast here as ``lru_cache``. Threads may share it: all that is kept is right for ever."""

    def __missing__(self, word: str) -> int:
        token = _written(word)
        number = digest(token) if token else 0
        if len(self) >= _KEPT_NUMBERS:
            self.clear()
        self[word] = number
        return number


_number = _Numbers().__getitem__


@define(eq=False)
class Features:
    """The tokens of a message.

    :ivar views: sets of numbers, as ``VIEWS`` names them.
    :ivar html: whether it has a text in HTML.
    """

    views: tuple[set[int], ...]
    html: bool
    _named: dict[int, str]
    _runs: list[_Run] = field(factory=list)

    def numbers(self) -> set[int]:
        """All tokens."""
        return set().union(*self.views)

    def texts(self, wanted: Iterable[int]) -> dict[int, str]:
        """What these numbers stand for; those that the message does not have are left out."""
        texts = {number: self._named[number] for number in wanted if number in self._named}
        missing = set(wanted) - texts.keys()
        for words, numbers, pairs in self._runs:
            if not missing:
                break
            alone = dict(zip(numbers, words, strict=True))
            together = dict(zip(pairs, range(len(pairs)), strict=True))
            for number in missing & alone.keys():
                texts[number] = _written(alone[number])
            for number in missing & together.keys():
                at = together[number]
                texts[number] = f"{_written(words[at])} {_written(words[at + 1])}"
            missing -= texts.keys()
        return texts

    def text(self, number: int) -> str:
        """What a number stands for; empty when the message does not have it."""
        return self.texts([number]).get(number, "")


class _Collector:
    """What is being found in one message."""

    def __init__(self) -> None:
        self.subject: set[str] = set()
        self.header: set[str] = set()
        self.link: set[str] = set()
        self.words: set[int] = set()
        self.pairs: set[int] = set()
        self.runs: list[_Run] = []
        self.capitals = 0
        self.count = 0
        self.html = False

    def run(self, words: list[str]) -> None:
        """Words that follow each other in the text."""
        del words[_MAX_WORDS - self.count :]
        self.count += len(words)
        self.capitals += sum(map(str.isupper, words))
        numbers = list(map(_number, words))
        if 0 in numbers:
            self._spaced(words, numbers)
            words = list(compress(words, numbers))
            numbers = list(filter(None, numbers))
        # Both are as good as random, so this is as good as a hash of the two.
        pairs = [a ^ (b >> 1) for a, b in pairwise(numbers)]
        self.runs.append((words, numbers, pairs))
        self.words.update(numbers)
        self.pairs.update(pairs)

    def _spaced(self, words: list[str], numbers: list[int]) -> None:
        """Note words whose letters stand apart: V I A G R A."""
        if _LETTERS_APART not in bytes(map(bool, numbers)):
            return
        for alone, run in groupby(zip(words, numbers, strict=True), lambda pair: not pair[1]):
            letters = [word for word, _ in run] if alone else []
            if len(letters) >= _FEW:
                self.header.add("trick:letters apart")
                self.subject.add("apart:" + "".join(letters[:_LONGEST]).lower())

    def features(self) -> Features:
        """Everything that was found."""
        views: list[set[int]] = []
        named: dict[int, str] = {}
        for found in (self.subject, self.header, self.link):
            # The same ones every time: what is unlearned must be what was learned.
            chosen = sorted(found)[:_NAMED] if len(found) > _NAMED else found
            tokens = dict(zip(map(digest, chosen), chosen, strict=True))
            views.append(set(tokens))
            named.update(tokens)
        return Features((*views, self.words, self.pairs), self.html, named, self.runs)


def features(scanned: ScannedMessage, read: Read) -> Features:
    """The tokens of a message.

    :param read: gives octets of it, from an offset and a length.
    """
    found = _Collector()
    header = scanned.header
    _subject(found, header)
    _people(found, header)
    _fields(found, header)
    room = _ALL_OCTETS
    for part in islice(leaves(scanned.root), _MAX_PARTS):
        if part.body_start > _REACH:
            break
        _structure(found, part)
        if part.content_type.type != "text" or room <= 0 or found.count >= _MAX_WORDS:
            continue
        octets = read(part.body_start, min(part.size, room, _PART_OCTETS))
        room -= len(octets)
        _text(found, part, octets)
    if found.count:
        found.header.add(f"text:capitals {10 * found.capitals // found.count}")
        found.header.add(f"text:words {found.count.bit_length()}")
    return found.features()


# -- the header ---------------------------------------------------------------------------------------------------------


def _words(text: str) -> list[str]:
    return [word for word in map(_written, _WORD.findall(text)) if word]


def _subject(found: _Collector, header: Header) -> None:
    raw = header.get(b"subject") or b""
    text = _typed(found.subject, decode_words(raw[: 4 * _SUBJECT])[:_SUBJECT])
    words = _words(text)
    add = found.subject.add
    found.subject.update(["subject:" + word for word in words])
    found.subject.update([f"subject:{a} {b}" for a, b in pairwise(words)])
    if _RUN.search(text):
        add("subject:signs")
    if "  " in text.strip():
        add("subject:gap")
    if _TAIL_NUMBER.search(text):
        add("subject:number at the end")
    if text.isupper():
        add("subject:capitals")
    if not words:
        add("subject:none")


def _people(found: _Collector, header: Header) -> None:
    add = found.header.add
    for field_name in _PEOPLE:
        raw = header.get(field_name)
        name = field_name.decode()
        if raw is None:
            if name in ("from", "to"):
                add(name + ":none")
            continue
        entries = parse_address_list(raw[:_FIELD_OCTETS])
        people = [entry for entry in entries if isinstance(entry, HeaderAddress)]
        add(f"{name}:count {min(len(people), 5)}")
        for person in people[:_ADDRESSES]:
            _person(found.header, name, person)


def _person(found: set[str], name: str, person: HeaderAddress) -> None:
    domain = person.domain.decode("latin-1").lower()[:255]
    found.update([f"{name}:@{above}" for above in _upwards(domain, 4)])
    if _DIGITS.search(person.local[:64].decode("latin-1")) is not None:
        found.add(name + ":digits")
    shown = person.display_name[:200]
    found.add(name + (":named" if shown else ":nameless"))
    if shown:
        found.update([f"{name}:{word}" for word in _words(shown)])


def _upwards(domain: str, most: int) -> list[str]:
    labels = domain.strip(".").split(".")
    return [".".join(labels[-count:]) for count in range(1, min(len(labels), most) + 1)]


def _fields(found: _Collector, header: Header) -> None:
    add = found.header.add
    for name in islice(header.values, 200):
        if name.startswith(_LISTS):
            add("has:list")
        elif name not in _MACHINES and not name.startswith(_MACHINE_PREFIXES):
            add("has:" + name[:40].decode("latin-1"))
    for name in _WORDED:
        raw = header.get(name)
        if raw is not None:
            prefix = name.decode() + ":"
            found.header.update([prefix + word for word in _words(decode_words(raw[:_SUBJECT]))[:12]])
    local, _, domain = header.unfolded(b"message-id")[:255].decode("latin-1").lower().rpartition("@")
    shape = _DIGITS.sub("0", _LETTERS.sub("a", local))[:40]
    add("message-id:" + shape)
    host = domain.rstrip("> \t")
    add("message-id:@" + (_upwards(host, 2)[-1] if "." in host else "no domain"))
    zone = _ZONE.search(header.unfolded(b"date"))
    add("date:" + (zone[0].decode() if zone else "no zone"))


# -- the body -----------------------------------------------------------------------------------------------------------


def _structure(found: _Collector, part: Part) -> None:
    kind = part.content_type
    add = found.header.add
    media = f"{kind.type}/{kind.subtype}"[:60]
    if media != "text/html":
        add("mime:" + media)
    add("mime:charset " + kind.parameter("charset").lower()[:20])
    add("mime:encoding " + part.encoding[:20])
    name = part.filename
    if name:
        add("mime:file ." + name.lower().rpartition(".")[2][:8])


def _typed(found: set[str], text: str) -> str:
    """The text as it is meant to be read; what was done to its characters is noted."""
    if text.isascii():
        return text
    if _INVISIBLE.search(text) is not None:
        found.add("trick:invisible")
        text = _INVISIBLE.sub("", text)
    if _MIXED.search(text) is not None:
        found.add("trick:alphabets mixed")
    return unicodedata.normalize("NFKC", text)


def _text(found: _Collector, part: Part, octets: bytes) -> None:
    text = decode(decode_transfer(octets, part.encoding), part.content_type.parameter("charset"))[
        :_PART_OCTETS
    ]
    text = _typed(found.header, text)
    _links(found, text)
    html = part.content_type.subtype == "html" or "<html" in text[:2000].lower()
    text = _html(found, text) if html else _URL.sub(" ", text)
    add = found.header.add
    for sign in {run[0] for run in _RUN.findall(text)}:
        add("text:" + 3 * sign)
    words = _WORD.findall(text)
    if not text.isascii():
        for run in _IDEOGRAPHS.findall(text):
            # No spaces there: two characters are about a word.
            words.extend([run[at : at + 2] for at in range(min(len(run) - 1, _MAX_WORDS))])
    found.run(words)


def _links(found: _Collector, text: str) -> None:
    add = found.link.add
    if "www." in text:
        for host in set(_WWW.findall(text)):
            _host(add, host)
    if "://" in text:
        for host, path in set(_URL.findall(text)):
            _host(add, host)
            if "%" in path:
                add("url:percent")
            if path:
                found.link.update(["url/" + word.lower() for word in _URL_WORD.findall(path)[:8]])
    if "@" in text:
        for domain in set(_MAIL_DOMAIN.findall(text)):
            add("mail:" + _upwards(domain.lower(), 2)[-1])


def _host(add: Callable[[str], None], host: str) -> None:
    if "@" in host:
        add("url:at sign")
        host = host.rpartition("@")[2]
    host = host.lower().partition(":")[0]
    if _NUMERIC_HOST.match(host) is not None:
        add("url:number")
        return
    for name in _upwards(host, 3):
        add("url:" + name)


def _html(found: _Collector, text: str) -> str:
    """Note how the HTML is made; its text."""
    found.html = True
    add = found.header.add
    if "<!--" in text:
        add("html:comment")
    if _IN_WORD.search(text) is not None:
        add("html:tag in a word")
    text = _SILENT.sub(" ", text)
    lower = text.lower()
    tags = _TAG_NAME.findall(lower)
    found.header.update(["html:" + tag for tag in set(tags) - _COMMON_TAGS])
    found.header.update([f"html:{name}={value}" for name, value in set(_ATTRIBUTE.findall(lower))])
    add(f"html:images {min(tags.count('img'), 3)}")
    shown = unescape(_TAG.sub(" ", _INLINE.sub("", text)))
    alternatives = " ".join([one or other for one, other in _ALT.findall(text)])
    add(f"html:words {shown.count(' ').bit_length()}")
    return f"{shown} {alternatives}" if alternatives else shown
