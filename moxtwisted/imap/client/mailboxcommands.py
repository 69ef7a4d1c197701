"""Commands about mailboxes: LIST in all its forms, STATUS, SELECT, CREATE and their like."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from moxtwisted.imap.client.requests import Request, SegmentWriter, of_command, plain
from moxtwisted.imap.client.session import CommandRefusedError, Selected, Session, same_mailbox
from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import responsedata as r

__all__ = ["ListedMailbox", "MailboxCommands"]

_NOWHERE = "no-mailbox-of-this-name"


@define
class ListedMailbox:
    r"""A mailbox that LIST named.

    :ivar attributes: as sent, ``\Noselect``, ``\Sent`` and the like.
    :ivar separator: between the levels of its name; ``None`` where there are none.
    :ivar status: of RETURN (STATUS …), by item.
    :ivar metadata: of RETURN (METADATA …) (RFC 9590).
    :ivar rights: of RETURN (MYRIGHTS) (RFC 8440).
    """

    name: str
    separator: str | None
    attributes: tuple[str, ...] = ()
    extended: dict[str, r.Value] = field(factory=dict)
    status: dict[str, r.Value] = field(factory=dict)
    metadata: dict[str, bytes | None] = field(factory=dict)
    rights: str | None = None

    def has(self, attribute: str) -> bool:
        """Whether it has an attribute, in any case."""
        return attribute.lower() in {name.lower() for name in self.attributes}


def _list_request(
    reference: str, patterns: Sequence[str], selection: Sequence[str], returns: Sequence[str]
) -> Request:
    def write(writer: SegmentWriter) -> None:
        if selection:
            writer.write(f" ({' '.join(selection)})".encode("ascii"))
        writer.space()
        writer.mailbox(reference)
        writer.space()
        if len(patterns) == 1:
            writer.mailbox(patterns[0])
        else:
            writer.write(b"(")
            for index, pattern in enumerate(patterns):
                if index:
                    writer.space()
                writer.mailbox(pattern)
            writer.write(b")")
        if returns:
            writer.write(f" RETURN ({' '.join(returns)})".encode("ascii"))

    return Request("LIST", write)


class MailboxCommands(Session):
    """See the module."""

    async def mailboxes(
        self,
        *patterns: str,
        reference: str = "",
        selection: Sequence[str] = (),
        returns: Sequence[str] = (),
    ) -> list[ListedMailbox]:
        """Mailboxes whose names match, by default all.

        :param selection: of RFC 5258 and 6154, as ``"SUBSCRIBED"``, ``"SPECIAL-USE"``.
        :param returns: as ``"SPECIAL-USE"``, ``"STATUS (MESSAGES UNSEEN)"``, ``"MYRIGHTS"``, ``"METADATA (/shared/comment)"``.
        """
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
            elif mailbox is not None and isinstance(response, r.MetadataData):
                mailbox.metadata.update(response.entries)
            elif mailbox is not None and isinstance(response, r.MyRightsData):
                mailbox.rights = response.rights
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

    async def status(self, mailbox: str, items: Sequence[str]) -> dict[str, r.Value]:
        """Numbers of a mailbox, by item in upper case."""

        def write(writer: SegmentWriter) -> None:
            writer.space()
            writer.mailbox(mailbox)
            writer.write(f" ({' '.join(items)})".encode("ascii"))

        found: dict[str, r.Value] = {}
        for answer in await self.ask(Request("STATUS", write), r.StatusData):
            if same_mailbox(answer.mailbox, mailbox):
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
        code = await self.do(of_command(c.Create(b"", mailbox, tuple(special_use) or None)))
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
