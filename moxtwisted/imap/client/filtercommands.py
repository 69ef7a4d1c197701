"""Searches that the server keeps under a name (FILTERS, RFC 5466)::

    await client.define_filter("boss", And((HeaderContains("From", "boss@example.com"), HasFlag("\\\\Seen", False))))
    found = await client.search(And((Filter("boss"), Younger(86400))))
    for kept in (await client.filters()).values():
        print(kept.name, kept.description, kept.text)

They are metadata of the server. The user's own one goes before a shared one of the same name; case does not matter in names.
A search that names one that is not there is refused, with ``UndefinedFilter`` as the ``code_value``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from attrs import frozen

from moxtwisted.imap.client.accountcommands import AccountCommands
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.filterprogram import (
    filter_entry,
    filter_of,
    is_filter_name,
    parse_filter,
    render_filter,
)
from moxtwisted.imap.wire.lexer import CommandError
from moxtwisted.imap.wire.mailboxcommands import Depth

__all__ = ["FilterCommands", "SavedFilter"]


@frozen
class SavedFilter:
    """A search under a name.

    :ivar name: in lower case.
    :ivar program: what it searches for; ``None`` when keys are in it that are not known here.
    :ivar text: the same as it is kept.
    :ivar shared: whether it is for all users.
    :ivar description: for people; may hold several languages, each behind a tag (RFC 5466 section 3.2). Empty when there is none.
    """

    name: str
    program: k.SearchKey | None
    text: str
    shared: bool = False
    description: str = ""


def _saved(name: str, values: Mapping[str, bytes | None]) -> SavedFilter | None:
    """RFC 5466 section 3.2: the private value goes before the shared one, and the private description likewise."""
    for shared in (False, True):
        value = values.get(filter_entry(name, shared=shared))
        if value is not None:
            break
    else:
        return None
    program = None
    with suppress(CommandError):  # another client may have keys of its own
        program = parse_filter(value)
    own, common = (values.get(filter_entry(name, shared=one, description=True)) for one in (False, True))
    described = (common or b"") if own is None else own
    return SavedFilter(
        name, program, value.decode("utf-8", "replace"), shared, described.decode("utf-8", "replace")
    )


def _entries(name: str) -> list[str]:
    """All that is kept of a filter, or those above all of them when the name is empty."""
    return [filter_entry(name, shared=one, description=two) for two in (False, True) for one in (False, True)]


def _checked(name: str) -> str:
    if not is_filter_name(name):
        raise ValueError("no filter can have this name")
    return name.lower()


class FilterCommands(AccountCommands):
    """See the module."""

    async def filters(self) -> dict[str, SavedFilter]:
        """All that can be named in a search, by name."""
        self.need("FILTERS")
        values = await self.get_metadata("", _entries(""), depth=Depth.ONE)
        names = sorted({name for entry in values if (name := filter_of(entry))})
        return {name: saved for name in names if (saved := _saved(name, values)) is not None}

    async def filter(self, name: str) -> SavedFilter | None:
        """One of them; ``None`` when there is none of this name.

        :raise ValueError: no filter can have it: it is one or more characters of ASCII, without spaces and ``(){%*"\\]/``.
        """
        self.need("FILTERS")
        name = _checked(name)
        return _saved(name, await self.get_metadata("", _entries(name)))

    async def define_filter(
        self, name: str, program: k.SearchKey | str, *, description: str | None = None, shared: bool = False
    ) -> None:
        """Keep a search, in the place of one of the same name.

        :param program: of ``moxtwisted.imap.wire.searchkeys``, or as on the wire; it may name other filters.
        :param description: for people; ``None`` leaves it as it is.
        :param shared: for all users.
        :raise ValueError: no filter can have this name.
        :raise CommandRefusedError: with ``MetadataRefusal`` when there are too many or it is too large.
        """
        self.need("FILTERS")
        name = _checked(name)
        value = program.encode("utf-8") if isinstance(program, str) else render_filter(program)
        entries: dict[str, bytes | None] = {filter_entry(name, shared=shared): value}
        if description is not None:
            entries[filter_entry(name, shared=shared, description=True)] = description.encode("utf-8") or None
        await self.set_metadata("", entries)

    async def remove_filter(self, name: str, *, shared: bool = False) -> None:
        """Keep it no longer, nor its description. Where both are, the shared one of the same name counts from then on.

        :raise ValueError: no filter can have this name.
        """
        self.need("FILTERS")
        name = _checked(name)
        entries = (filter_entry(name, shared=shared), filter_entry(name, shared=shared, description=True))
        await self.set_metadata("", dict.fromkeys(entries))
