"""A strict reader of what IMAP responses hold, so that tests judge rendered octets by the grammar of RFC 9051 section 9."""

from __future__ import annotations

import re

__all__ = ["check_body", "check_envelope", "parse"]

_QUOTED = re.compile(rb'"((?:[\x01-\x09\x0b\x0c\x0e-!#-\[\]-\x7f]|\\["\\])*)"')
_LITERAL = re.compile(rb"\{(\d+)\}\r\n")
_NUMBER = re.compile(rb"\d+")

Value = None | bytes | int | list["Value"]


def _parse(octets: bytes, position: int) -> tuple[Value, int]:
    if octets[position : position + 1] == b"(":
        items: list[Value] = []
        position += 1
        while octets[position : position + 1] != b")":
            if items and octets[position : position + 1] == b" ":
                position += 1
            elif items and not (isinstance(items[-1], list) and octets[position : position + 1] == b"("):
                raise AssertionError(f"no space at {position} in {octets!r}")
            item, position = _parse(octets, position)
            items.append(item)
        return items, position + 1
    if octets[position : position + 3] == b"NIL":
        return None, position + 3
    quoted = _QUOTED.match(octets, position)
    if quoted is not None:
        return re.sub(rb"\\(.)", rb"\1", quoted[1]), quoted.end()
    literal = _LITERAL.match(octets, position)
    if literal is not None:
        end = literal.end() + int(literal[1])
        value = octets[literal.end() : end]
        if b"\0" in value or len(value) != int(literal[1]):
            raise AssertionError("bad literal")
        return value, end
    number = _NUMBER.match(octets, position)
    if number is None:
        raise AssertionError(f"nothing known at {position} in {octets!r}")
    return int(number[0]), number.end()


def parse(octets: bytes) -> Value:
    """One value: NIL, a string, a number or a list."""
    value, end = _parse(octets, 0)
    if end != len(octets):
        raise AssertionError(f"octets behind the value: {octets[end:]!r}")
    return value


def _expect(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def _list(value: Value) -> list[Value]:
    _expect(isinstance(value, list) and bool(value), f"not a list of something: {value!r}")
    assert isinstance(value, list)
    return value


def _nstring(value: Value) -> None:
    _expect(value is None or isinstance(value, bytes), f"not an nstring: {value!r}")


def check_envelope(value: Value) -> None:
    """RFC 9051 section 9, rule envelope."""
    if not isinstance(value, list) or len(value) != 10:
        raise AssertionError(f"not an envelope: {value!r}")
    for i in (0, 1, 8, 9):
        _nstring(value[i])
    for addresses in value[2:8]:
        if addresses is None:
            continue
        _expect(isinstance(addresses, list) and bool(addresses), "an address list has an address")
        assert isinstance(addresses, list)
        for address in addresses:
            _expect(isinstance(address, list) and len(address) == 4, f"not an address: {address!r}")
            assert isinstance(address, list)
            for item in address:
                _nstring(item)


def _parameters(value: Value) -> None:
    if value is None:
        return
    value = _list(value)
    _expect(bool(value) and len(value) % 2 == 0, "parameters are pairs")
    for item in value:
        _expect(isinstance(item, bytes), "parameters are strings")


def _extension(value: list[Value]) -> None:
    disposition, languages, location = value
    if disposition is not None:
        _expect(isinstance(disposition, list) and len(disposition) == 2, "a disposition has two items")
        assert isinstance(disposition, list)
        _expect(isinstance(disposition[0], bytes), "a disposition has a kind")
        _parameters(disposition[1])
    if languages is not None:
        _expect(isinstance(languages, list) and all(isinstance(tag, bytes) for tag in languages), "languages")
    _nstring(location)


def check_body(value: Value, *, extended: bool) -> None:
    """RFC 9051 section 9, rule body, with all extension data or with none."""
    value = _list(value)
    if isinstance(value[0], list):
        children = [item for item in value if isinstance(item, list)]
        count = next(i for i, item in enumerate(value) if not isinstance(item, list))
        for child in children[:count]:
            check_body(child, extended=extended)
        _expect(isinstance(value[count], bytes), "a multipart has a subtype")
        _expect(len(value) == count + (5 if extended else 1), f"wrong number of items: {value!r}")
        if extended:
            _parameters(value[count + 1])
            _extension(value[count + 2 :])
        return
    media, subtype, parameters, ident, description, encoding, size = value[:7]
    rest = value[7:]
    for item in (media, subtype, encoding):
        _expect(isinstance(item, bytes), f"not a string: {item!r}")
    _parameters(parameters)
    _nstring(ident)
    _nstring(description)
    _expect(isinstance(size, int), "size is a number")
    if media == b"message" and subtype in (b"rfc822", b"global"):
        check_envelope(rest[0])
        check_body(rest[1], extended=extended)
        _expect(isinstance(rest[2], int), "lines is a number")
        rest = rest[3:]
    elif media == b"text":
        _expect(isinstance(rest[0], int), "lines is a number")
        rest = rest[1:]
    _expect(len(rest) == (4 if extended else 0), f"wrong number of items: {value!r}")
    if extended:
        _nstring(rest[0])
        _extension(rest[1:])
