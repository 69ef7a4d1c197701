"""The families of commands: what they say, what they make of the answers, and that our server's grammar reads what they say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.agent import IMAPClient
from moxtwisted.imap.client.accountcommands import AccountCommands, NotifyGroup
from moxtwisted.imap.client.events import BodyStarted, Completed
from moxtwisted.imap.client.filtercommands import FilterCommands
from moxtwisted.imap.client.machine import Client, NotWritten
from moxtwisted.imap.client.mailboxcommands import MailboxCommands, MetadataReturn
from moxtwisted.imap.client.messagecommands import MessageCommands, NewMail, Stored, Transferred
from moxtwisted.imap.client.notices import (
    ContextChanged,
    Expunged,
    MessageChanged,
    MetadataChanged,
    NewCount,
    Notice,
)
from moxtwisted.imap.client.requests import Request, UrlPart
from moxtwisted.imap.client.results import Message, Thread, members
from moxtwisted.imap.client.session import (
    BodySink,
    CommandRefusedError,
    MessageSource,
    NotOfferedError,
    Selected,
)
from moxtwisted.imap.testing import run_now
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.commands import ListReturn, ListSelection, QResync, StoreMode
from moxtwisted.imap.wire.fetchattributes import BodySection, Flags, SectionText, Uid
from moxtwisted.imap.wire.mailboxcommands import Depth
from moxtwisted.imap.wire.mailboxfilter import FilterKind, MailboxFilter
from moxtwisted.imap.wire.parser import BadCommand, CommandReader
from moxtwisted.imap.wire.returnoptions import Update
from moxtwisted.imap.wire.sequence import SequenceSet

EVERYTHING = (
    "IMAP4rev1 LITERAL+ ENABLE UNSELECT UIDPLUS MOVE MULTIAPPEND CATENATE REPLACE SORT THREAD=REFERENCES ESEARCH MULTISEARCH "
    "METADATA QUOTA ACL URLAUTH NOTIFY COMPRESS=DEFLATE UNAUTHENTICATE LANGUAGE LIST-EXTENDED NAMESPACE "
    "CONTEXT=SEARCH CONTEXT=SORT LIST-STATUS LIST-METADATA LIST-MYRIGHTS SPECIAL-USE CREATE-SPECIAL-USE FILTERS "
    "QRESYNC PARTIAL SORT=DISPLAY JMAPACCESS"
)


class Scripted(MailboxCommands, MessageCommands, FilterCommands):
    """A session whose server answers each command with the next lines of a script."""

    def __init__(self, *script: bytes, capabilities: str = EVERYTHING) -> None:
        self.machine = Client()
        self.machine.receive(f"* OK [CAPABILITY {capabilities}] hi\r\n".encode())
        self.machine.next_event()
        self.script = list(script)
        self.said: list[bytes] = []
        self.notices: list[Notice] = []

    @property
    def capabilities(self) -> frozenset[str]:
        return self.machine.capabilities

    def told(self, heard: Notice) -> None:
        self.notices.append(heard)

    async def execute(
        self,
        request: Request,
        *,
        each: Callable[[r.Response], Awaitable[None] | None] | None = None,
        sinks: Callable[[BodyStarted], BodySink | None] | None = None,
        sources: Sequence[MessageSource] = (),
        seconds: float | None = None,
    ) -> Completed:
        tag = self.machine.request(request)
        self.said.append(self.machine.data_to_send().removeprefix(tag + b" "))
        answer = self.script.pop(0) if self.script else b"OK done"
        *data, status = answer.split(b"\n")
        self.machine.receive(b"".join(line + b"\r\n" for line in data) + tag + b" " + status + b"\r\n")
        event = self.machine.next_event()
        if isinstance(event, NotWritten):
            raise event.error
        assert isinstance(event, Completed), event
        if not event.ok:
            raise CommandRefusedError(event.status, request.word)
        return event


class CommandCase(SynchronousTestCase):
    def run_script(
        self, script: bytes, work: Callable[[Scripted], Coroutine[Any, Any, Any]], said: bytes | None = None
    ) -> Any:
        """What comes of a command whose answer is this, after it said that (and our server's grammar reads it)."""
        self.session = Scripted(script)
        result = run_now(work(self.session))
        octets = self.session.said[0]
        if said is not None:
            self.assertEqual(octets, said + b"\r\n")
        reader = CommandReader()
        reader.receive(b"a1 " + octets)
        event = reader.next()
        self.assertIsNotNone(event, octets)
        self.assertFalse(isinstance(event, BadCommand), (octets, event))
        return result


class MailboxTests(CommandCase):
    def test_list(self) -> None:
        """RFC 5819, 8440 and 9590: what comes beside LIST belongs to its mailbox; news stay news."""
        found = self.run_script(
            b'* LIST () "/" INBOX\n* STATUS INBOX (MESSAGES 17 UNSEEN 16)\n* MYRIGHTS INBOX lrswipkxtecda\n'
            b'* METADATA INBOX (/shared/comment "My comment")\n* LIST (\\NoSelect) "/" bar\n* 5 EXISTS\nOK done',
            lambda session: session.mailboxes("%", returns=("STATUS (MESSAGES UNSEEN)",)),
            b'LIST "" "%" RETURN (STATUS (MESSAGES UNSEEN))',
        )
        inbox, bar = found
        self.assertEqual((inbox.name, inbox.separator, inbox.status["UNSEEN"]), ("INBOX", "/", 16))
        self.assertEqual(
            (inbox.rights, inbox.metadata), ("lrswipkxtecda", {"/shared/comment": b"My comment"})
        )
        self.assertTrue(bar.has("\\Noselect"))
        self.assertEqual(self.session.notices, [NewCount(5)])
        self.run_script(
            b"OK",
            lambda session: session.mailboxes("INBOX", "Sent/%", selection=("SUBSCRIBED",)),
            b'LIST (SUBSCRIBED) "" (INBOX "Sent/%")',
        )

    def test_list_extended(self) -> None:
        """RFC 5258 section 4 and RFC 9051 section 6.3.9.7: CHILDINFO and OLDNAME; changed entries are no answer."""
        (one,) = self.run_script(
            b'* LIST () "/" "\xfcx" ("CHILDINFO" ("SUBSCRIBED") "OLDNAME" ("y"))\n* METADATA "\xfcx" /shared/b\nOK'.replace(
                b"\xfc", b"&APw-"
            ),
            lambda s: s.mailboxes(
                selection=[ListSelection.SUBSCRIBED, ListSelection.RECURSIVEMATCH],
                returns=[ListReturn.CHILDREN, MetadataReturn(("/shared/a", "/private/b c"))],
            ),
            b'LIST (SUBSCRIBED RECURSIVEMATCH) "" "*" RETURN (CHILDREN METADATA (/shared/a "/private/b c"))',
        )
        self.assertEqual((one.name, one.child_info, one.old_name), ("\u00fcx", {"SUBSCRIBED"}, "y"))
        self.assertEqual(self.session.notices, [MetadataChanged("\u00fcx", ("/shared/b",))])

    def test_select(self) -> None:
        """RFC 7162 section 3.2.5: what was selected, what vanished and what changed."""
        selected = self.run_script(
            b"* OK [CLOSED]\n* 464 EXISTS\n* OK [UIDVALIDITY 3857529045] x\n"
            b"* OK [UIDNEXT 550] x\n* OK [HIGHESTMODSEQ 90060128194045007] x\n"
            b"* OK [MAILBOXID (F2212ea87-6097-4256-9d51-71338625)] x\n* FLAGS (\\Seen work)\n* OK [PERMANENTFLAGS (\\Seen \\*)] x\n"
            b"* VANISHED (EARLIER) 41,43:116\n* 49 FETCH (UID 117 FLAGS (\\Seen) "
            b"MODSEQ (90060115194045001))\nOK [READ-ONLY] done",
            lambda session: session.select(
                "INBOX", qresync=QResync(67890007, 20050715194045000, SequenceSet.parse(b"41,43:211"))
            ),
            b"SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211))",
        )
        self.assertEqual(
            (
                selected.exists,
                selected.uidvalidity,
                selected.uidnext,
                selected.highestmodseq,
                selected.read_only,
            ),
            (464, 3857529045, 550, 90060128194045007, True),
        )
        self.assertEqual(selected.mailbox_id, "F2212ea87-6097-4256-9d51-71338625")
        self.assertEqual((selected.flags, selected.permanent_flags), (("\\Seen", "work"), ("\\Seen", "\\*")))
        self.assertEqual(selected.vanished, [SequenceSet.parse(b"41,43:116")])
        self.assertEqual(selected.changed[0].items["UID"], 117)

    def test_others(self) -> None:
        """The small ones."""
        self.assertEqual(
            self.run_script(b"* STATUS x (MESSAGES 5)\nOK", lambda s: s.status("x", ["MESSAGES"])),
            {"MESSAGES": 5},
        )
        self.assertEqual(
            self.run_script(
                b"OK [MAILBOXID (F1)] x", lambda s: s.create("Entw\u00fcrfe", special_use=["\\Drafts"])
            ),
            "F1",
        )
        self.assertEqual(self.session.said, [b"CREATE Entw&APw-rfe (USE (\\Drafts))\r\n"])
        for work in (
            lambda s: s.delete("x"),
            lambda s: s.rename("x", "y z"),
            lambda s: s.subscribe("x"),
            lambda s: s.unsubscribe("x"),
            lambda s: s.unselect(),
            lambda s: s.close_mailbox(),
            lambda s: s.noop(),
        ):
            self.run_script(b"OK", work)
        prefixes = self.run_script(b'* NAMESPACE (("" "/")) NIL NIL\nOK', lambda s: s.namespace())
        self.assertEqual(prefixes.personal, (("", "/"),))
        self.assertEqual(
            self.run_script(b'* ID ("name" "Cyrus")\nOK', lambda s: s.identify([("name", "x")])),
            {"name": "Cyrus"},
        )

    def test_other_names(self) -> None:
        """RFC 9051 section 6.3.9.7: what a server calls a mailbox by another name is the answer; of others it tells news."""
        script = b"* STATUS y (MESSAGES 3)\n* STATUS &AOk- (MESSAGES 5)\nOK"
        found = self.run_script(script, lambda s: s.status("e\u0301", ["MESSAGES"]))
        self.assertEqual(found.messages, 5)
        self.assertEqual(len(self.session.notices), 1)
        found = self.run_script(
            b'* METADATA INBOX/x (/private/a "1")\n* METADATA INBOX/x /private/c\n* METADATA INBOX/x (/private/b NIL)\nOK',
            lambda s: s.get_metadata("inbox/x", ["/private/a", "/private/b"]),
        )
        self.assertEqual(found, {"/private/a": b"1", "/private/b": None})
        self.assertEqual(len(self.session.notices), 1)

    def test_subscribed(self) -> None:
        """RFC 5258 section 3.1: LIST has it as an option; a server without is asked by LSUB."""
        (one,) = self.run_script(
            b'* LIST (\\Subscribed \\NonExistent) "/" x\nOK',
            lambda s: s.subscribed(),
            b'LIST (SUBSCRIBED) "" "*"',
        )
        self.assertTrue(one.has("\\nonexistent"))
        session = Scripted(b'* LIST () "/" news\n* LSUB () "/" y\nOK', capabilities="IMAP4rev1")
        (one,) = run_now(session.subscribed("%"))
        self.assertEqual((one.name, session.said), ("y", [b'LSUB "" "%"\r\n']))

    def test_unselect(self) -> None:
        """RFC 3691 section 1: a server without UNSELECT is asked for a mailbox that there is not, and nothing is expunged."""
        examine = b"EXAMINE no-mailbox-of-this-name\r\n"
        session = Scripted(b"NO there is none", capabilities="IMAP4rev1")
        session.selected = Selected("INBOX")
        run_now(session.unselect())
        self.assertEqual((session.said, session.selected), ([examine], None))
        session = Scripted(b"* 0 EXISTS\nOK [READ-ONLY] there is one", b"OK", capabilities="IMAP4rev1")
        run_now(session.unselect())
        self.assertEqual((session.said, session.selected), ([examine, b"CLOSE\r\n"], None))
        session = Scripted(b"BAD what?", capabilities="IMAP4rev1")
        self.assertRaises(CommandRefusedError, run_now, session.unselect())
        session = Scripted(b"OK", capabilities="IMAP4rev1 UNSELECT")
        run_now(session.unselect())
        self.assertEqual(session.said, [b"UNSELECT\r\n"])


class MessageTests(CommandCase):
    def test_fetch(self) -> None:
        """Items and modifiers; what is not asked for is news."""
        found = self.run_script(
            b"* 2 FETCH (UID 7 FLAGS (\\Seen))\n* 3 EXPUNGE\nOK",
            lambda s: s.fetch(
                [5, 6, 7], [Flags(), "UID", BodySection(peek=True)], modifiers="CHANGEDSINCE 5 VANISHED"
            ),
            b"UID FETCH 5:7 (FLAGS UID BODY.PEEK[]) (CHANGEDSINCE 5 VANISHED)",
        )
        self.assertEqual((found[0].uid, found[0].flags), (7, {"\\Seen"}))
        self.assertEqual(self.session.notices, [Expunged(3)])

    def test_search(self) -> None:
        """SEARCH, ESEARCH and PARTIAL; another command's ESEARCH is news."""
        found = self.run_script(
            b"* SEARCH 2 84 882\nOK", lambda s: s.search("FLAGGED"), b"UID SEARCH FLAGGED"
        )
        self.assertEqual(list(members(found.numbers)), [2, 84, 882])
        found = self.run_script(
            b'* ESEARCH (TAG "other") UID ADDTO (0 5)\n* ESEARCH (TAG "A1") UID COUNT 5 ALL 4:19,21,28\nOK',
            lambda s: s.search(k.HasFlag("\\Deleted"), returns=("COUNT", "ALL")),
            b"UID SEARCH RETURN (COUNT ALL) CHARSET UTF-8 DELETED",
        )
        self.assertEqual((found.count, found.numbers), (5, SequenceSet.parse(b"4:19,21,28")))
        self.assertEqual(len(self.session.notices), 1)
        many = self.run_script(
            b'* ESEARCH (TAG "A1" MAILBOX "folder1" UIDVALIDITY 1) UID ALL 4001\n'
            b'* ESEARCH (TAG "A1" MAILBOX "folder2" UIDVALIDITY 2) UID ALL 7\nOK',
            lambda s: s.search_everywhere('mailboxes "folder1" subtree "folder2"', "UNSEEN"),
            b'ESEARCH IN (mailboxes "folder1" subtree "folder2") RETURN (ALL) UNSEEN',
        )
        self.assertEqual([(one.mailbox, one.uidvalidity) for one in many], [("folder1", 1), ("folder2", 2)])

    def test_search_in_several_responses(self) -> None:
        """Numbers that come in several SEARCH or SORT responses are one result."""
        found = self.run_script(
            b"* SEARCH 2 5 (MODSEQ 9)\n* SEARCH\n* SEARCH 7 (MODSEQ 8)\nOK",
            lambda session: session.search("ALL"),
        )
        self.assertEqual((found.numbers, found.modseq), ((2, 5, 7), 9))
        found = self.run_script(b"* SORT 5 2\n* SORT 3\nOK", lambda session: session.sort("DATE"))
        self.assertEqual((found.numbers, found.modseq), ((5, 2, 3), None))

    def test_search_everywhere(self) -> None:
        """RFC 7377 section 2.2: mailboxes are named as in all commands, in modified UTF-7 until UTF-8 is enabled."""
        sources = (
            MailboxFilter(FilterKind.INBOXES),
            MailboxFilter(FilterKind.SUBTREE_ONE, ("Entwürfe",)),
            MailboxFilter(FilterKind.MAILBOXES, ("a b", "Sent")),
        )
        self.run_script(
            b"OK",
            lambda s: s.search_everywhere(sources, "UNSEEN", ("COUNT",)),
            b'ESEARCH IN (inboxes subtree-one (Entw&APw-rfe) mailboxes ("a b" Sent)) RETURN (COUNT) UNSEEN',
        )

    def test_cancel_updates(self) -> None:
        """RFC 5267 section 4.3.5: tags of the searches."""
        self.run_script(b"OK", lambda s: s.cancel_updates(b"A1", b"A2"), b'CANCELUPDATE "A1" "A2"')

    def test_updates(self) -> None:
        """RFC 5465 section 7: data items with UPDATE, of a server that has NOTIFY; what it tells later is news."""
        update = Update((Uid(), BodySection(text=SectionText.HEADER_FIELDS, fields=("TO", "FROM"))))
        found = self.run_script(
            b'* ESEARCH (TAG "A1") UID COUNT 17\nOK',
            lambda s: s.search('FROM "boss"', returns=("COUNT", update)),
            b'UID SEARCH RETURN (COUNT UPDATE (UID BODY[HEADER.FIELDS (TO FROM)])) FROM "boss"',
        )
        self.assertEqual(found.count, 17)
        self.run_script(
            b"* 93 EXISTS\n* 93 FETCH (UID 127001 FLAGS ())\n"
            b'* ESEARCH (TAG "other") UID ADDTO (1 127001)\n* ESEARCH (TAG "A1") UID\nOK',
            lambda s: s.sort("DATE", returns=[Update((Flags(),))]),
            b"UID SORT RETURN (UPDATE (FLAGS)) (DATE) UTF-8 ALL",
        )
        count, fetched, changed = self.session.notices
        self.assertEqual(count, NewCount(93))
        self.assertEqual(fetched, MessageChanged(Message(93, uid=127001, flags=frozenset())))
        self.assertEqual(
            changed, ContextChanged(b"other", (r.ContextChange(True, 1, SequenceSet.parse(b"127001")),))
        )
        poor = Scripted(capabilities="IMAP4rev1 SORT CONTEXT=SEARCH CONTEXT=SORT")
        for asked in (poor.search(returns=[update]), poor.sort("DATE", returns=[update])):
            with self.assertRaises(NotOfferedError):
                run_now(asked)
        self.assertEqual(poor.said, [])

    def test_orders(self) -> None:
        """SORT and THREAD."""
        found = self.run_script(
            b"* SORT 2 84 882\nOK",
            lambda s: s.sort("SUBJECT REVERSE DATE", "ALL"),
            b"UID SORT (SUBJECT REVERSE DATE) UTF-8 ALL",
        )
        self.assertEqual(found.numbers, (2, 84, 882))
        found = self.run_script(
            b"* THREAD (2)(3 6 (4)(5))\nOK",
            lambda s: s.thread("REFERENCES", "SINCE 5-MAR-2000"),
            b"UID THREAD REFERENCES UTF-8 SINCE 5-MAR-2000",
        )
        self.assertEqual(found[1], Thread((3, 6), (Thread((4,)), Thread((5,)))))

    def test_changes(self) -> None:
        """STORE, COPY, MOVE, EXPUNGE and their codes."""
        stored = self.run_script(
            b"* 5 FETCH (UID 7 MODSEQ (320162350))\nOK [MODIFIED 9,12] failed",
            lambda s: s.store([7, 9, 12], StoreMode.ADD, ["\\Deleted"], unchanged_since=12121230045),
        )
        self.assertEqual(stored.refused, SequenceSet.parse(b"9,12"))
        self.assertEqual(stored.messages[0].modseq, 320162350)
        copied = self.run_script(
            b"OK [COPYUID 38505 304,319:320 3956:3958] Done", lambda s: s.copy([304, 319, 320], "x")
        )
        self.assertEqual((copied.uidvalidity, copied.target), (38505, SequenceSet.parse(b"3956:3958")))
        moved = self.run_script(
            b"* OK [COPYUID 432432 42:69 1202:1229]\n* 22 EXPUNGE\nOK Done",
            lambda s: s.move(range(42, 70), "foo"),
            b"UID MOVE 42:69 foo",
        )
        self.assertEqual(moved.target, SequenceSet.parse(b"1202:1229"))
        self.assertEqual(self.session.notices, [Expunged(22)])
        self.run_script(b"* 3 EXPUNGE\nOK", lambda s: s.expunge([3000, 3001, 3002]), b"UID EXPUNGE 3000:3002")

    def test_no_messages(self) -> None:
        """RFC 9051 section 9: there is no empty set; of no messages nothing is asked."""
        session = Scripted()
        heard: list[Message] = []
        self.assertEqual(run_now(session.fetch([], ["FLAGS"])), [])
        self.assertIsNone(run_now(session.fetch_each([], ["FLAGS"], heard.append)))
        self.assertEqual(run_now(session.store([], StoreMode.ADD, ["x"])), Stored())
        self.assertEqual(run_now(session.copy([], "x")), Transferred())
        self.assertEqual(run_now(session.move([], "x")), Transferred())
        self.assertIsNone(run_now(session.expunge([])))
        self.assertEqual(session.said, [])

    def test_limited(self) -> None:
        """RFC 9738 section 3.1: results tell how far the server came, by the tagged code or by that of an untagged NO."""
        limit = r.MessageLimit(3, 4)
        work: Any
        for data, work in (
            (b"* 4 FETCH (UID 4)\n", lambda s: s.fetch([1, 4], ["UID"])),
            (b"* SEARCH 4\n", lambda s: s.search("SEEN")),
            (b"* SORT 4\n", lambda s: s.sort("DATE")),
            (b"* THREAD (4)\n", lambda s: s.thread()),
            (b"* 4 FETCH (UID 4)\n", lambda s: s.store([1, 4], StoreMode.ADD, ["x"])),
            (b"* OK [COPYUID 1 4 1] x\n* 4 EXPUNGE\n", lambda s: s.move([1, 4], "x")),
        ):
            self.assertEqual(self.run_script(data + b"OK [MESSAGELIMIT 3 4] x", work).limited, limit)
            other = self.run_script(data + b"* NO [MESSAGELIMIT 3 4] x\nOK [EXPUNGEISSUED] x", work)
            self.assertEqual(other.limited, limit)
            self.assertIsNone(self.run_script(data + b"OK x", work).limited)
        expunge: Any = lambda s: s.expunge([1, 4])  # noqa: E731
        self.assertEqual(self.run_script(b"* 4 EXPUNGE\nOK [MESSAGELIMIT 3 4] x", expunge), limit)
        self.assertIsNone(self.run_script(b"OK", expunge))
        session = Scripted(b"NO [MESSAGELIMIT 3 4] too many")
        refused = self.failureResultOf(Deferred.fromCoroutine(session.copy([1, 4], "x")), CommandRefusedError)
        self.assertEqual(refused.value.status.code.value, limit)

    def test_highest_modseq(self) -> None:
        """RFC 7162 section 6: HIGHESTMODSEQ of a tagged response is taken, other codes there may be of other mailboxes."""
        works: Any = (
            (b"* VANISHED 7\n", lambda s: s.expunge()),
            (b"", lambda s: s.noop()),
            (b"", lambda s: s.store([1], StoreMode.ADD, ["x"])),
            (b"* OK [COPYUID 1 4 1] x\n", lambda s: s.move([4], "x")),
            (b"* SEARCH\n", lambda s: s.search("ALL")),
        )
        for data, work in works:
            session = Scripted(data + b"OK [HIGHESTMODSEQ 20010715194045319] x", b"OK [MAILBOXID (F2)] x")
            session.selected = Selected("INBOX", highestmodseq=5, exists=1, mailbox_id="F1")
            run_now(work(session))
            self.assertEqual(session.selected.highestmodseq, 20010715194045319)
            run_now(session.create("other"))
            self.assertEqual(session.selected.mailbox_id, "F1")

    def test_refusals(self) -> None:
        """What a server says in the code of a refusal is typed."""
        works: Any = (
            (
                lambda s: s.append("x", NewMail([b"a", UrlPart("/y;UID=3")])),
                b'BADURL "/y;UID=3"',
                r.BadUrl("/y;UID=3"),
            ),
            (lambda s: s.search("FILTER boss"), b"UNDEFINED-FILTER boss", r.UndefinedFilter("boss")),
            (
                lambda s: s.notify([NotifyGroup("personal", ("X",))]),
                b"BADEVENT (MessageNew)",
                r.SupportedEvents(("MessageNew",)),
            ),
            (
                lambda s: s.set_metadata("", {"/shared/x": b"y"}),
                b"METADATA NOPRIVATE",
                r.MetadataRefusal("NOPRIVATE"),
            ),
            (lambda s: s.noop(), b"OVERQUOTA", None),
        )
        for work, code, value in works:
            refused = self.failureResultOf(
                Deferred.fromCoroutine(work(Scripted(b"NO [%b] no" % code))), CommandRefusedError
            ).value
            self.assertEqual((refused.code_value, refused.imap_code), (value, code.split()[0].decode()))

    def test_append(self) -> None:
        """APPENDUID, of APPEND and of REPLACE."""
        done = self.run_script(
            b"OK [APPENDUID 38505 3955] done", lambda s: s.append("saved", NewMail(b"text", ("\\Seen",)))
        )
        self.assertEqual((done.uidvalidity, done.target), (38505, SequenceSet.parse(b"3955")))
        done = self.run_script(
            b"* OK [APPENDUID 1 2002] Replacement ready\n* 5 EXISTS\n* 4 EXPUNGE\nOK done",
            lambda s: s.replace(4, "Drafts", NewMail(b"text")),
            b"UID REPLACE 4 Drafts {4+}\r\ntext",
        )
        self.assertEqual(done.target, SequenceSet.parse(b"2002"))

    def test_append_utf8(self) -> None:
        """RFC 9755 section 4: a header with UTF-8 is marked where UTF8=ACCEPT was enabled; IMAP4rev2 has it as it is."""
        octets = "Subject: ü\r\n\r\nx".encode()
        for name, said in {
            "IMAP4rev2": b"APPEND x {16+}\r\n%b\r\n" % octets,
            "UTF8=ACCEPT": b"APPEND x UTF8 (~{16+}\r\n%b)\r\n" % octets,
        }.items():
            session = Scripted(b"* ENABLED %b\nOK" % name.encode(), b"OK", b"OK", b"OK")
            run_now(session.enable(name))
            run_now(session.append("x", NewMail(octets)))
            self.assertEqual(session.said[1], said)
            run_now(session.unauthenticate())
            self.assertFalse(session.machine.utf8)

    def test_what_is_not_offered(self) -> None:
        """Nothing is said that the server has not announced."""
        for work in (
            lambda s: s.move([1], "x"),
            lambda s: s.sort("DATE"),
            lambda s: s.get_metadata("x", ["/a"]),
            lambda s: s.append("x", NewMail(b"a"), NewMail(b"b")),
            lambda s: s.compress(),
            lambda s: s.cancel_updates(b"A1"),
            lambda s: s.jmap_session_url(),
        ):
            session = Scripted(capabilities="IMAP4rev1")
            self.assertRaises(NotOfferedError, run_now, work(session))
            self.assertEqual(session.said, [])


class AccountTests(CommandCase):
    def test_metadata(self) -> None:
        """RFC 5464 section 4: options, values of any octets, NIL to remove."""
        found = self.run_script(
            b'* METADATA "INBOX" (/private/comment "My own comment")\nOK [METADATA LONGENTRIES 2199] done',
            lambda s: s.get_metadata("INBOX", ["/private/comment"], depth=Depth.ONE, max_octets=1024),
            b"GETMETADATA (MAXSIZE 1024 DEPTH 1) INBOX (/private/comment)",
        )
        self.assertEqual(found, {"/private/comment": b"My own comment"})
        self.assertEqual(found.left_out, r.LongEntries(2199))
        found = self.run_script(b"OK", lambda s: s.get_metadata("INBOX", ["/private/comment"], max_octets=9))
        self.assertIsNone(found.left_out)
        self.run_script(
            b"OK",
            lambda s: s.set_metadata(
                "INBOX", {"/private/comment": None, "/shared/x": b"a b", "/private/z": b"\0"}
            ),
            b'SETMETADATA INBOX (/private/comment NIL /shared/x "a b" /private/z ~{1+}\r\n\0)',
        )

    def test_metadata_news(self) -> None:
        """RFC 5464 section 4.4.2: what has changed meanwhile, here or elsewhere, is no answer."""
        found = self.run_script(
            b'* METADATA inbox (/private/a "1")\n* METADATA INBOX /shared/b\n* METADATA "" /shared/c\nOK',
            lambda s: s.get_metadata("INBOX", ["/private/a"]),
        )
        self.assertEqual(found, {"/private/a": b"1"})
        self.assertEqual(
            self.session.notices,
            [MetadataChanged("INBOX", ("/shared/b",)), MetadataChanged("", ("/shared/c",))],
        )

    def test_quota(self) -> None:
        """RFC 9208 section 4: a root, the roots of a mailbox, new limits."""
        self.assertEqual(
            self.run_script(b'* QUOTA "" (STORAGE 10 512)\nOK', lambda s: s.quota(""), b'GETQUOTA ""'),
            {"STORAGE": (10, 512)},
        )
        roots = self.run_script(
            b'* QUOTAROOT INBOX ""\n* QUOTA "" (STORAGE 10 512)\nOK', lambda s: s.quota_roots("INBOX")
        )
        self.assertEqual((roots.roots, roots.quotas), (("",), {"": {"STORAGE": (10, 512)}}))
        changed = self.run_script(
            b'* QUOTA "" (STORAGE 10 600 MESSAGE 5 9)\nOK',
            lambda s: s.set_quota("", {"STORAGE": 600, "MESSAGE": 9}),
            b'SETQUOTA "" (STORAGE 600 MESSAGE 9)',
        )
        self.assertEqual(changed, {"STORAGE": (10, 600), "MESSAGE": (5, 9)})

    def test_rights(self) -> None:
        """RFC 4314 section 3."""
        self.assertEqual(
            self.run_script(b"* ACL INBOX Fred rwipslda\nOK", lambda s: s.get_acl("INBOX")),
            {"Fred": "rwipslda"},
        )
        self.run_script(b"OK", lambda s: s.set_acl("INBOX", "Fred", "+w"), b"SETACL INBOX Fred +w")
        self.run_script(b"OK", lambda s: s.delete_acl("INBOX", "Fred"), b"DELETEACL INBOX Fred")
        self.assertEqual(self.run_script(b"* MYRIGHTS INBOX lr\nOK", lambda s: s.my_rights("INBOX")), "lr")
        rights = self.run_script(b"* LISTRIGHTS x smith la r s\nOK", lambda s: s.list_rights("x", "smith"))
        self.assertEqual(rights.optional, ("r", "s"))

    def test_virtual_rights(self) -> None:
        """RFC 4314 section 2.1.1: c and d are ignored, unless the server has the standard before that one only."""
        for more, bob, listed in (("", "lrkc", ("la", "c", "td")), (" RIGHTS=texk", "lrk", ("la", "t"))):
            script = (
                b"* ACL x bob lrkc\nOK",
                b"* MYRIGHTS x lrkc\nOK",
                b"* LISTRIGHTS x bob la c td\nOK",
                b'* LIST () "/" x\n* MYRIGHTS x lrkc\nOK',
            )
            session = Scripted(*script, capabilities=EVERYTHING + more)
            self.assertEqual(run_now(session.get_acl("x")), {"bob": bob})
            self.assertEqual(run_now(session.my_rights("x")), bob)
            rights = run_now(session.list_rights("x", "bob"))
            self.assertEqual((rights.required, *rights.optional), listed)
            (found,) = run_now(session.mailboxes(returns=[ListReturn.MYRIGHTS]))
            self.assertEqual(found.rights, bob)

    def test_urls(self) -> None:
        """RFC 4467 section 7."""
        rump = "imap://joe@example.com/INBOX/;uid=20/;section=1.2;expire=2027-03-31T00:00:00Z;urlauth=submit+fred"
        self.assertEqual(
            self.run_script(
                b'* GENURLAUTH "' + rump.encode() + b':internal:91354a47"\nOK', lambda s: s.make_urls([rump])
            ),
            (rump + ":internal:91354a47",),
        )
        self.assertEqual(
            self.run_script(b'* URLFETCH "x" "text" "y" NIL\nOK', lambda s: s.read_urls(["x", "y"])),
            {"x": b"text", "y": None},
        )
        self.assertEqual(self.run_script(b"OK", lambda s: s.reset_urls(), b"RESETKEY"), ())
        for script in (
            b"OK [URLMECH INTERNAL X=P34OCg==] done",
            b"* OK [URLMECH INTERNAL X=P34OCg==] \n* 3 EXISTS\nOK",
        ):
            self.assertEqual(
                self.run_script(script, lambda s: s.reset_urls("INBOX", ["X"]), b"RESETKEY INBOX X"),
                (r.UrlMechanism("INTERNAL"), r.UrlMechanism("X", b"?~\x0e\n")),
            )
        self.assertEqual(self.session.notices, [NewCount(3)])
        selected = self.run_script(b"* 3 EXISTS\n* OK [URLMECH INTERNAL] x\nOK", lambda s: s.select("INBOX"))
        self.assertEqual(selected.url_mechanisms, (r.UrlMechanism("INTERNAL"),))

    def test_notify(self) -> None:
        """RFC 5465 section 3.1: groups of mailboxes with their events, or none."""
        self.run_script(
            b"* STATUS x (MESSAGES 1)\nOK",
            lambda s: s.notify(
                [
                    NotifyGroup("selected", ("MessageNew (UID FLAGS)", "MessageExpunge")),
                    NotifyGroup("subtree", ("MessageNew", "MessageExpunge"), ("Lists",)),
                    NotifyGroup("inboxes"),
                ],
                status=True,
            ),
            b"NOTIFY SET STATUS (selected (MessageNew (UID FLAGS) MessageExpunge)) "
            b"(subtree (Lists) (MessageNew MessageExpunge)) (inboxes NONE)",
        )
        self.assertEqual(len(self.session.notices), 1)
        self.run_script(b"OK", lambda s: s.notify([]), b"NOTIFY NONE")

    def test_connection(self) -> None:
        """LANGUAGE, ENABLE, UNAUTHENTICATE, JMAPACCESS."""
        self.assertEqual(
            self.run_script(b"* ENABLED CONDSTORE\nOK", lambda s: s.enable("CONDSTORE", "X")), {"CONDSTORE"}
        )
        self.run_script(b"OK", lambda s: s.unauthenticate(), b"UNAUTHENTICATE")
        self.assertIsNone(self.session.selected)
        session = Scripted(b"* LANGUAGE (DE)\nOK")
        self.assertEqual(run_now(session.language("DE")), ("DE",))
        self.assertEqual(session.said, [b"LANGUAGE DE\r\n"])
        session = Scripted(b'* JMAPACCESS "https://example.com/.s/[jmap]"\nOK', b"OK")
        self.assertEqual(run_now(session.jmap_session_url()), "https://example.com/.s/[jmap]")
        self.assertIsNone(run_now(session.jmap_session_url()))
        self.assertEqual(session.said, [b"GETJMAPACCESS\r\n"] * 2)

    def test_one_class(self) -> None:
        """The Twisted client has all families."""
        for family in (MailboxCommands, MessageCommands, AccountCommands, FilterCommands):
            self.assertTrue(issubclass(IMAPClient, family))
