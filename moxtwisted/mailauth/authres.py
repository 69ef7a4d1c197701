"""Authentication-Results: read, written, and taken out when somebody else uses our name (RFC 8601).

::

    results = AuthenticationResults("mx.example.org", (
        MethodResult("dkim", "pass", properties=(Property("header", "d", "example.com"),), comment="2048-bit key"),
        MethodResult("spf", "fail", reason="not listed"),
    ))
    results.field()                             # b"Authentication-Results: mx.example.org;\\r\\n\\tdkim=pass (2048-bit key) ...\\r\\n"
    parse_results(value)                        # the same back; None when it cannot be read
    claims(value, {"mx.example.org"})           # whether the field says that we wrote it

Reading is tolerant: a result that cannot be read is passed over, the others are kept. Values are unquoted text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from typing import Final

from attrs import field, frozen

from moxtwisted.identifiers import Domain, DomainError
from moxtwisted.message.comments import without_comments
from moxtwisted.message.headers import Header, replace_fields, unfold

__all__ = [
    "MAX_OCTETS",
    "MAX_RESULTS",
    "AuthenticationResults",
    "MethodResult",
    "Property",
    "authserv_id",
    "claims",
    "parse_results",
    "shortened",
    "without_claims",
    "without_fields",
]

#: What is looked at in one field.
MAX_OCTETS: Final = 16 * 1024
MAX_RESULTS: Final = 100
_MAX_WORDS: Final = 10
_REASON_CHARACTERS: Final = 200
_MAX_PROPERTIES: Final = 30
_LINE: Final = 76
_REMEMBERED_CHARACTERS: Final = 128

# RFC 2045 section 5.1: token. A value may also be a mailbox or "@domain" (RFC 8601 section 2.2), whose @ we take as it comes.
_TOKEN: Final = re.compile(r"[^\s()<>@,;:\\\"/\[\]?=\x00-\x1f\x7f]+\Z")
_VALUE: Final = re.compile(r"[^\s()<>,;\\\"\[\]\x00-\x1f\x7f]+\Z")
_STRING: Final = rb'"(?>(?:[^"\\]++|\\.)*)"'
_KEYWORD: Final = rb"[A-Za-z0-9](?:[A-Za-z0-9_-]*+)"
_METHOD: Final = re.compile(
    rb"\s*+(" + _KEYWORD + rb")(?>(?:\s*+/\s*+([0-9]++))?)\s*+=\s*+(" + _KEYWORD + rb")(?=\s|\Z)"
)
_PAIR: Final = re.compile(
    rb"\s*+(?:(reason)|(" + _KEYWORD + rb")\s*+\.\s*+(" + _KEYWORD + rb"))\s*+=\s*+"
    rb"((?>(?:" + _STRING + rb"|[^\s;\"])+))",
    re.IGNORECASE,
)
_IDENTIFIER: Final = re.compile(
    rb"\s*+(?:(" + _STRING + rb")|([^\s;\"/]++))(?:\s*+/\s*+|\s*+)([0-9]++)?\s*+\Z", re.DOTALL
)
#: An authserv-id may be a quoted string; what a host is called has none of these in it.
_HOST: Final = re.compile(r"[^\s;\"\\]+\Z")
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
_SEMICOLON: Final = re.compile(rb'((?>(?:[^;"]++|' + _STRING + rb")*))(;|\Z)", re.DOTALL)


def _text(octets: bytes) -> str:
    """A value without its quotes."""
    pieces = re.split(rb"(" + _STRING + rb")", octets) if b'"' in octets else [octets]
    plain = [_QUOTED_PAIR.sub(rb"\1", p[1:-1]) if p[:1] == b'"' else p for p in pieces]
    return b"".join(plain).decode("utf-8", "replace")


@frozen
class Property:
    """Something that was looked at, as ``header.d=example.com``.

    :ivar kind: ``"smtp"``, ``"header"``, ``"body"`` or ``"policy"``.
    :ivar name: of the property.
    :ivar value: decoded.
    """

    kind: str
    name: str
    value: str


@frozen
class MethodResult:
    """What one method came to.

    :ivar method: as ``"dkim"``, lower case.
    :ivar result: as ``"pass"``, lower case.
    :ivar reason: for people.
    :ivar comment: what stands behind the result in parentheses; written only.
    :ivar version: of the method.
    """

    method: str
    result: str
    reason: str = ""
    properties: tuple[Property, ...] = ()
    comment: str = ""
    version: int = 1
    _line: str = field(default="", init=False, eq=False, repr=False)

    def value(self, kind: str, name: str) -> str:
        """The first property of that name, or empty."""
        for found in self.properties:
            if found.kind == kind and found.name == name:
                return found.value
        return ""

    def line(self, *, utf8: bool = False) -> str:
        """As it is written, folded."""
        if utf8:
            return _folded(_words(self, utf8=True))
        line = self._line
        if not line:
            # What is the same for several messages is written once.
            line = _folded(_words(self, utf8=False))
            object.__setattr__(self, "_line", line)
        return line

    def with_property(self, added: Property) -> MethodResult:
        """The same, and a further property, which is of one message alone."""
        found = MethodResult(
            self.method, self.result, self.reason, (*self.properties, added), self.comment, self.version
        )
        line, word = self.line(), f"{added.kind}.{added.name}={_write(added.value, utf8=False)}"
        room = _LINE - (len(line) - line.rfind("\n") - 1)
        line += f" {word}" if len(word) < room else f"\r\n\t{word}"
        object.__setattr__(found, "_line", line)
        return found


@frozen
class AuthenticationResults:
    """What a host found out about a message.

    :ivar authserv_id: its name.
    :ivar results: empty is written as ``none``.
    """

    authserv_id: str
    results: tuple[MethodResult, ...] = ()
    version: int = 1

    def of(self, method: str) -> tuple[MethodResult, ...]:
        """The results of one method."""
        return tuple(result for result in self.results if result.method == method)

    def payload(self, *, utf8: bool = False) -> bytes:
        """The value, folded, without a line end: what ARC-Authentication-Results has behind its instance, too.

        :param utf8: the message is internationalised (RFC 8601 section 1.5.2); otherwise domains are written as A-labels and other text
            that is not ASCII is left out.
        """
        head = _written(self.authserv_id, utf8=utf8) + (f" {self.version}" if self.version != 1 else "")
        if not self.results:
            return _encoded(head + "; none", utf8=utf8)
        lines = [one.line(utf8=utf8) for one in self.results]
        return _encoded(";\r\n".join((head, *lines)), utf8=utf8)

    def field(self, *, utf8: bool = False, name: bytes = b"Authentication-Results") -> bytes:
        """The whole field with CRLF."""
        return name + b": " + self.payload(utf8=utf8) + b"\r\n"


def shortened(text: str) -> str:
    """A reason, cut where it is long."""
    return text if len(text) <= _REASON_CHARACTERS else text[: _REASON_CHARACTERS - 3] + "..."


def _encoded(text: str, *, utf8: bool) -> bytes:
    return text.encode("utf-8", "replace") if utf8 else text.encode("ascii", "replace")


def _written(value: str, *, utf8: bool) -> str:
    """A value as token, address or quoted string."""
    # The same few are written again and again: domains, selectors, words.
    return _remembered(value, utf8=utf8) if len(value) <= _REMEMBERED_CHARACTERS else _write(value, utf8=utf8)


def _write(value: str, *, utf8: bool) -> str:
    if not value.isprintable():
        value = "".join(c if c.isprintable() else "?" for c in value)
    value = value[:1000]
    if not utf8 and not value.isascii():
        # RFC 8601 section 1.5.2: outside of internationalised mail, names are A-labels; a local part has no such form.
        _, at, domain = value.rpartition("@")
        try:
            value = at + Domain.parse(domain, lax=True).ascii
        except DomainError:
            value = value.encode("ascii", "replace").decode("ascii")
    if _VALUE.match(value) and value.count("@") <= 1 and "=" not in value:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


_remembered = lru_cache(1024)(_write)


def _comment(text: str) -> str:
    if not text.isprintable() or "(" in text or ")" in text or "\\" in text:
        text = "".join(c if c.isprintable() and c not in "()\\" else " " for c in text)
    return f"({text[:200]})"


def _words(result: MethodResult, *, utf8: bool) -> list[str]:
    version = f"/{result.version}" if result.version != 1 else ""
    words = [f"{result.method}{version}={result.result}"]
    if result.comment:
        words += _comment(result.comment).split()
    if result.reason:
        words.append("reason=" + _quoted_always(_written(result.reason, utf8=utf8)))
    for found in result.properties:
        words.append(f"{found.kind}.{found.name}={_written(found.value, utf8=utf8)}")
    return words


def _quoted_always(written: str) -> str:
    return written if written.startswith('"') else f'"{written}"'


def _folded(words: Iterable[str]) -> str:
    whole = "\t" + " ".join(words)
    if len(whole) <= _LINE:
        return whole
    text, left = "", 0
    for word in words:
        size = len(word) + 1
        left -= size
        if left >= 0:
            text += f" {word}"
        else:
            text += f"\r\n\t{word}"
            left = _LINE - size
    return text[2:]


# -- reading ------------------------------------------------------------------------------------------------------


def _plain(value: bytes) -> bytes | None:
    """A value on one line without comments; None when programs may differ about where these end."""
    if len(value) > MAX_OCTETS:
        return None
    return without_comments(unfold(value))


def _split(plain: bytes) -> list[bytes] | None:
    """What stands between the semicolons that are in no string."""
    pieces: list[bytes] = []
    position = 0
    while len(pieces) <= MAX_RESULTS:
        found = _SEMICOLON.match(plain, position)
        if found is None:
            return None
        pieces.append(found[1])
        position = found.end()
        if not found[2]:
            break
    return pieces


def _identifier(piece: bytes) -> tuple[str, int] | None:
    found = _IDENTIFIER.match(piece)
    name = _text(found[1] or found[2]) if found is not None else ""
    if found is None or _HOST.match(name) is None:
        return None
    return name, int(found[3][:9] if found[3] else b"1")


def parse_results(value: bytes) -> AuthenticationResults | None:
    """Read a field's value (or what stands behind the instance of an ARC-Authentication-Results).

    :param value: behind the colon, folded as it is.
    :returns: None when not even its host can be read.
    """
    plain = _plain(value)
    pieces = _split(plain) if plain is not None else None
    identifier = _identifier(pieces[0]) if pieces else None
    if not pieces or identifier is None:
        return None
    results = [result for piece in pieces[1:] if (result := _result(piece)) is not None]
    return AuthenticationResults(identifier[0], tuple(results), identifier[1])


def _result(piece: bytes) -> MethodResult | None:
    found = _METHOD.match(piece)
    if found is None:
        return None
    method, version, result = found.groups()
    properties: list[Property] = []
    reason, position = "", found.end()
    while len(properties) < _MAX_PROPERTIES:
        pair = _PAIR.match(piece, position)
        if pair is None:
            break
        position = pair.end()
        if pair[1]:
            reason = _text(pair[4])
        else:
            properties.append(Property(pair[2].decode().lower(), pair[3].decode().lower(), _text(pair[4])))
    return MethodResult(
        method.decode().lower(),
        result.decode().lower(),
        reason,
        tuple(properties),
        version=int(version[:9]) if version else 1,
    )


# -- whose it is --------------------------------------------------------------------------------------------------


def authserv_id(value: bytes) -> str | None:
    """The host that a field names, in lower case without a last dot; None when it cannot be told.

    :param value: behind the colon, folded as it is.
    """
    plain = _plain(value)
    if plain is None:
        return None
    # RFC 8601 section 2.2: the host, perhaps quoted, perhaps a version, then a semicolon. Other programs are as tolerant as they like,
    # so the first word is taken whatever stands around it.
    words = plain.partition(b";")[0].replace(b'"', b" ").split()
    return words[0].decode("utf-8", "replace").rstrip(".").lower() if words else None


def claims(value: bytes, names: Collection[str]) -> bool:
    """Whether a field that came from outside has to go: it names one of our hosts, or nobody can say whom it names (RFC 8601 section 5).

    :param names: our own, in any case, A-labels or U-labels.
    """
    plain = _plain(value)
    first = (
        plain.partition(b";")[0].replace(b'"', b" ").decode("utf-8", "replace") if plain is not None else ""
    )
    words = first.split()
    if len(words) > 1 and words[-1].isdigit():
        del words[-1]
    if not words or "=?" in first:
        return True
    # Some programs pass over white space within a name, as it is allowed in addresses, or over what stands before it.
    said = {*(word.strip(",/") for word in words[:_MAX_WORDS]), words[0].partition("/")[0], "".join(words)}
    ours = {_comparable(own) for own in names}
    return not ours.isdisjoint(map(_comparable, said))


def _comparable(name: str) -> str:
    name = name.rstrip(".").lower()
    if name.isascii():
        return name
    try:
        return Domain.parse(name, lax=True).ascii
    except DomainError:
        return name


def without_claims(header: Header, names: Collection[str]) -> bytes:
    """The fields of a header block but for the Authentication-Results that claim to be ours, and its empty line when it has one.

    The same octets come back when there is nothing to remove.
    """
    return without_fields(
        header,
        lambda raw, name: name == b"authentication-results" and claims(raw.partition(b":")[2], names),
    )


def without_fields(header: Header, unwanted: Callable[[bytes, bytes], bool]) -> bytes:
    """The fields of a header block but for those that are not wanted, and its empty line when it has one.

    The same octets come back when there is nothing to remove.

    :param unwanted: is given each raw field and its lower-case name.
    """
    return replace_fields(
        header, {i: b"" for i, (raw, name) in enumerate(header.fields) if unwanted(raw, name)}
    )
