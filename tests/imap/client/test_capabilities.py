"""Every capability of our server, used by the Twisted client with typed arguments and typed results."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from datetime import date
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred

from moxtwisted.imap.agent import ClientSettings, IMAPClient, connect
from moxtwisted.imap.client.kept import KeptResult
from moxtwisted.imap.client.mailboxcommands import ListOption, MetadataReturn, StatusReturn
from moxtwisted.imap.client.messagecommands import FetchModifiers, NewMail
from moxtwisted.imap.client.notices import (
    Expunged,
    MailboxListed,
    MailboxStatus,
    MessageChanged,
    MetadataChanged,
    NotificationsLost,
    Progressed,
    Vanished,
)
from moxtwisted.imap.client.requests import UrlPart
from moxtwisted.imap.client.results import Thread, members
from moxtwisted.imap.client.session import CommandRefusedError, NotOfferedError
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.memorysharing import SharedMemoryMail, SharingAuthenticator
from moxtwisted.imap.protocol import IMAPServerFactory
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.testing import run_now
from moxtwisted.imap.wire import fetchattributes as f
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.commands import Check, ListReturn, ListSelection, QResync, StatusItem, StoreMode
from moxtwisted.imap.wire.events import Event, EventGroup
from moxtwisted.imap.wire.mailboxcommands import Depth
from moxtwisted.imap.wire.mailboxfilter import FilterKind, MailboxFilter
from moxtwisted.imap.wire.returnoptions import Partial, SearchReturn, Update
from moxtwisted.imap.wire.sequence import SequenceSet
from moxtwisted.imap.wire.sortcriteria import SortCriterion, SortKey, ThreadAlgorithm
from moxtwisted.imap.wire.url import IMAPURL, Authorization
from moxtwisted.sasl.client import Credentials
from tests.imap.client.test_commands import Scripted
from tests.imap.test_agent import Given, ServerCase

LETTERS = (
    b"From: Zoe <a@x.example>\r\nSubject: lunch\r\nMessage-ID: <1@x>\r\n\r\nSi vis pacem, para bellum.\r\n",
    b"From: Adam <z@x.example>\r\nSubject: Re: lunch\r\nMessage-ID: <2@x>\r\nReferences: <1@x>\r\n\r\nyes\r\n",
    b"From: Ben <b@x.example>\r\nSubject: bill\r\nMessage-ID: <3@x>\r\n\r\nthe restaurant's\r\n",
)
EVERYTHING = SequenceSet.parse(b"1:*")
BOTH = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE})


class CapabilityCase(ServerCase):
    """Alice and Bob at a server that offers all that ours can."""

    messages = 100

    def setUp(self) -> None:
        super().setUp()
        self.mails: dict[str, MemoryMail] = {
            name: SharedMemoryMail(self.clock.seconds) for name in ("alice", "bob")
        }
        self.mail = self.mails["alice"]
        for letter in LETTERS:
            self.mail.add("INBOX", letter)
        users = {name: ("secret", mail) for name, mail in self.mails.items()}
        settings = ServerSettings(
            hostname="x.example",
            allow_plain_without_tls=True,
            timeouts=Timeouts(login_failure_pause=0.0),
            limits=Limits(messages=self.messages, messages_enforced=0),
        )
        self.factory = IMAPServerFactory(settings, SharingAuthenticator(users, os.urandom), self.clock)
        self.client = self.open()
        self.wait(self.client.select("INBOX"))

    def open_as(self, name: str) -> IMAPClient:
        settings = ClientSettings(credentials=Credentials(name, "secret"), allow_clear_password=True)
        client: IMAPClient = self.wait(connect(self.clock, Given(self.connected), settings))
        return client

    def refused(self, coroutine: Coroutine[Any, Any, Any]) -> CommandRefusedError:
        done = Deferred.fromCoroutine(coroutine)
        for _ in range(10):
            self.pumps[0].flush()
            self.clock.advance(0)
        error: CommandRefusedError = self.failureResultOf(done, CommandRefusedError).value
        return error

    def numbers(self, coroutine: Coroutine[Any, Any, Any]) -> list[int]:
        return list(members(self.wait(coroutine).numbers))


class SearchingTests(CapabilityCase):
    def test_keys(self) -> None:
        """WITHIN, SAVEDATE, SEARCH=FUZZY, OBJECTID, UIDONLY: keys of extensions."""
        (first, *_) = self.wait(self.client.fetch([1], [f.EmailId(), f.SaveDate()]))
        self.assertIsNotNone(first.savedate)
        for key, found in (
            (k.Younger(3600), [1, 2, 3]),
            (k.Older(3600), []),
            (k.SavedDate(k.Comparison.SINCE, date(1970, 1, 1)), [1, 2, 3]),
            (k.SaveDateSupported(), [1, 2, 3]),
            (k.EmailIdIs(first.email_id), [1]),
            (k.And((k.UidAfter(1), k.UidBefore(3))), [2]),
            (k.Fuzzy(k.HeaderContains("Subject", "lunhc")), [1, 2]),
        ):
            self.assertEqual(self.numbers(self.client.search(key)), found, key)

    def test_returns(self) -> None:
        """ESEARCH, SEARCHRES, PARTIAL, RELEVANCY."""
        client, wait = self.client, self.wait
        options = (SearchReturn.MIN, SearchReturn.MAX, SearchReturn.COUNT, SearchReturn.SAVE)
        found = wait(client.search(k.HeaderContains("Subject", "lunch"), returns=options))
        self.assertEqual((found.least, found.most, found.count), (1, 2, 2))
        # RFC 5182 section 2.4: MIN and MAX leave these two.
        self.assertEqual([one.uid for one in wait(client.fetch(SequenceSet.parse(b"$"), [f.Uid()]))], [1, 2])
        found = wait(client.search(returns=[Partial(-1, -2)]))
        self.assertEqual((found.partial.range, list(members(found.partial.numbers))), ("-1:-2", [2, 3]))
        found = wait(client.search(returns=[Partial(7, 9)]))
        self.assertEqual(found.partial, ("7:9", None))
        key = k.Fuzzy(k.HeaderContains("Subject", "lunch"))
        found = wait(client.search(key, returns=[SearchReturn.ALL, SearchReturn.RELEVANCY]))
        self.assertEqual(len(found.relevancy), 2)

    def test_orders(self) -> None:
        """SORT, SORT=DISPLAY, ESORT, both algorithms of THREAD."""
        client = self.client
        self.assertEqual(
            self.numbers(client.sort([SortKey.SUBJECT, SortCriterion(SortKey.SIZE, reverse=True)])), [3, 2, 1]
        )
        self.assertEqual(self.numbers(client.sort([SortKey.DISPLAYFROM])), [2, 3, 1])
        self.assertEqual(self.numbers(client.sort([SortKey.FROM])), [1, 3, 2])
        options = (SearchReturn.ALL, SearchReturn.COUNT, SearchReturn.MIN)
        found = self.wait(client.sort([SortKey.DISPLAYFROM], returns=options))
        self.assertEqual((list(members(found.numbers)), found.count, found.least), ([2, 3, 1], 3, 2))
        found = self.wait(client.sort([SortKey.DISPLAYFROM], returns=[Partial(1, 2)]))
        self.assertEqual(list(members(found.partial.numbers)), [2, 3])
        for algorithm in ThreadAlgorithm:
            self.assertEqual(set(self.wait(client.thread(algorithm))), {Thread((1, 2)), Thread((3,))})

    def test_everywhere(self) -> None:
        """MULTISEARCH: mailboxes are named by types."""
        self.wait(self.client.create("Entw\u00fcrfe"))
        self.wait(self.client.copy([3], "Entw\u00fcrfe"))
        sources = (MailboxFilter(FilterKind.INBOXES), MailboxFilter(FilterKind.SUBTREE, ("Entw\u00fcrfe",)))
        found = self.wait(
            self.client.search_everywhere(
                sources, k.HeaderContains("Subject", "bill"), [SearchReturn.ALL, SearchReturn.COUNT]
            )
        )
        self.assertEqual(
            {one.mailbox: (list(members(one.numbers)), one.count) for one in found},
            {"INBOX": ([3], 1), "Entw\u00fcrfe": ([1], 1)},
        )
        self.assertTrue(all(one.uidvalidity for one in found))

    def test_everywhere_kept(self) -> None:
        """RFC 7377 section 2.2: results in the selected mailbox are kept up to date, those of other mailboxes are not."""
        self.wait(self.client.create("Other"))
        self.wait(self.client.copy([3], "Other"))
        sources = (MailboxFilter(FilterKind.PERSONAL),)
        asked = [SearchReturn.ALL, SearchReturn.UPDATE]
        found = self.wait(self.client.search_everywhere(sources, k.HasFlag("\\Seen", present=False), asked))
        kept = {one.mailbox: one for one in found}
        self.assertEqual({name: one.updated for name, one in kept.items()}, {"INBOX": True, "Other": False})
        result = KeptResult(kept["INBOX"])
        self.mail.add("INBOX", LETTERS[1])
        # What is told of these results while others are searched for is no result of that.
        (other,) = self.wait(self.client.search_everywhere("mailboxes Other", "ALL"))
        self.assertEqual(other.mailbox, "Other")
        for notice in self.notices:
            result.take(notice)
        self.assertEqual(result.numbers, [1, 2, 3, 4])

    def test_contexts(self) -> None:
        """CONTEXT=SEARCH with data items (RFC 5465 section 7)."""
        asked = Update((f.Uid(), f.Envelope()))
        found = self.wait(
            self.client.search(k.HeaderContains("Subject", "lunch"), returns=[SearchReturn.COUNT, asked])
        )
        self.assertEqual((found.count, found.updated), (2, True))
        self.mail.add("INBOX", LETTERS[1])
        self.wait(self.client.noop())
        (told,) = [one for one in self.notices if isinstance(one, MessageChanged)]
        envelope = told.message.envelope
        assert envelope is not None
        self.assertEqual((told.message.uid, envelope.subject), (4, "Re: lunch"))
        self.wait(self.client.cancel_updates(found.tag))


class ReadingTests(CapabilityCase):
    def test_items(self) -> None:
        """PREVIEW, SAVEDATE, OBJECTID, BINARY, CONDSTORE: data items of extensions."""
        items = [
            f.Preview(),
            f.EmailId(),
            f.ThreadId(),
            f.SaveDate(),
            f.ModSeq(),
            f.BinarySection((1,), peek=True),
        ]
        (one,) = self.wait(self.client.fetch([1], [*items, f.BinarySize((1,))]))
        self.assertEqual(one.preview, "Si vis pacem, para bellum.")
        self.assertTrue(one.email_id)
        self.assertTrue(one.modseq)
        self.assertEqual(one.binary_sizes, {"1": 28})
        self.assertEqual(one.sections["BINARY[1]"], b"Si vis pacem, para bellum.\r\n")
        (lazy,) = self.wait(self.client.fetch([1], [f.Preview(lazy=True)]))
        self.assertIn(lazy.preview, (None, one.preview))

    def test_modifiers(self) -> None:
        """PARTIAL and QRESYNC: which messages FETCH tells of, and which have gone."""
        client, wait = self.client, self.wait
        self.assertEqual(
            [
                one.uid
                for one in wait(
                    client.fetch(EVERYTHING, [f.Uid()], modifiers=FetchModifiers(partial=Partial(-1, -2)))
                )
            ],
            [2, 3],
        )
        wait(client.enable("QRESYNC"))
        selected = wait(client.select("INBOX"))
        before = selected.highestmodseq
        wait(client.store([1], StoreMode.ADD, ["$Important"]))
        wait(client.store([2], StoreMode.ADD, ["\\Deleted"]))
        wait(client.expunge([2]))
        self.notices.clear()
        since = FetchModifiers(changed_since=before, vanished=True)
        self.assertEqual(
            [one.uid for one in wait(client.fetch(EVERYTHING, [f.Flags()], modifiers=since))], [1]
        )
        self.assertEqual(self.notices, [Vanished(SequenceSet.parse(b"2"), earlier=True)])
        self.assertEqual(client.selected.exists if client.selected else 0, 2)

    def test_important(self) -> None:
        """RFC 8457: the keyword, and the special use."""
        client, wait = self.client, self.wait
        wait(client.store([2], StoreMode.ADD, ["$Important"]))
        self.assertEqual(self.numbers(client.search(k.HasFlag("$Important"))), [2])
        wait(client.create("Notable", special_use=["\\Important"]))
        listed = wait(client.mailboxes(selection=[ListSelection.SPECIAL_USE]))
        self.assertEqual([one.name for one in listed if one.has("\\Important")], ["Notable"])

    def test_uidonly(self) -> None:
        """RFC 9586: no sequence numbers any more, in answers, news and results."""
        client, wait = self.client, self.wait
        self.assertEqual(wait(client.enable("UIDONLY")), {"UIDONLY"})
        (one,) = wait(client.fetch([2], [f.Flags()]))
        self.assertEqual((one.number, one.uid), (0, 2))
        self.assertEqual(self.refused(client.fetch([2], [f.Flags()], uid=False)).imap_code, "UIDREQUIRED")
        wait(client.store([2], StoreMode.ADD, ["\\Deleted"]))
        wait(client.expunge([2]))
        self.assertIn(Vanished(SequenceSet.parse(b"2")), self.notices)
        done = wait(client.replace(3, "INBOX", NewMail(LETTERS[0])))
        self.assertEqual(list(members(done.target)), [4])
        self.assertEqual(client.selected.exists if client.selected else 0, 2)


class WritingTests(CapabilityCase):
    def test_catenate(self) -> None:
        """CATENATE and REPLACE of parts that are here already, named by types; BADURL tells which is not."""
        client, wait = self.client, self.wait
        header = b"Subject: forwarded\r\n\r\n"
        there = UrlPart(IMAPURL("INBOX", 1, "TEXT"))
        wait(client.append("INBOX", NewMail([header, there])))
        (one,) = wait(client.fetch([4], [f.BodySection(peek=True)]))
        self.assertEqual(one.section(), header + b"Si vis pacem, para bellum.\r\n")
        done = wait(
            client.replace(
                4, "INBOX", NewMail([b"Subject: again\r\n\r\n", UrlPart("/INBOX/;UID=3/;SECTION=TEXT")])
            )
        )
        self.assertEqual(list(members(done.target)), [5])
        self.assertIn(Expunged(4), self.notices)
        missing = self.refused(client.append("INBOX", NewMail([header, UrlPart(IMAPURL("INBOX", 99))])))
        self.assertEqual(missing.code_value, r.BadUrl("/INBOX/;UID=99"))

    def test_catenate_utf8(self) -> None:
        """RFC 9755 section 4: a part whose header is beyond ASCII."""
        client, wait = self.client, self.wait
        self.assertEqual(wait(client.enable("UTF8=ACCEPT")), {"UTF8=ACCEPT"})
        header = "Subject: \u00e9t\u00e9\r\n\r\n".encode()
        wait(client.append("INBOX", NewMail([header, b"sol", UrlPart(IMAPURL("INBOX", 1, "TEXT"))])))
        (one,) = wait(client.fetch([4], [f.BodySection(peek=True)]))
        self.assertEqual(one.section(), header + b"solSi vis pacem, para bellum.\r\n")

    def test_metadata(self) -> None:
        """METADATA and LIST-METADATA: depth, what is too large, what is refused; the server's own."""
        client, wait = self.client, self.wait
        wait(
            client.set_metadata(
                "INBOX", {"/private/a": b"1", "/private/a/b": b"22", "/private/a/b/c": b"333"}
            )
        )
        found = wait(client.get_metadata("INBOX", ["/private/a"], depth=Depth.ONE))
        self.assertEqual(found, {"/private/a": b"1", "/private/a/b": b"22"})
        found = wait(client.get_metadata("INBOX", ["/private/a"], depth=Depth.INFINITY, max_octets=2))
        self.assertEqual((len(found), found.left_out), (2, r.LongEntries(3)))
        (inbox,) = wait(client.mailboxes("INBOX", returns=[MetadataReturn(("/private/a", "/private/x"))]))
        self.assertEqual(inbox.metadata, {"/private/a": b"1", "/private/x": None})
        found = wait(client.get_metadata("", ["/shared/admin"]))
        self.assertEqual(found, {"/shared/admin": b"mailto:postmaster@mail.example.org"})
        self.mail.annotations.most = 3
        error = self.refused(client.set_metadata("INBOX", {"/private/d": b"4"}))
        self.assertEqual(error.code_value, r.MetadataRefusal("TOOMANY"))
        large = self.refused(client.set_metadata("INBOX", {"/private/a": b"x" * 1_000_000}))
        assert isinstance(large.code_value, r.MetadataRefusal), large
        self.assertEqual(large.code_value.reason, "MAXSIZE")
        self.assertTrue(large.code_value.size_octets)

    def test_quotas(self) -> None:
        """QUOTA with both resources; what an EXPUNGE would give back; a quota that is exceeded."""
        client, wait = self.client, self.wait
        self.mail.annotations.limits = (2048, 4)
        found = wait(client.quota())
        self.assertEqual((found["STORAGE"], found["MESSAGE"]), (r.ResourceUse(1, 2), r.ResourceUse(3, 4)))
        self.assertEqual(found["MESSAGE"].limit, 4)
        roots = wait(client.quota_roots("INBOX"))
        self.assertEqual((roots.roots, roots.quotas[""]["MESSAGE"].usage), (("",), 3))
        self.assertEqual(client.offered("QUOTA"), {"RES-STORAGE", "RES-MESSAGE"})
        wait(client.store([1, 2], StoreMode.ADD, ["\\Deleted"]))
        items = (StatusItem.DELETED, StatusItem.DELETED_STORAGE, StatusItem.SIZE, StatusItem.MAILBOXID)
        status = wait(client.status("inbox", items))
        octets = sum(map(len, LETTERS))
        self.assertEqual((status.deleted, status.size_octets), (2, octets))
        self.assertEqual(status.deleted_octets, octets - len(LETTERS[2]))
        self.assertTrue(status.mailbox_id)
        self.assertIsNone(status.messages)


