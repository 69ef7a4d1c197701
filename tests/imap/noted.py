r"""Annotations (RFC 5464) as the model has them: what is noted of a mailbox, and who is to hear of changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

#: What one mailbox has, or the server.
Entries = dict[str, bytes]


@frozen(eq=False)
class Change:
    """Some entries were set or removed.

    @ivar box: of which mailbox; None: of the server.
    @ivar name: what it was called then, empty for the server.
    @ivar by: the session that did it.
    """

    box: Any
    name: str
    entries: Sequence[str]
    by: Any


@define(eq=False)
class Notes:
    """All annotations of a user, and all changes since the beginning."""

    kept: dict[Any, Entries] = field(factory=dict)
    changes: list[Change] = field(factory=list)

    def of(self, box: Any) -> Entries:
        """Those of a mailbox, or of the server (None)."""
        return self.kept.setdefault(box, {})

    def set(self, change: Change, values: Mapping[str, bytes | None]) -> None:
        """Set them, or remove them with None."""
        entries = self.of(change.box)
        for entry, value in values.items():
            entries.pop(entry, None)
            if value is not None:
                entries[entry] = value
        self.changes.append(change)

    def by_others(self, session: Any, since: int) -> list[Change]:
        """The changes from one on that somebody else made."""
        return [change for change in self.changes[since:] if change.by is not session]


def chosen(entries: Mapping[str, bytes], wanted: Iterable[str], depth: str) -> list[str]:
    """RFC 5464 section 4.2.2: the entries asked for, each with those below it."""
    names: dict[str, None] = {}
    for entry in wanted:
        below = [name for name in sorted(entries) if name.startswith(entry + "/") and depth != "0"]
        if depth == "1":
            below = [name for name in below if name.count("/") == entry.count("/") + 1]
        if entry in entries or not below:
            names[entry] = None
        names.update(dict.fromkeys(below))
    return list(names)


def written(octets: bytes | None, *, utf8: bool) -> str:
    """A value as it is told; C{utf8}: quoted strings may be UTF-8."""
    if octets is None:
        return "NIL"
    text = octets.decode()
    if "\n" in text or not (utf8 or text.isascii()):
        return f"{{{len(octets)}}}\r\n{text}"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
