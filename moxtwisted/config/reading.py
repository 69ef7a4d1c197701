"""From the tables of TOML to the classes of ``schema``, with all that is wrong in one go.

msgspec stops at the first mistake; an operator wants them all. So when it refuses, the tables are walked field by
field, and each mistake is noted with the path of its key, what was found and what was expected. What is good can still be
judged further (`judgeable`), without a second complaint about the same key::

    problems = Problems("mox.conf")
    config = read(StaticConfig, {"hostnam": "mail.example.org"}, problems)
    problems.lines[0]     # mox.conf: hostnam: unknown key, did you mean hostname?
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec
from attrs import define, field
from msgspec import NODEFAULT, Meta, Struct

__all__ = [
    "FieldInfo",
    "Problems",
    "describe_type",
    "fields_of",
    "judgeable",
    "key_text",
    "quoted",
    "read",
    "split_type",
]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*\Z")
_OCTET_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "pib": 2**50,
    "eib": 2**60,
}
_SECOND_UNITS = {
    "": 1,
    "s": 1,
    "sec": 1,
    "m": 60,
    "min": 60,
    "h": 3600,
    "d": 86400,
    "day": 86400,
    "days": 86400,
    "w": 604800,
    "weeks": 604800,
}
#: Units that numbers are shown with.
_OCTET_WORDS = ("EiB", "PiB", "TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "kB")
_SECOND_WORDS = ("days", "h", "min")
#: A file with more mistakes than this is not the right file; the rest would bury the first.
MAX_PROBLEMS = 200

S = TypeVar("S", bound=Struct)
Path = tuple[str | int, ...]


@define
class Problems:
    """Collects what is wrong in one file.

    :ivar file: its name, as it begins each line.
    """

    file: str
    lines: list[str] = field(factory=list)
    _spoiled: set[Path] = field(factory=set)

    def spoil(self, path: Path, text: str) -> None:
        """Note a mistake because of which nothing else can be said about the key and what is below it."""
        self.add(path, text)
        self._spoiled.add(path)

    def spoiled(self, path: Path) -> bool:
        """Whether the key, or one above it, cannot be judged."""
        return any(path[:length] in self._spoiled for length in range(1, len(path) + 1))

    def spoiled_below(self, path: Path) -> bool:
        """Whether something at or below the key cannot be judged."""
        return any(spoiled[: len(path)] == path for spoiled in self._spoiled)

    @property
    def full(self) -> bool:
        """Whether more is not noted."""
        return len(self.lines) > MAX_PROBLEMS

    def add(self, path: Path, text: str) -> None:
        """Note a mistake at a key, unless it cannot be judged; beyond ``MAX_PROBLEMS`` only that there are more."""
        if self._spoiled and self.spoiled(path):
            return
        where = f"{key_text(path)}: " if path else ""
        if len(self.lines) < MAX_PROBLEMS:
            self.lines.append(f"{self.file}: {where}{text}")
        elif len(self.lines) == MAX_PROBLEMS:
            self.lines.append(f"{self.file}: and more")


def key_text(path: Path) -> str:
    """The path of a key as TOML writes it: ``accounts.alice.addresses."a@example.org"``; items as ``[0]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        bare = step if _BARE_KEY.match(step) else quoted(step)
        text += f".{bare}" if text else bare
    return text


@define
class FieldInfo:
    """One key of a table.

    :ivar type: without the annotations.
    :ivar metas: what was annotated, the outermost first.
    :ivar default: or ``msgspec.NODEFAULT``.
    """

    name: str
    annotated: Any
    type: Any
    metas: tuple[Meta, ...]
    default: Any

    @property
    def required(self) -> bool:
        """Whether the file must have the key."""
        return self.default is NODEFAULT

    @property
    def description(self) -> str:
        """The sentence that explains it; for a table without one, the first line of the class."""
        for meta in self.metas:
            if meta.description:
                return meta.description
        struct = struct_of(self.type)
        return (struct.__doc__ or "").strip().split("\n\n")[0] if struct is not None else ""

    @property
    def examples(self) -> list[Any]:
        """Values to show; may be empty."""
        return next((meta.examples for meta in self.metas if meta.examples), [])

    @property
    def example_key(self) -> str:
        """For a table of tables, the name that the example takes."""
        return next((str(meta.extra["example_key"]) for meta in self.metas if meta.extra), "name")