class SharingTests(CapabilityCase):
    def test_rights(self) -> None:
        """ACL, RIGHTS=, LIST-MYRIGHTS and NAMESPACE."""
        client, wait = self.client, self.wait
        wait(client.create("Box"))
        wait(client.set_acl("Box", "bob", "lr"))
        wait(client.set_acl("Box", "bob", "+s"))
        self.assertEqual(set(wait(client.get_acl("Box"))["bob"]), set("lrs"))
        rights = wait(client.list_rights("Box", "bob"))
        self.assertIn("r", "".join(rights.optional))
        self.assertEqual(client.offered("RIGHTS"), {"KXTE"})
        bob = self.open_as("bob")
        names = wait(bob.namespace())
        (other,) = names.other
        shared = f"{other[0]}alice{other[1]}Box"
        self.assertEqual(set(wait(bob.my_rights(shared))), set("lrs"))
        asked: list[ListOption] = [
            ListReturn.MYRIGHTS,
            ListReturn.CHILDREN,
            StatusReturn((StatusItem.MESSAGES,)),
        ]
        found = {one.name: one for one in wait(bob.mailboxes(returns=asked))}
        self.assertEqual(set(found[shared].rights or ""), set("lrs"))
        self.assertEqual((found[shared].status.messages, found["INBOX"].status.messages), (0, 0))
        wait(client.delete_acl("Box", "bob"))
        self.assertNotIn("bob", wait(client.get_acl("Box")))

    def test_urls(self) -> None:
        """URLAUTH: a URL is made of its parts, read by whom it is for, and worth nothing afterwards."""
        client, wait = self.client, self.wait
        self.assertEqual(
            client.selected.url_mechanisms if client.selected else (), (r.UrlMechanism("INTERNAL"),)
        )
        url = IMAPURL("INBOX", 1, "TEXT", user="alice", host="x.example", uidvalidity=None)
        expire = self.clock.seconds() + 3600
        (made,) = wait(client.make_urls([evolve(url, authorization=Authorization("user+bob", expire))]))
        self.assertIn(";URLAUTH=user+bob:internal:", made)
        bob = self.open_as("bob")
        spoilt = made[:-1] + ("0" if made[-1] != "0" else "1")
        self.assertEqual(
            wait(bob.read_urls([made, spoilt])), {made: b"Si vis pacem, para bellum.\r\n", spoilt: None}
        )
        wait(client.reset_urls("INBOX"))
        self.assertEqual(wait(bob.read_urls([made])), {made: None})
        with self.assertRaises(ValueError):
            run_now(Scripted().make_urls([url]))


