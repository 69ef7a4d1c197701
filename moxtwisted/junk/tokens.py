r"""What a message is judged by: its words, and what else is peculiar about it.

::

    found = features(scanned, read)
    found.views[VIEWS.index("subject")]            # {63-bit number, …}: what the counts are kept by
    found.texts([digest("subject:free")])          # {…: 'subject:free'}: what a person reads

A token is there or not; how often does not count. They are kept apart by where they come from, the *views*, because those of one view
say the same thing many times, and each view shall have its say:

=========== =====================================  ======================================================================
``subject`` ``subject:offer``                      words of the subject, and how it is written
``header``  ``from:@example.com``, ``has:x-y``     names and domains of people, which fields there are, how the message is
            ``mime:text/html``                     built, ``trick:…``: characters that nobody types
``html``    ``html:width=9``                       how HTML is made
``link``    ``url:example.com``, ``url/buy``       where links in the text lead, and what is above that
``word``    ``offer``, ``OFFER``                   words of the text, in lower case but for those in capitals
=========== =====================================  ======================================================================

Of a text the words at its beginning are heard, and the last ones.

What servers on the way and other filters wrote is left out: a message has the same tokens when it comes, when it lies in a mailbox, and
when it was brought in from elsewhere. Which machine sent it is not asked here: that is reputation.

Octets, characters, parts and tokens are bounded; damaged input gives other tokens, never an error.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from html import unescape
from itertools import islice
from typing import Final
from zlib import crc32

from attrs import define

from moxtwisted.message.charset import decode
from moxtwisted.message.headers import Header, decode_words
from moxtwisted.message.mime import Part, ScannedMessage
from moxtwisted.message.text import decode_transfer, leaves

__all__ = ["ENOUGH_OCTETS", "MAX_TOKENS", "TOKENIZER", "VIEWS", "Features", "digest", "features", "forget"]

TOKENIZER: Final = 2
"""Grows when a message would give other tokens: then everything has to be learned anew."""
VIEWS: Final = ("subject", "header", "html", "link", "word")
"""In the order of ``Features.views``."""
MAX_TOKENS: Final = 8192
"""A message has no more than these."""

_REACH: Final = 1 << 20  # octets; a part that begins behind them is not looked at
ENOUGH_OCTETS: Final = _REACH + (1 << 16)
"""The tokens of a longer message are those of so many octets at its beginning."""
_MAX_PARTS: Final = 50
_PART_OCTETS: Final = 16 * 1024
_ALL_OCTETS: Final = 48 * 1024
_MAX_TEXTS: Final = 4
_FIRST_WORDS: Final = 110  # of a text; words are heard once
_LAST_WORDS: Final = 40
_NAMED: Final = 1500  # tokens of each view but word
_FIELD_OCTETS: Final = 2000
_ADDRESSES: Final = 20
_LONGEST: Final = 24  # characters; what is longer is no word
_SUBJECT: Final = 400  # characters
_NAMES: Final = 40  # words beside addresses
_KEPT_LENGTH: Final = 60
_WIDEST: Final = 80  # characters; that a longer word is long is known
_KEPT_NUMBERS: Final = 1 << 15

_MASK: Final = (1 << 63) - 1

Read = Callable[[int, int], bytes]

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
_PEOPLE: Final = ((b"from", "from"), (b"reply-to", "reply-to"), (b"to", "to"), (b"cc", "cc"))
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

# What stands around words and is no part of them; signs of money, % and ! are.
_AROUND: Final = " \t\r\n\"'()[]{}<>.,;:?*_=+|~/\\`^…“”„’‘«»•·–—-\ufffd"
# Both begin with letters that are searched for at once: a class of characters there costs ten times as much.
_URL = re.compile(r"://([^\s/<>\"'?#)\\]{1,200})([^\s<>\"')]{0,300})")
_WWW = re.compile(r"www\.[\w.-]{3,200}")
_URL_WORD = re.compile(r"[A-Za-z]{3,20}")
_NUMERIC_HOST = re.compile(r"[\d.]+\Z|0x|\[")
_SILENT = re.compile(
    r"<(?:script\b.*?(?:</script|\Z)|style\b.*?(?:</style|\Z)|!--.*?(?:-->|\Z))",
    re.IGNORECASE | re.DOTALL,
)
_INLINE = re.compile(
    r"</?(?:a|abbr|b|big|code|em|font|i|mark|s|small|span|strong|sub|sup|u|wbr)\b[^>]*(?:>|\Z)",
    re.IGNORECASE,
)
_TAG = re.compile(r"<[/!?a-zA-Z][^>]*(?:>|\Z)")
_TAG_NAME = re.compile(r"<([a-z][a-z0-9]{0,10})")
_ATTRIBUTE = re.compile(
    r"\b(color|bgcolor|face|size|width|height|align|border|style|target|method|type|action)\s{0,3}=\s{0,3}[\"']?([^\s\"'>]{0,12})"
)
_ALT = re.compile(r"\balt\s{0,3}=\s{0,3}(?:\"([^\"]{1,300})\"|'([^']{1,300})')", re.IGNORECASE)
_IN_WORD = re.compile(r"<(?<=\w<)/?[a-z!][^>]{0,300}>\w")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u17b4\u17b5\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]"
)
# A Latin letter beside a Greek or Cyrillic one that looks like another Latin letter.
_MIXED = re.compile("[a-zA-Z][\u0370-\u052f]|[\u0370-\u052f][a-zA-Z]")
_IDEOGRAPHS = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,}")
_RUN = re.compile(r"[!?$*=#_-]{3,}")
_SIGNS: Final = ("!!!", "???", "$$$", "***", "===", "###", "___", "---")
_APART = re.compile(r"\w(?:\W\w){3,}[!%]*\Z")
_NO_LETTERS = re.compile(r"[\W\d_]+")
_FEW = 4  # letters that stand apart make a word
_LETTERS_APART = bytes(_FEW)
_TAIL_NUMBER = re.compile(r"\s[A-Za-z]{0,20}\d+[a-z\d]{0,20}\Z")
_ZONE = re.compile(rb"[+-]\d{4}\Z")
_DIGIT = re.compile(r"\d")


def digest(token: str) -> int:
    """The number that stands for a token: 63 bits, the same in every process.

    Both checksums together are as good as one of 63 bits, in a quarter of the time that a cryptographic hash takes. Nobody gains by finding
    two words with one number: who wants a word to count as another one may write that.
    """
    octets = token.encode("utf-8", "replace")
    return (crc32(octets) << 32 | crc32(octets[::-1])) & _MASK


def _written(word: str) -> str:
    """How a word counts: empty for one that does not."""
    word = word.strip(_AROUND)
    length = len(word)
    if length < 2:
        return ""
    if length > 2 * _FEW - 2 and not word.isalpha() and _APART.match(word) is not None:
        # V.I.A.G.R.A
        word = _NO_LETTERS.sub("", word) or "long:0"
        length = len(word)
    if length > _LONGEST:
        return f"long:{min(length // 8, 9)}"
    return word if length > 2 and word.isupper() else word.lower()


class _Kept(dict[str, int]):
    """Numbers by what they were made of, so that what stood in a message before is not hashed again: a dictionary is three times as fast
    here as ``lru_cache``. Threads may share it: all that is kept is right for ever."""

    def __init__(self, make: Callable[[str], int]) -> None:
        self._make = make

    def __missing__(self, key: str) -> int:
        number = self._make(key)
        if len(self) >= _KEPT_NUMBERS:
            self.clear()
        if len(key) <= _KEPT_LENGTH:
            self[key] = number
        return number


def _word_number(word: str) -> int:
    token = _written(word)
    # All other tokens have a colon or a slash; whoever writes one into the text has written a word.
    return digest(token if token.isalnum() else "word " + token) if token else 0


_token = lru_cache(1 << 14)(_written)
#: Of words as they stand in texts; 0 for those that do not count.
_WORDS: Final = _Kept(_word_number)
_number = _WORDS.__getitem__
#: Of all other tokens.
_TOKENS: Final = _Kept(digest)
_named_number = _TOKENS.__getitem__


def forget() -> None:
    """Keep no numbers of what stood in earlier messages, for measuring."""
    for kept in (_WORDS, _TOKENS):
        kept.clear()
    for cached in (_token, _field, _worded, _of_people):
        cached.cache_clear()


@define(eq=False)
class Features:
    """The tokens of a message.

    :ivar views: the numbers of each, as ``VIEWS`` names them.
    :ivar html: whether it has a text in HTML.
    """

    views: tuple[Collection[int], ...]
    html: bool
    _named: tuple[dict[int, str], ...]
    _words: dict[int, str]

    def numbers(self) -> set[int]:
        """All tokens."""
        return set().union(*self.views)

    def texts(self, wanted: Iterable[int]) -> dict[int, str]:
        """What these numbers stand for; those that the message does not have are left out."""
        texts: dict[int, str] = {}
        for number in wanted:
            for named in self._named:
                if number in named:
                    texts[number] = named[number]
            if number in self._words:
                texts[number] = _written(self._words[number])
        return texts


class _Collector:
    """What is being found in one message."""

    def __init__(self) -> None:
        self.subject: set[str] = set()
        self.header: set[str] = set()
        self.markup: set[str] = set()
        self.link: set[str] = set()
        self.words: dict[int, str] = {}
        self.heard = 0
        self.capitals = 0
        self.count = 0
        self.html = False

    def run(self, words: list[str]) -> None:
        """Words that follow each other in the text: those at its beginning, and the last ones."""
        self.count += len(words)
        if len(words) > _FIRST_WORDS + _LAST_WORDS:
            words = words[:_FIRST_WORDS] + words[-_LAST_WORDS:]
        self.heard += len(words)
        self.capitals += sum(map(str.isupper, words))
        numbers = list(map(_number, words))
        if 0 in numbers:
            self._apart(words, bytes(map(bool, numbers)))
        self.words.update(zip(numbers, words, strict=True))

    def _apart(self, words: list[str], counts: bytes) -> None:
        """Note words whose letters stand apart: V I A G R A."""
        begin = counts.find(_LETTERS_APART)
        while begin >= 0:
            end = counts.find(1, begin)
            end = len(counts) if end < 0 else end
            letters = "".join([word.strip(_AROUND) for word in words[begin:end]]).lower()
            if len(letters) >= _FEW:
                self.header.add("trick:letters apart")
                self.subject.add("apart:" + letters[:_LONGEST])
            begin = counts.find(_LETTERS_APART, end)

    def features(self) -> Features:
        """Everything that was found."""
        found = (self.subject, self.header, self.markup, self.link)
        # The same ones every time: what is unlearned must be what was learned.
        chosen = [sorted(f)[:_NAMED] if len(f) > _NAMED else f for f in found]
        named = tuple([dict(zip(map(_named_number, tokens), tokens, strict=True)) for tokens in chosen])
        self.words.pop(0, None)
        return Features((*named, self.words), self.html, named, self.words)


def features(scanned: ScannedMessage, read: Read) -> Features:
    """The tokens of a message.

    :param read: gives octets of it, from an offset and a length.
    """
    found = _Collector()
    header = scanned.header
    _subject(found, header)
    _people(found.header, header)
    _fields(found.header, header)
    room, texts = _ALL_OCTETS, 0
    for part in islice(leaves(scanned.root), _MAX_PARTS):
        if part.body_start > _REACH:
            break
        _structure(found, part)
        if part.content_type.type != "text" or room <= 0 or texts >= _MAX_TEXTS:
            continue
        octets = read(part.body_start, min(part.size, room, _PART_OCTETS))
        room -= len(octets)
        texts += 1
        _text(found, part, octets)
    if found.count:
        found.header.add(f"text:capitals {10 * found.capitals // found.heard}")
        found.header.add(f"text:words {found.count.bit_length()}")
    return found.features()


# -- the header ---------------------------------------------------------------------------------------------------------


def _words(text: str, most: int) -> list[str]:
    return [word for word in map(_token, text.split(None, most)[:most]) if word]


def _subject(found: _Collector, header: Header) -> None:
    raw = header.get(b"subject") or b""
    text = _typed(found.subject, decode_words(raw[: 4 * _SUBJECT])[:_SUBJECT])
    words = _words(text, _SUBJECT)
    add = found.subject.add
    found.subject.update(["subject:" + word for word in words])
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


def _people(found: set[str], header: Header) -> None:
    for field_name, name in _PEOPLE:
        raw = header.get(field_name)
        if raw is not None:
            found.update(_of_people(name, raw[:_FIELD_OCTETS]))
        elif name in ("from", "to"):
            found.add(name + ":none")


@lru_cache(1 << 9)
def _of_people(name: str, raw: bytes) -> frozenset[str]:
    """What is in one field; many messages have the same recipient."""
    # Mail is judged by how people are written there, whether or not that is an address.
    pieces = decode_words(raw).replace("<", " <").replace(",", " ").split()
    words = [word for word in map(_token, [p[:_WIDEST] for p in pieces if "@" not in p][:_NAMES]) if word]
    addresses = [piece for piece in pieces if "@" in piece]
    found = {name + (":named" if words else ":nameless"), f"{name}:count {min(len(addresses), 5)}"}
    found.update([f"{name}:{word}" for word in words])
    for piece in addresses[:_ADDRESSES]:
        local, _, domain = piece.rpartition("@")
        found.update([f"{name}:@{above}" for above in _upwards(domain.strip(_AROUND).lower()[:255], 3)])
        if _DIGIT.search(local) is not None:
            found.add(name + ":digits")
    return frozenset(found)


def _upwards(domain: str, most: int) -> list[str]:
    labels = domain.strip(".").rsplit(".", most)[-most:]
    names = [labels.pop()]
    while labels:
        names.append(f"{labels.pop()}.{names[-1]}")
    return names


def _fields(found: set[str], header: Header) -> None:
    found.update(map(_field, [name[:_KEPT_LENGTH] for name in islice(header.values, 200)]))
    found.discard("")
    for name in _WORDED:
        raw = header.get(name)
        if raw is not None:
            found.update(_worded(name, raw[:_SUBJECT]))
    zone = _ZONE.search(header.unfolded(b"date"))
    found.add("date:" + (zone[0].decode() if zone else "no zone"))


@lru_cache(1 << 11)
def _field(name: bytes) -> str:
    """What it says that a message has this field."""
    if name.startswith(_LISTS):
        return "has:list"
    if name in _MACHINES or name.startswith(_MACHINE_PREFIXES):
        return ""
    return "has:" + name[:40].decode("latin-1")


@lru_cache(1 << 11)
def _worded(name: bytes, raw: bytes) -> tuple[str, ...]:
    prefix = name.decode() + ":"
    return tuple([prefix + word for word in _words(decode_words(raw), 12)])


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
    bare = _links(found.link, text)
    html = part.content_type.subtype == "html" or "<html" in text[:2000].lower()
    text = _html(found, text) if html else bare
    found.header.update(["text:" + signs for signs in _SIGNS if signs in text])
    words = text.split()
    if not text.isascii():
        for run in _IDEOGRAPHS.findall(text):
            # No spaces there: two characters are about a word.
            words.extend([run[at : at + 2] for at in range(min(len(run) - 1, _FIRST_WORDS))])
    found.run(words)


def _links(found: set[str], text: str) -> str:
    """Note where links lead; the text without them."""
    add = found.add
    if "://" in text:
        pieces = _URL.split(text)
        for host in set(pieces[1::3]):
            _host(add, host)
        for path in set(pieces[2::3]):
            if "%" in path:
                add("url:percent")
            found.update(["url/" + word.lower() for word in _URL_WORD.findall(path)[:8]])
        text = " ".join(pieces[::3])
    if "www." in text:
        for host in set(_WWW.findall(text)):
            _host(add, host)
    return text


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
    add = found.markup.add
    if "<!--" in text:
        add("html:comment")
    if _IN_WORD.search(text.lower()) is not None:
        add("html:tag in a word")
    text = _SILENT.sub(" ", text)
    lower = text.lower()
    tags = _TAG_NAME.findall(lower)
    found.markup.update(["html:" + tag for tag in set(tags) - _COMMON_TAGS])
    found.markup.update([f"html:{name}={value}" for name, value in set(_ATTRIBUTE.findall(lower))])
    add(f"html:images {min(tags.count('img'), 3)}")
    shown = unescape(_TAG.sub(" ", _INLINE.sub("", text)))
    found_alternatives = _ALT.findall(text) if "alt" in lower else ()
    alternatives = " ".join([one or other for one, other in found_alternatives])
    add(f"html:words {shown.count(' ').bit_length()}")
    return f"{shown} {alternatives}" if alternatives else shown
