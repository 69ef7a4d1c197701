"""Commands about messages: FETCH, SEARCH, SORT, THREAD, STORE, COPY, MOVE, EXPUNGE, APPEND, REPLACE.

Numbers are UIDs unless ``uid=False``; sets are ``SequenceSet``, text as on the wire (``"1:*"``), or any numbers in ascending order. Of no
messages nothing is asked; numbers that no message can have are a ``ValueError``, one string where a list is expected a ``TypeError``.

A server may take so many messages at a time only (MESSAGELIMIT, RFC 9738). Then a command is about the newest of them, and its result
says how far it came; whoever wants the rest says the same of the UIDs below::

    messages = await client.fetch("1:*", ["FLAGS"])
    messages.limited                          # MessageLimit(most=1000, lowest=23221): go on with 1:23220; None when that is all
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from attrs import evolve, field, frozen

from moxtwisted.imap.client.answers import answers_of, asks_updates, joined
from moxtwisted.imap.client.machine import BodyStarted, Completed
from moxtwisted.imap.client.requests import (
    Request,
    SegmentWriter,
    UploadPart,
    UrlPart,
    append,
    of_command,
    plain,
)
from moxtwisted.imap.client.results import Message, SearchResult, Thread, message, search_result, threads
from moxtwisted.imap.client.session import BodySink, MessageSource, Session, same_mailbox, several
from moxtwisted.imap.wire import commands as c
from moxtwisted.imap.wire import request as wire
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.fetchattributes import FetchAttribute
from moxtwisted.imap.wire.mailboxfilter import MailboxFilter
from moxtwisted.imap.wire.returnoptions import Partial, ReturnOption, SearchReturn
from moxtwisted.imap.wire.sequence import SequenceSet
from moxtwisted.imap.wire.sortcriteria import SortCriterion, SortKey, ThreadAlgorithm

__all__ = [
    "FetchModifiers",
    "MessageCommands",
    "Messages",
    "NewMail",
    "Numbers",
    "Stored",
    "Threads",
    "Transferred",
]

Numbers = SequenceSet | str | Iterable[int]
Item = FetchAttribute | bytes | str


def _set(numbers: Numbers) -> SequenceSet:
    if isinstance(numbers, str):
        return SequenceSet.parse(numbers.encode("ascii"))
    return numbers if isinstance(numbers, SequenceSet) else SequenceSet.of(numbers)


def _empty(numbers: SequenceSet) -> bool:
    """Whether there is nothing to say: the wire has no empty set (RFC 9051 section 9)."""
    return not numbers.ranges and not numbers.saved


def _item(item: Item) -> bytes:
    if isinstance(item, FetchAttribute):
        return item.request()
    return item.encode("ascii") if isinstance(item, str) else item


@frozen
class FetchModifiers:
    """Which of the messages FETCH tells of.

    :ivar changed_since: only those that changed after this modification sequence (RFC 7162 section 3.1.4.1).
    :ivar vanished: with it: also which UIDs have gone, as ``Vanished`` with ``earlier`` (section 3.2.6); takes QRESYNC, enabled.
    :ivar partial: only so many of them (RFC 9394 section 3.3).
    """

    changed_since: int | None = None
    vanished: bool = False
    partial: Partial | None = None


def _modifiers(modifiers: FetchModifiers | str) -> str:
    if isinstance(modifiers, str):
        return modifiers
    since = modifiers.changed_since
    words = [] if since is None else [f"CHANGEDSINCE {since}{' VANISHED' if modifiers.vanished else ''}"]
    return " ".join([*words, *([] if modifiers.partial is None else [modifiers.partial.value])])


class Messages(list[Message]):
    """What FETCH said; several answers about one message are several entries. Of UID FETCH each has a UID.

    :ivar limited: how far it came, when it was about the newest of these messages only.
    """

    limited: r.MessageLimit | None = None


class Threads(list[Thread]):
    """What THREAD found.

    :ivar limited: how far it came, when it looked at the newest messages only.
    """

    limited: r.MessageLimit | None = None


@frozen
class Stored:
    """What STORE did.

    :ivar messages: what the server said about them, unless silent.
    :ivar refused: those left alone because they had changed after ``unchanged_since`` (RFC 7162 section 3.1.3).
    :ivar limited: how far it came, when it changed the newest of these messages only.
    """

    messages: tuple[Message, ...] = ()
    refused: SequenceSet | None = None
    limited: r.MessageLimit | None = None


@frozen
class Transferred:
    """What COPY, MOVE or APPEND made: UIDs in the target, if the server has UIDPLUS.

    :ivar source: of COPY and MOVE: UIDs in the source, in the order of ``target``.
    :ivar limited: how far it came, when it took the newest of these messages only.
    """

    uidvalidity: int | None = None
    source: SequenceSet | None = None
    target: SequenceSet | None = None
    limited: r.MessageLimit | None = None


@frozen
class NewMail:
    """A message to be appended.

    :ivar content: its octets; or a source that gives them piece by piece; or for CATENATE (RFC 4469) a list of these and ``UrlPart``.
    :ivar received: when it came (INTERNALDATE), with a time zone; ``None`` is now.
    :ivar binary: whether a source may have NUL.
    :ivar utf8: whether the header of a source has UTF-8.
    """

    content: bytes | MessageSource | Sequence[bytes | MessageSource | UrlPart]
    flags: tuple[str, ...] = ()
    received: datetime | None = None
    binary: bool = field(default=False, kw_only=True)
    utf8: bool = field(default=False, kw_only=True)


def _key(writer: SegmentWriter, key: k.SearchKey | str) -> None:
    writer.space()
    if isinstance(key, str):
        writer.write(key.encode("ascii"))
    else:
        wire.write_key(writer, key)


def _code(code: r.ResponseCode | None, limited: r.MessageLimit | None) -> Transferred:
    value = code.value if code is not None else None
    if isinstance(value, r.CopyUid):
        return Transferred(value.uidvalidity, value.source, value.target, limited)
    if isinstance(value, r.AppendUid):
        return Transferred(value.uidvalidity, None, value.uids, limited)
    return Transferred(limited=limited)


def _is_answer(fetched: r.Fetched, *, uid: bool) -> bool:
    """Whether it may answer a command: to one with UIDs each answer has a UID (RFC 9051 section 6.4.9), others tell of changes."""
    return not uid or "UID" in fetched.items


class MessageCommands(Session):
    """See the module."""

    # -- reading -------------------------------------------------------------------------------------------------------

    def _fetch(
        self, numbers: SequenceSet, items: Sequence[Item], *, uid: bool, modifiers: FetchModifiers | str
    ) -> Request:
        self.need_for(*several(items))
        if isinstance(modifiers, FetchModifiers):
            if modifiers.changed_since is not None:
                self.need("QRESYNC", *(() if modifiers.vanished else ("CONDSTORE",)))
            if modifiers.partial is not None:
                self.need("PARTIAL")
        modifiers = _modifiers(modifiers)
        asked = b" ".join(map(_item, items))
        more = f" ({modifiers})".encode("ascii") if modifiers else b""
        return plain("UID FETCH" if uid else "FETCH", b"%b (%b)%b" % (numbers.render(), asked, more))

    async def fetch(
        self,
        numbers: Numbers,
        items: Sequence[Item],
        *,
        uid: bool = True,
        modifiers: FetchModifiers | str = "",
    ) -> Messages:
        """What the server says about these messages.

        :param items: as ``"FLAGS"``, ``"BODY.PEEK[]"``, or of ``moxtwisted.imap.wire.fetchattributes``.
        :param modifiers: or as on the wire: ``"CHANGEDSINCE 17 VANISHED"``, ``"PARTIAL 1:100"``.
        """
        wanted = _set(numbers)
        request = self._fetch(wanted, items, uid=uid, modifiers=modifiers)
        if _empty(wanted):
            return Messages()
        done = await self.execute(request)
        messages = Messages(map(message, self.pick(done, r.Fetched, partial(_is_answer, uid=uid))))
        messages.limited = done.limited
        return messages

    async def fetch_each(
        self,
        numbers: Numbers,
        items: Sequence[Item],
        each: Callable[[Message], Awaitable[None] | None],
        *,
        sinks: Callable[[BodyStarted], BodySink | None] | None = None,
        uid: bool = True,
        modifiers: FetchModifiers | str = "",
    ) -> r.MessageLimit | None:
        """As ``fetch``, but each message is handed over when it comes, and none is kept.

        :param each: while what it returns has not fired, nothing more is read: so it must not wait for another command of this client.
        :param sinks: is given each large section before its message, and takes its octets as they come.
        :return: how far it came, when it was about the newest of these messages only.
        """
        statuses: list[r.Response] = []

        def hear(response: r.Response) -> Awaitable[None] | None:
            if isinstance(response, r.Fetched) and _is_answer(response, uid=uid):
                if self.selected is not None:
                    self.selected.take(response)
                return each(message(response))
            if (
                isinstance(response, r.StatusResponse)
                and response.code
                and response.code.name == "MESSAGELIMIT"
            ):
                statuses[:] = [response]
            self.others([response])
            return None

        wanted = _set(numbers)
        request = self._fetch(wanted, items, uid=uid, modifiers=modifiers)
        if _empty(wanted):
            return None
        done = await self.execute(request, each=hear, sinks=sinks)
        self.others((), done)
        return evolve(done, responses=tuple(statuses)).limited

    # -- searching -----------------------------------------------------------------------------------------------------

    def _charset(self, key: k.SearchKey | str) -> bytes:
        # RFC 9755 section 3: once UTF-8 is enabled, no charset may be named; that of an ASCII key does not matter.
        return b"" if isinstance(key, str) or self.utf8 else b" CHARSET UTF-8"

    @property
    def utf8(self) -> bool:
        """Whether IMAP4rev2 or UTF8=ACCEPT was enabled."""
        return False

    def _returns(self, returns: Sequence[str | ReturnOption] | None, *needs: str) -> bytes:
        """``RETURN`` with its space in front, or nothing.

        :param needs: capabilities of which one has ``RETURN``.
        """
        if returns is None:
            return b""
        self.need_for(*several(returns))
        if not returns or not all(isinstance(option, str) for option in returns):
            self.need(*needs)
        words = [option if isinstance(option, str) else option.value for option in returns]
        return f" RETURN ({' '.join(words)})".encode()

    async def search(
        self,
        key: k.SearchKey | str = "ALL",
        *,
        uid: bool = True,
        returns: Sequence[str | ReturnOption] | None = None,
    ) -> SearchResult:
        """SEARCH.

        :param key: of ``moxtwisted.imap.wire.searchkeys``, or as on the wire in ASCII.
        :param returns: as ``"COUNT"``, ``"PARTIAL 1:100"``, ``"SAVE"``, or of ``moxtwisted.imap.wire.returnoptions``; ``None`` is the
            plain SEARCH of IMAP4rev1. With ``"UPDATE"`` each change of the results is a ``ContextChanged`` from then on; with
            ``Update((Flags(), Envelope()))`` these data items of each new message among them are a ``MessageChanged`` before it.
        :raise NotOfferedError: the server has not announced what one of the keys or options takes; text is not looked into.
        """
        self.need_for(key)
        options = self._returns(returns, "ESEARCH", "IMAP4REV2", "CONTEXT=SEARCH")

        def write(writer: SegmentWriter) -> None:
            writer.write(options)
            writer.write(self._charset(key))
            _key(writer, key)

        done = await self.execute(Request("UID SEARCH" if uid else "SEARCH", write))
        return self._result(done, (r.SearchData, r.EsearchData), returns)

    def _result(
        self,
        done: Completed,
        wanted: tuple[type[r.Response], ...],
        returns: Sequence[str | ReturnOption] | None,
    ) -> SearchResult:
        answers = answers_of(done, wanted, returns)
        self.others(answers.rest, done)
        found = answers.found
        result = search_result(joined(found)) if found else SearchResult()
        return evolve(
            result,
            tag=done.tag,
            limited=done.limited,
            updated=answers.updated,
            changes=tuple(answers.changes),
        )

    async def cancel_updates(self, *tags: bytes) -> None:
        """Be told no longer of changes to the results of these searches, which asked for ``UPDATE`` (RFC 5267)."""
        self.need("CONTEXT=SEARCH", "CONTEXT=SORT")
        if not tags:
            return
        await self.do(plain("CANCELUPDATE", b" ".join(b'"%b"' % tag for tag in tags)))

    async def search_everywhere(
        self,
        source: str | Sequence[MailboxFilter],
        key: k.SearchKey | str,
        returns: Sequence[str | ReturnOption] = ("ALL",),
    ) -> list[SearchResult]:
        """ESEARCH (RFC 7377) in several mailboxes; a result for each that has any.

        :param source: of ``moxtwisted.imap.wire.mailboxfilter``; or as on the wire in ASCII: ``"personal"``, ``"mailboxes (INBOX Sent)"``.
        :param returns: as of ``search``; with ``"UPDATE"`` the result of the selected mailbox is kept up to date.
        """
        self.need("MULTISEARCH")
        self.need_for(key)
        options = self._returns(returns, "MULTISEARCH")

        def write(writer: SegmentWriter) -> None:
            if isinstance(source, str):
                writer.write(f" IN ({source})".encode("ascii"))
            else:
                wire.write_sources(writer, source)
            writer.write(options)
            writer.write(self._charset(key))
            _key(writer, key)

        done = await self.execute(Request("ESEARCH", write))
        answers = answers_of(done, (r.EsearchData,), returns)
        results = [evolve(search_result(one), tag=done.tag) for one in answers.found]
        # RFC 7377 section 2.2: it is the results in the selected mailbox that are kept up to date.
        selected = self.selected.mailbox if self.selected is not None else ""
        for at, one in enumerate(results):
            if same_mailbox(one.mailbox or "", selected):
                results[at] = evolve(one, updated=answers.updated, changes=tuple(answers.changes))
                break
        else:
            # It had none.
            answers.rest += answers.told
        self.others(answers.rest, done)
        return results

    async def sort(
        self,
        criteria: str | Sequence[SortKey | SortCriterion],
        key: k.SearchKey | str = "ALL",
        *,
        uid: bool = True,
        returns: Sequence[str | ReturnOption] | None = None,
    ) -> SearchResult:
        """SORT (RFC 5256).

        :param criteria: of ``moxtwisted.imap.wire.sortcriteria``, or as on the wire: ``"REVERSE DATE SUBJECT"``.
        :param returns: as of ``search`` (RFC 5267).
        """
        self.need("SORT")
        self.need_for(key)
        if not criteria:
            raise ValueError("nothing to sort by")
        options = self._returns(returns, "ESORT", "CONTEXT=SORT")
        for option in returns or ():
            if option is SearchReturn.CONTEXT or (not isinstance(option, str) and asks_updates(option)):
                self.need("CONTEXT=SORT")
            elif isinstance(option, Partial):
                # RFC 5267 section 4.4 has none from the end.
                self.need("PARTIAL", *(("CONTEXT=SORT",) if option.first > 0 else ()))
        order = criteria if isinstance(criteria, str) else " ".join(map(self._criterion, criteria))

        def write(writer: SegmentWriter) -> None:
            writer.write(options)
            writer.write(f" ({order}) UTF-8".encode("ascii"))
            _key(writer, key)

        done = await self.execute(Request("UID SORT" if uid else "SORT", write))
        return self._result(done, (r.SortData, r.EsearchData), returns)

    def _criterion(self, criterion: SortKey | SortCriterion) -> str:
        one = SortCriterion(criterion) if isinstance(criterion, SortKey) else criterion
        if one.key in {SortKey.DISPLAYFROM, SortKey.DISPLAYTO}:
            self.need("SORT=DISPLAY")
        elif one.key is SortKey.RELEVANCY:
            self.need("SEARCH=FUZZY")
        return f"REVERSE {one.key.value}" if one.reverse else one.key.value

    async def thread(
        self,
        algorithm: str | ThreadAlgorithm = ThreadAlgorithm.REFERENCES,
        key: k.SearchKey | str = "ALL",
        *,
        uid: bool = True,
    ) -> Threads:
        """THREAD (RFC 5256)."""
        name = algorithm if isinstance(algorithm, str) else algorithm.value
        self.need(f"THREAD={name}")
        self.need_for(key)

        def write(writer: SegmentWriter) -> None:
            writer.write(f" {name} UTF-8".encode("ascii"))
            _key(writer, key)

        done = await self.execute(Request("UID THREAD" if uid else "THREAD", write))
        answers = self.pick(done, r.ThreadData)
        found = Threads(threads(answers[-1]) if answers else [])
        found.limited = done.limited
        return found

    # -- changing ------------------------------------------------------------------------------------------------------

    async def store(
        self,
        numbers: Numbers,
        mode: c.StoreMode,
        flags: Sequence[str],
        *,
        uid: bool = True,
        silent: bool = False,
        unchanged_since: int | None = None,
    ) -> Stored:
        """Change flags.

        :param unchanged_since: only of messages that did not change after this modification sequence (RFC 7162 section 3.1.3).
        :raise ValueError: one of the flags has letters that no flag may have.
        """
        if unchanged_since is not None:
            self.need("CONDSTORE", "QRESYNC")
        wanted = _set(numbers)
        if _empty(wanted):
            return Stored()
        command = c.Store(b"", wanted, mode, tuple(several(flags)), silent, unchanged_since, uid)
        done = await self.execute(of_command(command))
        messages = tuple(map(message, self.pick(done, r.Fetched, partial(_is_answer, uid=uid))))
        code = done.status.code
        value = code.value if code is not None and code.name == "MODIFIED" else None
        return Stored(messages, value if isinstance(value, SequenceSet) else None, done.limited)

    async def copy(self, numbers: Numbers, mailbox: str, *, uid: bool = True) -> Transferred:
        """COPY; of more messages than the server takes at a time it is refused (RFC 9738 section 3.1)."""
        wanted = _set(numbers)
        if _empty(wanted):
            return Transferred()
        done = await self.execute(of_command(c.Copy(b"", wanted, mailbox, uid)))
        return self._transferred(done, r.CopyUid)

    async def move(self, numbers: Numbers, mailbox: str, *, uid: bool = True) -> Transferred:
        """MOVE (RFC 6851)."""
        self.need("MOVE", "IMAP4REV2")
        wanted = _set(numbers)
        if _empty(wanted):
            return Transferred()
        done = await self.execute(of_command(c.Move(b"", wanted, mailbox, uid)))
        # RFC 6851 section 4.3: COPYUID stands in an untagged OK before the EXPUNGEs.
        return self._transferred(done, r.CopyUid)

    def _transferred(self, done: Completed, kind: type) -> Transferred:
        """What a code of this kind says, in an untagged OK or in the tagged one; other responses go to who listens."""
        code = done.status.code
        rest: list[r.Response] = []
        for response in done.responses:
            if (
                isinstance(response, r.StatusResponse)
                and response.code
                and isinstance(response.code.value, kind)
            ):
                code = response.code
            else:
                rest.append(response)
        self.others(rest, done)
        return _code(code, done.limited)

    async def expunge(self, numbers: Numbers | None = None) -> r.MessageLimit | None:
        r"""Remove what is ``\Deleted``: of these UIDs (RFC 4315), or of all.

        :return: how far it came, when it removed the newest of them only.
        """
        if numbers is not None:
            self.need("UIDPLUS", "IMAP4REV2")
        wanted = None if numbers is None else _set(numbers)
        if wanted is not None and _empty(wanted):
            return None
        command = c.Expunge(b"") if wanted is None else c.UIDExpunge(b"", wanted)
        done = await self.execute(of_command(command))
        self.others(done.responses, done)
        return done.limited

    # -- adding --------------------------------------------------------------------------------------------------------

    async def append(self, mailbox: str, *mails: NewMail) -> Transferred:
        """APPEND; several messages are one MULTIAPPEND (RFC 3502).

        :raise ValueError: there is none, or one of them is a list without parts; a date has no zone, a flag letters that no flag may have.
        """
        if not mails:
            raise ValueError("no message")
        if len(mails) > 1:
            self.need("MULTIAPPEND")
        return await self._append(mailbox, mails)

    async def replace(self, number: int, mailbox: str, mail: NewMail, *, uid: bool = True) -> Transferred:
        """Put a message in the place of another one, atomically (RFC 8508)."""
        self.need("REPLACE")
        return await self._append(mailbox, [mail], "UID REPLACE" if uid else "REPLACE", number)

    async def _append(
        self, mailbox: str, mails: Sequence[NewMail], word: str = "APPEND", number: int = 0
    ) -> Transferred:
        sources: list[MessageSource] = []
        messages = []
        for mail in mails:
            content: Any
            if isinstance(mail.content, bytes):
                content = mail.content
            else:
                listed: list[Any] = (
                    list(mail.content) if isinstance(mail.content, Sequence) else [mail.content]
                )
                if not listed:
                    raise ValueError("a message of no parts")
                if len(listed) > 1 or isinstance(listed[0], (bytes, UrlPart)):
                    self.need("CATENATE")
                content = []
                for part in listed:
                    if isinstance(part, (bytes, UrlPart)):
                        content.append(part)
                    else:
                        sources.append(part)
                        content.append(UploadPart(part.size_octets, mail.binary, mail.utf8))
            messages.append((several(mail.flags), mail.received, content))
        done = await self.execute(append(mailbox, messages, word=word, number=number), sources=sources)
        # RFC 8508 section 3: APPENDUID may stand in an untagged OK.
        return self._transferred(done, r.AppendUid)