class NewsTests(CapabilityCase):
    def test_notify(self) -> None:
        """NOTIFY: events by types; each comes as its notice."""
        client, wait = self.client, self.wait
        wait(client.create("Lists"))
        groups = (
            EventGroup(FilterKind.SELECTED, (), BOTH, (f.Uid(), f.Preview())),
            EventGroup(
                FilterKind.PERSONAL,
                (),
                BOTH
                | {
                    Event.FLAG_CHANGE,
                    Event.MAILBOX_NAME,
                    Event.SUBSCRIPTION_CHANGE,
                    Event.MAILBOX_METADATA_CHANGE,
                },
            ),
        )
        wait(client.notify(groups, status=True))
        (status,) = [one for one in self.notices if isinstance(one, MailboxStatus)]
        self.assertEqual((status.mailbox, status.items.messages), ("Lists", 0))
        other = self.open_as("alice")
        self.notices.clear()
        self.mail.add("INBOX", LETTERS[0])
        wait(other.append("Lists", NewMail(LETTERS[0])))
        wait(other.rename("Lists", "Listen"))
        wait(other.subscribe("Listen"))
        wait(other.set_metadata("Listen", {"/private/comment": b"x"}))
        wait(client.noop())
        new = [one.message for one in self.notices if isinstance(one, MessageChanged)]
        self.assertEqual([(one.uid, one.preview) for one in new], [(4, "Si vis pacem, para bellum.")])
        told = [one for one in self.notices if isinstance(one, MailboxStatus)]
        self.assertEqual((told[0].mailbox, told[0].items.messages), ("Lists", 1))
        listed = [one for one in self.notices if isinstance(one, MailboxListed)]
        self.assertIn(("Listen", "Lists"), [(one.mailbox, one.old_name) for one in listed])
        self.assertIn(MetadataChanged("Listen", ("/private/comment",)), self.notices)
        self.assertNotIn(NotificationsLost(), self.notices)
        wait(client.notify([]))

    def test_unknown_events(self) -> None:
        """RFC 5465 section 3.1: the server says which events there are."""
        group = EventGroup(FilterKind.PERSONAL, (), frozenset({Event.ANNOTATION_CHANGE}) | BOTH)
        code = self.refused(self.client.notify([group])).code_value
        assert isinstance(code, r.SupportedEvents), code
        self.assertIn("MessageNew", code.names)


