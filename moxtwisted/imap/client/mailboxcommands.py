"""Commands about mailboxes: LIST in all its forms, STATUS, SELECT, CREATE and their like."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from attrs import define, field, frozen

from moxtwisted.imap.client.requests import Request, SegmentWriter, of_command, plain
from moxtwisted.imap.client.session import (
    CommandRefusedError,
    Selected,
    Session,
    called,
    same_mailbox,
    several,
)
from moxtwisted.imap.client.statusitems import MailboxNumbers
from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.mailboxrequests import entries

__all__ = ["ListOption", "ListedMailbox", "MailboxCommands", "MetadataReturn", "StatusReturn"]

_NOWHERE = "no-mailbox-of-this-name"


@define
class ListedMailbox:
    r"""A mailbox that LIST named.

    :ivar attributes: as sent, ``\Noselect``, ``\Sent`` and the like.
    :ivar separator: between the levels of its name; ``None`` where there are none.
    :ivar extended: what else LIST said of it, by name in upper case.
    :ivar status: of ``StatusReturn``.
    :ivar metadata: of ``MetadataReturn`` (RFC 9590).
    :ivar rights: of ``ListReturn.MYRIGHTS`` (RFC 8440).
    """

    name: str
    separator: str | None
    attributes: tuple[str, ...] = ()
    extended: dict[str, r.Value] = field(factory=dict)
    status: MailboxNumbers = field(factory=MailboxNumbers)
    metadata: dict[str, bytes | None] = field(factory=dict)
    rights: str | None = None

    @property
    def old_name(self) -> str | None:
        """What it was called before, or how the name was written that was asked for (OLDNAME, RFC 9051 section 6.3.9.7)."""
        names = self.extended.get("OLDNAME")
        return names[0] if names else None

    @property
    def child_info(self) -> frozenset[str]:
        """What mailboxes below it have that it was not listed for itself: ``"SUBSCRIBED"`` (CHILDINFO, RFC 5258 section 4)."""
        listed = self.extended.get("CHILDINFO")
        words = listed if isinstance(listed, tuple) else ()
        return frozenset(one.decode("ascii", "replace").upper() for one in words if isinstance(one, bytes))

    def has(self, attribute: str) -> bool:
        """Whether it has an attribute, in any case."""
        return attribute.lower() in {name.lower() for name in self.attributes}


@frozen
class StatusReturn:
    """LIST shall tell numbers of the mailboxes, too (LIST-STATUS, RFC 5819).

    :ivar items: of ``StatusItem``, or as on the wire.
    """

    items: tuple[c.StatusItem | str, ...]

    @property
    def request(self) -> bytes:
        """As on the wire."""
        return f"STATUS ({_words(self.items)})".encode("ascii")


@frozen
class MetadataReturn:
    """LIST shall tell annotations of the mailboxes, too (LIST-METADATA, RFC 9590).

    :ivar entries: as ``"/private/comment"``.
    """

    entries: tuple[str, ...]

    @property
    def request(self) -> bytes:
        """As on the wire."""
        return b"METADATA " + entries(self.entries)


ListOption = str | c.ListReturn | StatusReturn | MetadataReturn


def _words(words: Sequence[Enum | str]) -> str:
    return " ".join(word if isinstance(word, str) else word.value for word in words)


def _option(option: ListOption) -> bytes:
    return (
        option.request
        if isinstance(option, (StatusReturn, MetadataReturn))
        else _words([option]).encode("ascii")
    )


def _list_request(
    reference: str,
    patterns: Sequence[str],
    selection: Sequence[str | c.ListSelection],
    returns: Sequence[ListOption],
) -> Request:
    def write(writer: SegmentWriter) -> None:
        if selection:
            writer.write(f" ({_words(selection)})".encode("ascii"))
        writer.space()
        writer.mailbox(reference)
        writer.space()
        if len(patterns) == 1:
            writer.mailbox(patterns[0])
        else:
            writer.mailboxes(patterns)
        if returns:
            writer.write(b" RETURN (%b)" % b" ".join(map(_option, returns)))

    return Request("LIST", write)


class MailboxCommands(Session):
    """See the module."""

    async def mailboxes(
        self,
        *patterns: str,
        reference: str = "",
        selection: Sequence[str | c.ListSelection] = (),
        returns: Sequence[ListOption] = (),
    ) -> list[ListedMailbox]:
        """Mailboxes whose names match, by default all.

        :param selection: of ``ListSelection``, or as on the wire: ``"SUBSCRIBED"``, ``"SPECIAL-USE"`` (RFC 5258 and 6154).
        :param returns: of ``ListReturn``, ``StatusReturn((StatusItem.UNSEEN,))``, ``MetadataReturn(("/shared/comment",))``; or as on the
            wire: ``"SPECIAL-USE"``, ``"STATUS (MESSAGES UNSEEN)"``.
        """
        self.need_for(*several(selection), *several(returns))
        if len(patterns) > 1:
            self.need("LIST-EXTENDED", "IMAP4REV2")
        for option in returns:
            if isinstance(option, StatusReturn):
                self.need("LIST-STATUS", "IMAP4REV2")
            elif isinstance(option, MetadataReturn):
                self.need("LIST-METADATA")
        done = await self.execute(_list_request(reference, patterns or ("*",), selection, returns))
        found: dict[str, ListedMailbox] = {}
        rest: list[r.Response] = []
        for response in done.responses:
            if isinstance(response, r.ListData) and not response.lsub:
                found[response.mailbox] = ListedMailbox(
                    response.mailbox, response.separator, response.attributes, response.extended
                )
        for response in done.responses:
            mailbox = found.get(getattr(response, "mailbox", None) or "")
            if isinstance(response, r.ListData) and not response.lsub:
                continue
            if mailbox is not None and isinstance(response, r.StatusData):
                mailbox.status.update(response.items)
            elif mailbox is not None and isinstance(response, r.MetadataData) and not response.changed:
                mailbox.metadata.update(response.entries)
            elif mailbox is not None and isinstance(response, r.MyRightsData):
                mailbox.rights = self.standard_rights(response.rights)
            else:
                rest.append(response)
        self.others(rest, done)
        return list(found.values())

    async def subscribed(self, pattern: str = "*") -> list[ListedMailbox]:
        """Names that are subscribed, whether or not there is such a mailbox; by LSUB from a server without LIST-EXTENDED."""
        if self.offers("LIST-EXTENDED", "IMAP4REV2"):
            return await self.mailboxes(pattern, selection=("SUBSCRIBED",))
        answers = await self.ask(of_command(c.Lsub(b"", "", pattern)), r.ListData)
        return [ListedMailbox(one.mailbox, one.separator, one.attributes) for one in answers if one.lsub]

    async def status(self, mailbox: str, items: Sequence[str | c.StatusItem]) -> MailboxNumbers:
        """Numbers of a mailbox.

        :param items: of ``StatusItem``, or as on the wire.
        """
        self.need_for(*several(items))

        def write(writer: SegmentWriter) -> None:
            writer.space()
            writer.mailbox(mailbox)
            writer.write(f" ({_words(items)})".encode("ascii"))

        found = MailboxNumbers()
        answers = await self.ask(Request("STATUS", write), r.StatusData)
        name = called(mailbox, [answer.mailbox for answer in answers])
        for answer in answers:
            if same_mailbox(answer.mailbox, name):
                found.update(answer.items)
            else:
                self.others([answer])
        return found

    async def select(
        self,
        mailbox: str,
        *,
        examine: bool = False,
        condstore: bool = False,
        qresync: c.QResync | None = None,
    ) -> Selected:
        """Open a mailbox; with ``qresync`` (which must be enabled) also what happened to it since."""
        if condstore:
            self.need("CONDSTORE", "QRESYNC")
        self.need_for(qresync)
        request = of_command(c.Select(b"", mailbox, examine, condstore, qresync))
        self.selected = None
        done = await self.execute(request)
        selected = Selected(mailbox, read_only=examine)
        rest = []
        for response in done.responses:
            # RFC 7162 section 3.2.11: what comes before CLOSED is about the mailbox that was open before.
            if isinstance(response, r.StatusResponse) and response.code and response.code.name == "CLOSED":
                selected = Selected(mailbox, read_only=examine)
            elif isinstance(response, r.Fetched):
                selected.changed.append(response)
            elif isinstance(
                response, (r.Exists, r.Recent, r.FlagsData, r.VanishedData, r.StatusResponse, r.ListData)
            ):
                selected.take(response)
            else:
                rest.append(response)
        selected.take(done.status)
        selected.answered(alone=done.alone)
        self.selected = selected
        self.others(rest)
        return selected

    async def unselect(self) -> None:
        """Close the mailbox and expunge nothing; on a server without UNSELECT by EXAMINE of a mailbox that there is not."""
        if self.offers("UNSELECT", "IMAP4REV2"):
            await self.do(of_command(c.Unselect(b"")))
            self.selected = None
            return
        # RFC 3691 section 1 tells of this way; RFC 3501 section 6.3.1: after a SELECT that fails no mailbox is selected.
        try:
            await self.select(_NOWHERE, examine=True)
        except CommandRefusedError as e:
            if e.status.condition != "NO":
                raise
        else:
            # RFC 3501 section 6.4.2: CLOSE of what was opened with EXAMINE removes nothing.
            await self.close_mailbox()

    async def close_mailbox(self) -> None:
        r"""CLOSE: also expunges what is ``\Deleted``."""
        done = await self.execute(of_command(c.Close(b"")))
        # RFC 7162 section 3.2.8: nothing was told of what CLOSE removed, so no mod-sequence of its answer may be kept.
        self.selected = None
        self.others(done.responses)

    async def create(self, mailbox: str, *, special_use: Sequence[str] = ()) -> str | None:
        """Make a mailbox; its id (RFC 8474), if the server says it."""
        uses = tuple(several(special_use))
        if uses:
            self.need("CREATE-SPECIAL-USE")
        code = await self.do(of_command(c.Create(b"", mailbox, uses or None)))
        if code is not None and code.name == "MAILBOXID" and isinstance(code.value, tuple) and code.value:
            return str(code.value[0])
        return None

    async def delete(self, mailbox: str) -> None:
        """Remove a mailbox with its messages."""
        await self.do(of_command(c.Delete(b"", mailbox)))

    async def rename(self, old: str, new: str) -> None:
        """Rename a mailbox, with all below it."""
        await self.do(of_command(c.Rename(b"", old, new)))

    async def subscribe(self, mailbox: str) -> None:
        """Subscribe a name."""
        await self.do(of_command(c.Subscribe(b"", mailbox)))

    async def unsubscribe(self, mailbox: str) -> None:
        """Subscribe it no longer."""
        await self.do(of_command(c.Unsubscribe(b"", mailbox)))

    async def check(self) -> None:
        """CHECK, of IMAP4rev1."""
        await self.do(plain("CHECK"))