def split_type(annotated: Any) -> tuple[Any, tuple[Meta, ...]]:
    """Take ``Annotated`` and an optional ``None`` off a type: (type, annotations)."""
    metas: list[Meta] = []
    while True:
        origin = get_origin(annotated)
        if origin is Annotated:
            inner, *extras = get_args(annotated)
            metas.extend(extra for extra in extras if isinstance(extra, Meta))
            annotated = inner
        elif origin in (Union, types.UnionType):
            (annotated,) = (arg for arg in get_args(annotated) if arg is not type(None))
        else:
            return annotated, tuple(metas)


def struct_of(type_: Any) -> type[Struct] | None:
    """The class, if the type is one of ours."""
    return type_ if isinstance(type_, type) and issubclass(type_, Struct) else None


def fields_of(struct: type[Struct]) -> Iterator[FieldInfo]:
    """The keys of a table, in the order of the class."""
    hints = typing.get_type_hints(struct, include_extras=True)
    for info in msgspec.structs.fields(struct):
        default = info.default if info.default_factory is NODEFAULT else info.default_factory()
        type_, metas = split_type(hints[info.name])
        yield FieldInfo(info.name, hints[info.name], type_, metas, default)


def describe_type(type_: Any, metas: tuple[Meta, ...] = (), name: str = "") -> str:
    """What is expected, in words: ``a whole number from 1 to 65535``. A text may say itself what it is, by its ``title``.

    :param name: of the key; its end tells the unit.
    """
    origin, args = get_origin(type_), get_args(type_)
    if origin is Literal:
        return "one of " + ", ".join(f'"{arg}"' for arg in args)
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return "a list, each " + describe_type(*split_type(args[0]))
    if origin is tuple:
        return f"a list of {len(args)}, each " + describe_type(*split_type(args[0]), name)
    if origin is dict:
        return (
            "a table" if struct_of(args[1]) else "a table, each value " + describe_type(*split_type(args[1]))
        )
    if type_ is bool:
        return "true or false"
    if type_ is str:
        titles = [meta.title for meta in metas if meta.title]
        if titles:
            return titles[0]
        pattern = next((meta.pattern for meta in metas if meta.pattern), None)
        longest = next((meta.max_length for meta in metas if meta.max_length), None)
        return (
            "a text"
            + (f" of the form {pattern}" if pattern else "")
            + (f" of at most {longest} characters" if longest else "")
        )
    if type_ in (int, float):
        least = next((meta.ge for meta in metas if meta.ge is not None), None)
        most = next((meta.le for meta in metas if meta.le is not None), None)
        number = "a whole number" if type_ is int else "a number"
        if most is not None:
            number += f" from {_bound_text(name, least or 0)} to {_bound_text(name, most)}"
        if name.endswith("_octets"):
            return number + ' or a text as "100 MB"'
        return number + ' or a text as "30 min"' if name.endswith("_seconds") else number
    return "a table"


