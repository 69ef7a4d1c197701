"""Commands about the account: METADATA, quotas, access rights, URLs, NOTIFY."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from moxtwisted.imap.client.requests import Request, SegmentWriter, plain
from moxtwisted.imap.client.session import Session, called, same_mailbox, several
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.events import EventGroup
from moxtwisted.imap.wire.mailboxcommands import Depth
from moxtwisted.imap.wire.notifygrammar import write_group
from moxtwisted.imap.wire.url import IMAPURL, render_rump

__all__ = ["AccountCommands", "Annotations", "NotifyGroup", "QuotaRoots"]


class Annotations(dict[str, bytes | None]):
    """Values by name of entry; ``None`` for those that there are not.

    :ivar left_out: the size of the largest value that was left out, since it is above ``max_octets``; ``None`` when all are here.
    """

    left_out: r.LongEntries | None = None


@frozen
class QuotaRoots:
    """What limits a mailbox.

    :ivar quotas: by resource, by root.
    """

    roots: tuple[str, ...]
    quotas: Mapping[str, Mapping[str, r.ResourceUse]]


@frozen
class NotifyGroup:
    """Which events of which mailboxes (RFC 5465), as on the wire; with types that is ``EventGroup`` of ``moxtwisted.imap.wire.events``.

    :ivar which: as ``"selected"``, ``"selected-delayed"``, ``"inboxes"``, ``"personal"``, ``"subscribed"``, ``"subtree"``, ``"mailboxes"``.
    :ivar events: as ``"MessageNew (UID FLAGS)"``, ``"MessageExpunge"``, ``"FlagChange"``; none is NONE.
    :ivar mailboxes: for ``subtree`` and ``mailboxes``.
    """

    which: str
    events: tuple[str, ...] = ()
    mailboxes: tuple[str, ...] = ()


def _on_mailbox(word: str, mailbox: str, *more: str) -> Request:
    def write(writer: SegmentWriter) -> None:
        writer.space()
        writer.mailbox(mailbox)
        for argument in more:
            writer.space()
            writer.astring(argument)

    return Request(word, write)


class AccountCommands(Session):
    """See the module."""

    # -- METADATA (RFC 5464) -------------------------------------------------------------------------------------------

    def _need_metadata(self, mailbox: str) -> None:
        # RFC 5466 section 3.2: a server with FILTERS has the commands for the server's own entries, announced or not.
        self.need("METADATA", *(() if mailbox else ("METADATA-SERVER", "FILTERS")))

    async def get_metadata(
        self,
        mailbox: str,
        entries: Sequence[str],
        *,
        depth: Depth = Depth.ZERO,
        max_octets: int | None = None,
    ) -> Annotations:
        """Annotations of a mailbox, or of the server when its name is empty.

        :param depth: how far those below are wanted, too.
        :param max_octets: larger ones are left out, and ``left_out`` says so.
        """
        self._need_metadata(mailbox)
        options = ([f"MAXSIZE {max_octets}"] if max_octets is not None else []) + (
            [f"DEPTH {depth.value}"] if depth is not Depth.ZERO else []
        )

        def write(writer: SegmentWriter) -> None:
            if options:
                writer.write(f" ({' '.join(options)})".encode("ascii"))
            writer.space()
            writer.mailbox(mailbox)
            writer.space()
            writer.values(several(entries))

        done = await self.execute(Request("GETMETADATA", write))
        # RFC 5464 section 4.4.2: a list of names alone tells of changes.
        values = [one for one in done.responses if isinstance(one, r.MetadataData) and not one.changed]
        name = called(mailbox, [one.mailbox for one in values])
        found = Annotations()
        for answer in self.pick(
            done, r.MetadataData, lambda one: not one.changed and same_mailbox(one.mailbox, name)
        ):
            found.update(answer.entries)
        # RFC 5464 section 4.2.1: the tagged OK says that there are values above MAXSIZE.
        value = done.status.code.value if done.status.code is not None else None
        found.left_out = value if isinstance(value, r.LongEntries) else None
        return found

    async def set_metadata(self, mailbox: str, entries: Mapping[str, bytes | None]) -> None:
        """Set annotations, or remove them with ``None``."""
        self._need_metadata(mailbox)

        def write(writer: SegmentWriter) -> None:
            writer.space()
            writer.mailbox(mailbox)
            writer.write(b" (")
            for index, (name, value) in enumerate(entries.items()):
                if index:
                    writer.space()
                writer.astring(name)
                writer.space()
                writer.nstring(value)
            writer.write(b")")

        await self.do(Request("SETMETADATA", write))

    # -- quotas (RFC 9208) -----------------------------------------------------------------------------------------------

    async def quota(self, root: str = "") -> dict[str, r.ResourceUse]:
        """What is used and what may be, by resource, of a root."""
        self.need("QUOTA")

        def write(writer: SegmentWriter) -> None:
            writer.space()
            writer.astring(root)

        answers = await self.ask(Request("GETQUOTA", write), r.QuotaData)
        return next((one.resources for one in answers if one.root == root), {})

    async def quota_roots(self, mailbox: str) -> QuotaRoots:
        """What limits a mailbox."""
        self.need("QUOTA")
        done = await self.execute(_on_mailbox("GETQUOTAROOT", mailbox))
        quotas = {one.root: one.resources for one in done.responses if isinstance(one, r.QuotaData)}
        roots = [one.roots for one in done.responses if isinstance(one, r.QuotaRootData)]
        self.others(
            (one for one in done.responses if not isinstance(one, (r.QuotaData, r.QuotaRootData))), done
        )
        return QuotaRoots(roots[-1] if roots else (), quotas)

    async def set_quota(self, root: str, limits: Mapping[str, int]) -> dict[str, r.ResourceUse]:
        """Set limits; administrators may."""
        self.need("QUOTASET", "QUOTA")

        def write(writer: SegmentWriter) -> None:
            writer.space()
            writer.astring(root)
            listed = " ".join(f"{name} {limit}" for name, limit in limits.items())
            writer.write(f" ({listed})".encode("ascii"))

        answers = await self.ask(Request("SETQUOTA", write), r.QuotaData)
        return next((one.resources for one in answers if one.root == root), {})

    # -- rights (RFC 4314) -----------------------------------------------------------------------------------------------

    async def get_acl(self, mailbox: str) -> dict[str, str]:
        """Rights by identifier."""
        self.need("ACL")
        answers = await self.ask(_on_mailbox("GETACL", mailbox), r.AclData)
        return {
            identifier: self.standard_rights(rights) for one in answers for identifier, rights in one.entries
        }

    async def set_acl(self, mailbox: str, identifier: str, rights: str) -> None:
        """Give somebody these rights; with ``+`` or ``-`` before them, give or take these."""
        self.need("ACL")
        await self.do(_on_mailbox("SETACL", mailbox, identifier, rights))

    async def delete_acl(self, mailbox: str, identifier: str) -> None:
        """Take somebody out of the list."""
        self.need("ACL")
        await self.do(_on_mailbox("DELETEACL", mailbox, identifier))

    async def list_rights(self, mailbox: str, identifier: str) -> r.ListRightsData | None:
        """Which rights can be given."""
        self.need("ACL")
        answers = await self.ask(_on_mailbox("LISTRIGHTS", mailbox, identifier), r.ListRightsData)
        if not answers:
            return None
        required, *optional = map(self.standard_rights, (answers[-1].required, *answers[-1].optional))
        return evolve(answers[-1], required=required, optional=tuple(filter(None, optional)))

    async def my_rights(self, mailbox: str) -> str:
        """What we may do."""
        self.need("ACL")
        answers = await self.ask(_on_mailbox("MYRIGHTS", mailbox), r.MyRightsData)
        return self.standard_rights(answers[-1].rights) if answers else ""

    # -- URLs (RFC 4467) -------------------------------------------------------------------------------------------------

    async def make_urls(self, rumps: Sequence[str | IMAPURL], mechanism: str = "INTERNAL") -> tuple[str, ...]:
        """URLs that others can read a message by.

        :param rumps: with user, host and ``Authorization`` of ``moxtwisted.imap.wire.url``; or texts that end with ``;URLAUTH=access``.
        :raise ValueError: an ``IMAPURL`` that says not who may read.
        """
        self.need("URLAUTH")

        def write(writer: SegmentWriter) -> None:
            for rump in rumps:
                writer.space()
                writer.astring(rump if isinstance(rump, str) else render_rump(rump))
                writer.write(f" {mechanism}".encode("ascii"))

        answers = await self.ask(Request("GENURLAUTH", write), r.UrlsData)
        return tuple(url for one in answers for url in one.urls)

    async def read_urls(self, urls: Sequence[str]) -> dict[str, bytes | None]:
        """The octets behind URLs; ``None`` for those that lead nowhere."""
        self.need("URLAUTH")

        def write(writer: SegmentWriter) -> None:
            for url in urls:
                writer.space()
                writer.astring(url)

        answers = await self.ask(Request("URLFETCH", write), r.UrlData)
        return {url: octets for one in answers for url, octets in one.values}

    async def reset_urls(
        self, mailbox: str | None = None, mechanisms: Sequence[str] = ()
    ) -> tuple[r.UrlMechanism, ...]:
        """Make all URLs of a mailbox, or of the account, worthless.

        :return: the mechanisms that there are now, if the server says them.
        """
        self.need("URLAUTH")
        request = plain("RESETKEY") if mailbox is None else _on_mailbox("RESETKEY", mailbox, *mechanisms)
        done = await self.execute(request)
        found: tuple[r.UrlMechanism, ...] = ()
        rest: list[r.Response] = []
        # RFC 4467 section 8: URLMECH stands in the tagged OK, or in an untagged one.
        for response in (*done.responses, done.status):
            code = response.code if isinstance(response, r.StatusResponse) else None
            if code is not None and isinstance(code.value, r.UrlMechanisms):
                found = code.value.mechanisms
            elif response is not done.status:
                rest.append(response)
        self.others(rest, done)
        return found

    # -- NOTIFY (RFC 5465) -----------------------------------------------------------------------------------------------

    async def notify(self, groups: Sequence[NotifyGroup | EventGroup], *, status: bool = False) -> None:
        """Be told of events, as ``Notice``; with ``status`` first of how all these mailboxes stand. No groups: nothing more.

        :raise CommandRefusedError: with ``SupportedEvents`` when the server does not know one of the events.
        """
        self.need("NOTIFY")
        self.need_for(*groups)

        def write(writer: SegmentWriter) -> None:
            if not groups:
                writer.write(b" NONE")
                return
            writer.write(b" SET STATUS" if status else b" SET")
            for group in groups:
                if isinstance(group, EventGroup):
                    write_group(writer, group)
                else:
                    _group(writer, group)

        await self.do(Request("NOTIFY", write))


def _group(writer: SegmentWriter, group: NotifyGroup) -> None:
    writer.write(f" ({group.which}".encode("ascii"))
    if group.mailboxes:
        writer.space()
        writer.mailboxes(group.mailboxes)
    events = f"({' '.join(group.events)})" if group.events else "NONE"
    writer.write(f" {events})".encode("ascii"))