class ConnectionTests(CapabilityCase):
    def test_not_written(self) -> None:
        """Arguments that would be another command are an error of who gave them; the connection goes on."""
        client = self.client
        for asked in (
            client.store([1], StoreMode.ADD, ["x\r\nA9 DELETE Notes"]),
            client.search("ALL\nA9 LOGOUT"),
            client.fetch([1], ["FLAGS)\r\nA9 LOGOUT\r\n"]),
            client.store([1], StoreMode.ADD, ["\u00e9t\u00e9"]),
            client.append("INBOX", NewMail([])),
        ):
            self.failureResultOf(Deferred.fromCoroutine(asked), ValueError)
        self.assertEqual(self.numbers(client.search("ALL")), [1, 2, 3])

    def test_unauthenticate(self) -> None:
        """COMPRESS, LANGUAGE, then UNAUTHENTICATE and another user on the same connection."""
        client, wait = self.client, self.wait
        wait(client.compress())
        self.assertTrue(client.machine.compressed)
        self.assertIn("en", [tag.lower() for tag in wait(client.language())])
        self.assertEqual([tag.lower() for tag in wait(client.language("en"))], ["en"])
        wait(client.unauthenticate())
        self.assertIsNone(client.selected)
        self.assertFalse(client.machine.compressed)
        wait(client.login(Credentials("bob", "secret")))
        self.assertEqual(wait(client.status("INBOX", [StatusItem.MESSAGES])).messages, 0)

    def test_progress(self) -> None:
        """INPROGRESS: how far a long command is comes while it is under way."""
        waiting: Deferred[None] = Deferred()

        async def check(connection: Any, command: Check) -> None:
            connection.progress = (175, 1000)
            await waiting

        self.factory.surroundings = evolve(
            self.factory.surroundings, handlers={**self.factory.surroundings.handlers, Check: check}
        )
        client = self.open()
        self.wait(client.select("INBOX"))
        checking = Deferred.fromCoroutine(client.check())
        for seconds in (0, 1):
            self.pumps[-1].flush()
            self.clock.advance(seconds)
        self.pumps[-1].flush()
        (told,) = [one for one in self.notices if isinstance(one, Progressed)]
        self.assertEqual((told.done, told.goal), (175, 1000))
        self.assertNoResult(checking)
        waiting.callback(None)
        self.pumps[-1].flush()
        self.successResultOf(checking)

    def test_offered(self) -> None:
        """What capabilities say behind their ``=``."""
        self.assertEqual(self.client.offered_number("MESSAGELIMIT"), 100)
        self.assertTrue(self.client.offered_number("APPENDLIMIT"))
        self.assertIsNone(self.client.offered_number("QUOTA"))
        self.assertEqual(self.client.offered("THREAD"), {"REFERENCES", "ORDEREDSUBJECT"})
        self.assertEqual(self.client.offered("I18NLEVEL"), {"1"})

    def test_not_offered(self) -> None:
        """What is typed is not sent to a server that has not announced it; what it implies is known."""
        poor = Scripted(
            capabilities="IMAP4rev1 SORT ESEARCH THREAD=REFERENCES METADATA LIST-EXTENDED NOTIFY MULTISEARCH"
        )
        for work in (
            poor.search(k.Not(k.Younger(5))),
            poor.search(k.Fuzzy(k.TextContains("x"))),
            poor.search(k.Filter("x")),
            poor.search(returns=[Partial(1, 5)]),
            poor.search(returns=[SearchReturn.UPDATE]),
            poor.search_everywhere("personal", k.SaveDateSupported()),
            poor.sort([SortKey.DISPLAYTO]),
            poor.sort([SortCriterion(SortKey.RELEVANCY, reverse=True)]),
            poor.sort("DATE", returns=[SearchReturn.CONTEXT]),
            poor.sort([SortKey.DATE], returns=[SearchReturn.ALL]),
            poor.search(returns=[SearchReturn.RELEVANCY]),
            poor.thread(ThreadAlgorithm.ORDEREDSUBJECT),
            poor.fetch([1], [f.Preview()]),
            poor.fetch([1], [f.Uid()], modifiers=FetchModifiers(changed_since=5)),
            poor.fetch([1], [f.Uid()], modifiers=FetchModifiers(partial=Partial(1, 5))),
            poor.mailboxes(returns=[StatusReturn((StatusItem.MESSAGES,))]),
            poor.mailboxes(returns=[MetadataReturn(("/shared/x",))]),
            poor.mailboxes(returns=[ListReturn.MYRIGHTS]),
            poor.create("x", special_use=["\\Sent"]),
            poor.select("x", condstore=True),
            poor.select("x", qresync=QResync(1, 1)),
            poor.status("x", [StatusItem.DELETED_STORAGE]),
            poor.notify([EventGroup(FilterKind.SELECTED, (), BOTH, (f.Preview(),))]),
        ):
            with self.assertRaises(NotOfferedError):
                run_now(work)
        self.assertEqual(poor.said, [])
        plain = Scripted(capabilities="IMAP4rev1 SORT ESORT CONTEXT=SEARCH")
        bare = Scripted(capabilities="IMAP4rev1")
        for work in (
            bare.search(returns=[SearchReturn.ALL]),
            bare.mailboxes("a", "b"),
            bare.mailboxes(selection=[ListSelection.SUBSCRIBED]),
            bare.mailboxes(returns=[ListReturn.CHILDREN]),
            plain.sort([SortKey.DATE], returns=[Partial(1, 5)]),
            plain.search(returns=[Partial(-1, -5)]),
        ):
            with self.assertRaises(NotOfferedError):
                run_now(work)
        self.assertEqual((plain.said, bare.said), ([], []))
        run_now(plain.search(returns=[Partial(1, 5)]))
        rev2 = Scripted(capabilities="IMAP4rev2 QRESYNC CONTEXT=SORT SORT MESSAGELIMIT=100 APPENDLIMIT=5")
        for work in (
            rev2.search(k.And((k.ModSeqAtLeast(5), k.UidAfter(7))), returns=[SearchReturn.SAVE]),
            rev2.sort([SortKey.DATE], returns=[SearchReturn.UPDATE, Partial(1, 5)]),
            rev2.mailboxes(returns=[StatusReturn((StatusItem.SIZE, StatusItem.APPENDLIMIT))]),
        ):
            run_now(work)
        self.assertEqual(len(rev2.said), 3)


class LimitedTests(CapabilityCase):
    messages = 2

    def test_limit(self) -> None:
        """RFC 9738: results say how far they are; COPY says why not."""
        client, wait = self.client, self.wait
        limit = r.MessageLimit(2, 2)
        for work in (
            client.fetch(EVERYTHING, [f.Uid()]),
            client.search(k.HasFlag("\\Seen", present=False)),
            client.sort([SortKey.DATE]),
            client.thread(),
            client.store(EVERYTHING, StoreMode.ADD, ["$Important"]),
        ):
            self.assertEqual(wait(work).limited, limit)
        wait(client.create("Box"))
        self.assertEqual(self.refused(client.copy(EVERYTHING, "Box")).imap_code, "MESSAGELIMIT")