def quantity_text(name: str, number: float) -> str:
    """A number for people: octets and seconds with the unit that gives the same number and makes it shortest.

    :param name: of the key; its end tells the unit.
    """
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    words: tuple[str, ...] = ()
    units: dict[str, int] = {}
    if name.endswith("_octets"):
        words, units = _OCTET_WORDS, _OCTET_UNITS
    elif name.endswith("_seconds"):
        words, units = _SECOND_WORDS, _SECOND_UNITS
    fitting = [
        (int(number) // size, word)
        for word in words
        if number and number % (size := units[word.lower()]) == 0 and (number > size or words is _OCTET_WORDS)
    ]
    return "{} {}".format(*min(fitting, key=lambda pair: pair[0])) if fitting else str(number)


def _bound_text(name: str, number: float) -> str:
    text = quantity_text(name, number)
    return f"{int(text):,}" if text.isdecimal() and len(text) > 6 else text


def read(struct: type[S], table: Mapping[str, Any], problems: Problems) -> S | None:
    """The object, or None when there were problems, which are noted then."""
    before = len(problems.lines)
    result = judgeable(struct, table, problems)
    return result if len(problems.lines) == before else None


def judgeable(struct: type[S], table: Mapping[str, Any], problems: Problems) -> S:
    """The object, also when there were problems: where one was noted, its key has the default, or an empty value."""
    try:
        return msgspec.convert(table, struct)
    except msgspec.ValidationError:
        pass
    before = len(problems.lines)
    result = _table(struct, table, (), problems)
    if len(problems.lines) == before:
        try:
            # Texts with units are numbers now.
            msgspec.convert(msgspec.to_builtins(result), struct)
        except msgspec.ValidationError as e:
            problems.add((), str(e))
    return result


class _Wrong:
    """In the place of a value that was noted as wrong."""


def _table(struct: type[S], value: Any, path: Path, problems: Problems) -> S:
    """The table as an object, after noting what is wrong."""
    if not isinstance(value, Mapping):
        problems.spoil(path, f"{_short(value)} found, a table expected")
        return cast("S", _nothing(struct))
    values: dict[str, Any] = {}
    known = {info.name: info for info in fields_of(struct)}
    for key, inner in value.items():
        if key in known:
            values[key] = _value(known[key].annotated, inner, (*path, key), problems)
            continue
        near = get_close_matches(key.lower(), known, 1)
        hint = f"did you mean {near[0]}?" if near else "expected one of " + ", ".join(known)
        problems.spoil((*path, key), f"unknown key, {hint}")
    for name, info in known.items():
        if info.required and name not in value:
            expected = describe_type(info.type, info.metas, name)
            problems.spoil((*path, name), f"nothing found, {expected} expected: {info.description}")
        if values.get(name, _Wrong) is _Wrong:
            values.pop(name, None)
            if info.required:
                values[name] = _nothing(info.annotated)
    return struct(**values)


def _nothing(annotated: Any) -> Any:
    """A value of the type that says nothing."""
    type_, _ = split_type(annotated)
    struct = struct_of(type_)
    if struct is not None:
        return struct(**{info.name: _nothing(info.annotated) for info in fields_of(struct) if info.required})
    if get_origin(type_) is Literal:
        return get_args(type_)[0]
    return (get_origin(type_) or type_)()


def _value(annotated: Any, value: Any, path: Path, problems: Problems) -> Any:
    """The value, or `_Wrong` after noting why."""
    type_, metas = split_type(annotated)
    struct = struct_of(type_)
    if struct is not None:
        return _table(struct, value, path, problems)
    origin, args = get_origin(type_), get_args(type_)
    if origin is dict and isinstance(value, Mapping):
        if not value and any(meta.min_length for meta in metas):
            problems.spoil(path, "an empty table found, at least one entry expected")
        return {key: _item(args[1], inner, (*path, key), problems) for key, inner in value.items()}
    if origin is tuple and args[-1] is Ellipsis and isinstance(value, list):
        if not value and any(meta.min_length for meta in metas):
            problems.spoil(path, "an empty list found, at least one item expected")
        return tuple(_item(args[0], inner, (*path, i), problems) for i, inner in enumerate(value))
    name = next((step for step in reversed(path) if isinstance(step, str)), "")
    if isinstance(value, str) and type_ in (int, float):
        value = _quantity(value, name)
    elif origin is tuple and isinstance(value, list):
        value = [_quantity(item, name) if isinstance(item, str) else item for item in value]
    try:
        return msgspec.convert(value, annotated)
    except msgspec.ValidationError:
        problems.spoil(path, f"{_short(value)} found, {describe_type(type_, metas, name)} expected")
        return _Wrong


def _item(annotated: Any, value: Any, path: Path, problems: Problems) -> Any:
    """The same within a table or list, whose other items keep their places."""
    result = _value(annotated, value, path, problems)
    return _nothing(annotated) if result is _Wrong else result


def _quantity(text: str, name: str) -> Any:
    """The number that a text with a unit stands for; the text itself if it is none."""
    units = _OCTET_UNITS if name.endswith("_octets") else _SECOND_UNITS if name.endswith("_seconds") else None
    match = _QUANTITY.match(text) if units and len(text) < 40 else None
    if units is None or match is None or match[2].lower() not in units:
        return text
    number = float(match[1]) if "." in match[1] else int(match[1])
    total = number * units[match[2].lower()]
    return int(total) if units is _OCTET_UNITS else float(total)


def _short(value: Any) -> str:
    """A value as TOML would write it, cut."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = str(value)
    return text if len(text) <= 40 else text[:40] + "…"


def quoted(text: str) -> str:
    """In quotes, without control characters, cut."""
    cut = text if len(text) <= 60 else text[:60] + "…"
    cut = "".join(c if c.isprintable() else "�" for c in cut)
    return '"' + cut.replace("\\", "\\\\").replace('"', '\\"') + '"'
