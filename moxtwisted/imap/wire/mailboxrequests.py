"""Writing the commands of ``moxtwisted.imap.wire.mailboxcommands``, for a client; see ``moxtwisted.imap.wire.request``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from moxtwisted.imap.wire import mailboxcommands as m
from moxtwisted.imap.wire import render
from moxtwisted.imap.wire.commands import Command

if TYPE_CHECKING:
    from moxtwisted.imap.wire.request import RequestWriter

__all__ = ["WRITERS", "entries"]


def entries(names: Iterable[str]) -> bytes:
    """Names of entries, in parentheses. They are ASCII without controls, so no literals."""
    return render.parenthesized(map(render.astring, names))


def _get_metadata(writer: RequestWriter, command: m.GetMetadata) -> None:
    options = [] if command.max_size is None else [b"MAXSIZE %d" % command.max_size]
    if command.depth is not m.Depth.ZERO:
        options.append(b"DEPTH " + command.depth.value.encode("ascii"))
    if options:
        writer.write(b" " + render.parenthesized(options))
    writer.write(b" ")
    writer.mailbox(command.mailbox)
    writer.write(b" ")
    writer.write(entries(command.entries))


def _set_metadata(writer: RequestWriter, command: m.SetMetadata) -> None:
    writer.write(b" ")
    writer.mailbox(command.mailbox)
    writer.write(b" (")
    for index, (entry, value) in enumerate(command.values):
        writer.write(b" " if index else b"")
        writer.astring(entry)
        writer.write(b" ")
        _write_value(writer, value)
    writer.write(b")")


def _write_value(writer: RequestWriter, value: bytes | None) -> None:
    if value is None:
        writer.write(b"NIL")
        return
    written = render.metadata_value(value, utf8=writer.utf8)
    if written.startswith(b'"'):
        writer.write(written)
    else:
        writer.literal(value, binary=b"\0" in value)


def _get_quota(writer: RequestWriter, command: m.GetQuota) -> None:
    writer.write(b" ")
    writer.astring(command.root)


def _get_quota_root(writer: RequestWriter, command: m.GetQuotaRoot) -> None:
    writer.write(b" ")
    writer.mailbox(command.mailbox)


def _set_quota(writer: RequestWriter, command: m.SetQuota) -> None:
    writer.write(b" ")
    writer.astring(command.root)
    limits = " ".join(f"{name} {limit}" for name, limit in command.limits)
    writer.write(f" ({limits})".encode("ascii"))


def _language(writer: RequestWriter, command: m.Language) -> None:
    for wanted in command.ranges:
        writer.write(b" ")
        if wanted == "*":
            writer.string(wanted)
        else:
            writer.astring(wanted)


WRITERS: Mapping[type[Command], Callable[[RequestWriter, Any], None]] = {
    m.GetMetadata: _get_metadata,
    m.SetMetadata: _set_metadata,
    m.GetQuota: _get_quota,
    m.GetQuotaRoot: _get_quota_root,
    m.SetQuota: _set_quota,
    m.Language: _language,
}
"""By class: adds the arguments."""
