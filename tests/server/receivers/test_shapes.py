"""Messages, answers and errors as plain values, and back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import msgspec
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.address import Address, IPLiteral, Path
from moxtwisted.identifiers import Domain
from moxtwisted.message.headers import Header
from moxtwisted.server.directory import Delivery, Recipients
from moxtwisted.server.inbound.outcome import Complete
from moxtwisted.server.inbound.presence import Presence
from moxtwisted.server.inbound.room import Asked
from moxtwisted.server.receivers.packing import ShapeError
from moxtwisted.server.receivers.shapes import (
    read_answer,
    read_asked,
    read_complete,
    read_reply,
    write_answer,
    write_asked,
    write_complete,
    write_reply,
)
from moxtwisted.server.scanners.milters import _body
from moxtwisted.smtp.envelope import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    MailParameters,
    RcptParameters,
    Recipient,
    Transaction,
)
from moxtwisted.smtp.replies import Reply
from moxtwisted.store.interfaces import IStagedMessage
from tests.server.judgement.samples import HEADER, path
from tests.server.receivers.crossing import ALICE, Elsewhere, across, complete, far


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


TEXTS = st.text(max_size=20)
REPLIES = st.builds(
    Reply,
    st.integers(200, 599),
    st.sampled_from(("", "2.1.5", "4.7.1", "5.7.999")),
    st.lists(st.text(st.characters(), max_size=20).filter(_encodable), min_size=1, max_size=3),
    close=st.booleans(),
    slow=st.booleans(),
)
#: Whatever MessagePack can say.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip

LOCALPARTS = st.sampled_from(
    ("alice", "john doe", 'q"uo\\te', "münchen", "a" * 64, "v" * 300, "a.b+c", "@", "postmaster")
)
DOMAINS = st.sampled_from(
    (Domain("a.example"), Domain.parse("münster.example"), Domain("xn--a.example"), IPLiteral.parse("[192.0.2.1]"),
     IPLiteral.parse("[IPv6:2001:db8::1]"))
)  # fmt: skip
PATHS = st.sampled_from((Path(None), Path(None, True))) | st.builds(
    Path, st.builds(Address, LOCALPARTS, DOMAINS)
)
TIMES = st.datetimes(timezones=st.sampled_from((UTC, timezone(timedelta(hours=5, minutes=30)))))
EXTRA = st.dictionaries(st.text("ABC", min_size=1, max_size=3), st.none() | TEXTS, max_size=2)
MAIL = st.just(NO_MAIL_PARAMETERS) | st.builds(
    MailParameters, size=st.none() | st.integers(0, 2**63 - 1), body=st.sampled_from(("7BIT", "8BITMIME", "BINARYMIME")),
    auth=st.none() | TEXTS, smtputf8=st.booleans(), ret=st.sampled_from((None, "FULL", "HDRS")), envid=st.none() | TEXTS,
    require_tls=st.booleans(), prdr=st.booleans(), hold_for_seconds=st.none() | st.integers(0, 10**9),
    hold_until=st.none() | TIMES, extra=EXTRA,
)  # fmt: skip
NOTIFY = st.just(frozenset(("NEVER",))) | st.frozensets(
    st.sampled_from(("SUCCESS", "FAILURE", "DELAY")), min_size=1
)
RCPT = st.just(NO_RCPT_PARAMETERS) | st.builds(
    RcptParameters,
    notify=st.none() | NOTIFY,
    orcpt=st.none() | st.tuples(st.just("rfc822"), TEXTS),
    extra=EXTRA,
)
PLACES = st.builds(
    Recipients,
    st.lists(st.builds(Delivery, TEXTS, TEXTS, TEXTS), min_size=1, max_size=3).map(tuple),
    st.booleans(),
    alias=st.booleans(),
)
TRANSACTIONS = st.builds(
    Transaction, PATHS, MAIL, st.lists(st.builds(Recipient, PATHS, RCPT), min_size=1, max_size=4), st.integers(0, 9),
    st.integers(0, 10**9), st.booleans(),
)  # fmt: skip


def deliveries(found: Recipients) -> tuple[Any, ...]:
    """All that is said of a recipient; equality passes over some of it."""
    return [d.place for d in found.deliveries], found.public, found.alias


class Answers(SynchronousTestCase):
    """What goes back."""

    @given(REPLIES)
    @settings(max_examples=100, deadline=None)
    def test_reply(self, reply: Reply) -> None:
        """A reply is the same reply, and the same octets on the wire."""
        there = read_reply(across(write_reply(reply)))
        assert there is not None
        self.assertEqual(there, reply)
        self.assertEqual(there.wire(), reply.wire())

    def test_no_reply(self) -> None:
        """None is none."""
        self.assertIsNone(read_reply(across(write_reply(None))))

    @given(st.none() | REPLIES | st.lists(st.none() | REPLIES, max_size=3))
    @settings(max_examples=100, deadline=None)
    def test_answer(self, answer: Any) -> None:
        """One for all is told apart from one for each, and both from none."""
        there = read_answer(across(write_answer(answer)))
        self.assertEqual(there, answer)
        self.assertIs(type(there), type(answer))

    def test_sequences(self) -> None:
        """Any sequence is one for each."""
        reply = Reply(550, "5.1.1", "no")
        self.assertEqual(read_answer(across(write_answer((None, reply)))), [None, reply])

    def test_no_unicode(self) -> None:
        """Octets that were no text come back; what stands for no octets is a question mark."""
        for detail, expected in (("a\udcff", "a\udcff"), ("a\ud800", "a?")):
            reply = Reply(550, "5.1.1", detail)
            self.assertEqual(read_reply(across(write_reply(reply))), Reply(550, "5.1.1", expected))

    def test_room(self) -> None:
        """A question at RCPT crosses; how many octets a client says is cut where no message is so large."""
        asked = Asked(
            accounts=("alice", "bob"), octets=10**19, reverse_path=path(""), forward_path=ALICE, others=(path("b@c.example"),),
            judged=True, together=False, seconds=1.5,
        )  # fmt: skip
        self.assertEqual(read_asked(across(write_asked(asked))), evolve(asked, octets=2**48))

    @given(ANYTHING)
    @settings(max_examples=200, deadline=None)
    def test_garbage(self, plain: Any) -> None:
        """What is none of these is not read."""
        for read in (read_reply, read_answer, read_asked):
            try:
                found = read(plain)
            except ShapeError:
                continue
            self.assertIsInstance(found, Reply | list | Asked | None)

    def test_codes(self) -> None:
        """Codes are those that SMTP has."""
        good = (550, "5.7.1", [b"no"], False, False)
        self.assertEqual(read_reply(good), Reply(550, "5.7.1", "no"))
        for place, wrong in (
            (0, 199), (0, 600), (0, 550.0), (0, True), (0, "550"), (1, "5.7.1\r\n250 ok"), (1, "5.7.1\n"), (1, "3.0.0"), (1, None), (2, []),
            (2, ["no"]), (2, b"no"), (3, None), (4, 1),
        ):  # fmt: skip
            plain = [*good[:place], wrong, *good[place + 1 :]]
            self.assertRaises(ShapeError, read_reply, plain)
            self.assertRaises(ShapeError, read_answer, ["one", plain])
        self.assertRaises(ShapeError, read_reply, [*good, None])
        self.assertRaises(ShapeError, read_answer, ["both", good])


class Messages(SynchronousTestCase):
    """What comes."""

    def test_all(self) -> None:
        """A message is the same one there, but for its remarks."""
        here = complete(
            lmtp=True,
            incoming={"ip": "192.0.2.1", "hello": "[192.0.2.1]", "tls": False},
            trapped=(path("trap@example.org"),),
            remarks={"x": "y"},
        )
        there, octets = far(here)
        for name in ("transaction", "found", "received", "lmtp", "trapped", "sender", "separate"):
            self.assertEqual(getattr(there, name), getattr(here, name), name)
        self.assertEqual(there.remarks, {})
        for name in ("reverse_path", "recipients", "hello", "tls", "seconds", "session", "author", "ip"):
            self.assertEqual(getattr(there.incoming, name), getattr(here.incoming, name), name)
        self.assertEqual(there.incoming.header.octets, here.incoming.header.octets)
        staged = there.lease.staged
        self.assertIs(there.incoming.staged, staged)
        self.assertIs(there.incoming.header, staged.scanned.header)
        self.assertEqual(staged.rendered, here.lease.staged.rendered)
        self.assertEqual(octets.asked, 0)
        self.assertEqual(b"".join(staged.chunks()), HEADER + b"hello\r\n")
        self.assertEqual(list(staged.packed()), list(here.lease.staged.packed()))
        self.assertTrue(verifyObject(IStagedMessage, staged))
        there.lease.release()
        self.assertTrue(octets.closed)

    @given(TRANSACTIONS, st.lists(PLACES, min_size=1, max_size=3), st.booleans())
    @settings(max_examples=200, deadline=None)
    def test_envelopes(self, transaction: Transaction, places: list[Recipients], lmtp: bool) -> None:
        """Paths, parameters and places are those that were."""
        paths = [r.path for r in transaction.recipients]
        found = {one: places[i % len(places)] for i, one in enumerate(paths)}
        told = {"reverse_path": transaction.reverse_path, "recipients": tuple(paths)}
        here = complete(transaction=transaction, found=found, incoming=told, lmtp=lmtp)
        there, _ = far(here)
        self.assertEqual(there.transaction, transaction)
        self.assertEqual((there.sender, there.separate), (here.sender, here.separate))
        self.assertEqual(
            [(one, deliveries(where)) for one, where in there.found.items()],
            [(one, deliveries(where)) for one, where in found.items()],
        )
        self.assertEqual((there.incoming.reverse_path, there.incoming.recipients), tuple(told.values()))
        until = transaction.parameters.hold_until
        if until is not None:
            self.assertEqual(
                cast("datetime", there.transaction.parameters.hold_until).utcoffset(), until.utcoffset()
            )

    def test_nothing_said(self) -> None:
        """Without parameters there are the constants for those."""
        there, _ = far(complete())
        self.assertIs(there.transaction.parameters, NO_MAIL_PARAMETERS)
        self.assertIs(there.transaction.recipients[0].parameters, NO_RCPT_PARAMETERS)

    def test_other_envelope(self) -> None:
        """Whom a judge is told of need not be who is in the envelope."""
        told = {"reverse_path": path(""), "recipients": (path("x@example.org"), ALICE)}
        there, _ = far(complete(incoming=told))
        self.assertEqual((there.incoming.reverse_path, there.incoming.recipients), tuple(told.values()))
        self.assertEqual(there.transaction.reverse_path, path("mary@a.example"))

    def test_endless_size(self) -> None:
        """A client may declare a size for which there is no number."""
        transaction = Transaction(path(""), MailParameters(size=10**20 - 1), [Recipient(ALICE)])
        there, _ = far(complete(transaction=transaction))
        self.assertEqual(there.transaction.parameters.size, 2**63 - 1)

    def test_large(self) -> None:
        """Of a large message the structure crosses: nobody has to read it for that."""
        body = (
            b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
            b"--a\r\n\r\n" + b"text\r\n" * 20_000 + b"--a--\r\n"
        )
        for octets, asked in ((body, 0), (body[:60_000], 1)):
            here = complete(octets=HEADER[:-2] + octets)
            there, elsewhere = far(here)
            scanned = there.lease.staged.scanned
            self.assertEqual(scanned.root.children[0].lines, here.lease.staged.scanned.root.children[0].lines)
            self.assertEqual(scanned.header_size, here.lease.staged.scanned.header_size)
            self.assertEqual(elsewhere.asked, asked)

    def test_milter(self) -> None:
        """A milter gets the body, which is not scanned for that."""
        there, octets = far(complete())
        self.assertEqual(b"".join(_body(there.incoming)), b"hello\r\n")
        self.assertEqual(octets.asked, 1)

    def test_another_header(self) -> None:
        """A header that is not the message's would be judged instead of it: it is not written."""
        here = complete(incoming={"header": Header.parse(b"From: x@y.example\r\n\r\n")})
        self.assertRaises(ShapeError, write_complete, here)

    def test_same_header(self) -> None:
        """One that was read again is."""
        here = complete(incoming={"header": Header.parse(HEADER)})
        self.assertEqual(far(here)[0].incoming.header.octets, HEADER)


class Garbage(SynchronousTestCase):
    """What a receiver says that somebody took over."""

    def setUp(self) -> None:
        """A message that can be spoilt."""
        rcpt = RcptParameters(notify=frozenset(("NEVER",)), orcpt=("rfc822", "x"))
        sender = path("mary@a.example")
        mail = MailParameters(hold_until=datetime(2030, 1, 1, tzinfo=UTC))
        self.message = complete(transaction=Transaction(sender, mail, [Recipient(ALICE, rcpt)]))
        self.size = self.message.lease.staged.size
        self.plain = across(write_complete(self.message))
        self.whole = msgspec.msgpack.decode(self.plain[0])

    def read(self, plain: Any, size: Any = None) -> Complete | None:
        """A message; None for an error of the right kind, every other is raised."""
        octets = Elsewhere(self.message.lease.staged)
        try:
            found = read_complete(plain, octets, self.size if size is None else size, Presence())
        except ShapeError as e:
            self.assertLessEqual(len(str(e)), 600)
            self.assertFalse(octets.closed)
            return None
        self.assertIsInstance(found, Complete)
        return found

    def spoilt(self, change: Callable[[Any, Any], None]) -> Complete | None:
        """With something changed in it."""
        whole, verified = (msgspec.msgpack.decode(one) for one in self.plain)
        change(whole, verified)
        return self.read([msgspec.msgpack.encode(whole), msgspec.msgpack.encode(verified)])

    def with_other(self, place: int, value: object) -> Complete | None:
        """With another value at a place of the message."""
        return self.spoilt(lambda whole, _: whole.__setitem__(place, value))

    def test_as_it_is(self) -> None:
        """Without a change it is read."""
        self.assertIsNotNone(self.spoilt(lambda whole, verified: None))

    @given(ANYTHING)
    @settings(max_examples=200, deadline=None)
    def test_anything(self, plain: Any) -> None:
        """Something else is not read, nor within."""
        self.assertIsNone(self.read(plain))
        octets = msgspec.msgpack.encode(plain)
        self.assertIsNone(self.read([octets, self.plain[1]]))
        self.assertIsNone(self.read([self.plain[0], octets]))

    @given(st.data())
    @settings(max_examples=300, deadline=None)
    def test_one_thing(self, data: st.DataObject) -> None:
        """Whatever stands in the place of one thing: a message comes of it, or the right error."""
        value = data.draw(ANYTHING)

        def change(whole: Any, verified: Any) -> None:
            where = data.draw(st.sampled_from((whole, verified)))
            while True:
                place = data.draw(st.integers(0, len(where) - 1))
                if not isinstance(where[place], list) or not where[place] or data.draw(st.booleans()):
                    where[place] = value
                    return
                where = where[place]

        self.spoilt(change)

    @given(st.integers(0, 10_000), st.integers(0, 255), st.booleans())
    @settings(max_examples=300, deadline=None)
    def test_one_octet(self, place: int, octet: int, first: bool) -> None:
        """Nor does one wrong octet do anything else."""
        both = list(self.plain)
        one = both[not first]
        place %= len(one)
        both[not first] = one[:place] + bytes((octet,)) + one[place + 1 :]
        self.read(both)

    def test_sizes(self) -> None:
        """A size is a number, and not smaller than the header."""
        for size in (-1, 3, 2**60, "9", None, 1e6):
            with self.assertRaises(ShapeError, msg=repr(size)):
                read_complete(self.plain, Elsewhere(self.message.lease.staged), cast("int", size), Presence())

    def test_nowhere(self) -> None:
        """Every recipient leads somewhere, or is a trap."""
        self.assertIsNone(self.with_other(6, []))
        empty = msgspec.msgpack.encode([[], True, False])
        self.assertIsNone(self.with_other(6, [[b"<alice@example.org>", empty]]))

        def trap(whole: Any, _: Any) -> None:
            whole[6], whole[16] = [], [b"<alice@example.org>"]

        found = self.spoilt(trap)
        assert found is not None
        self.assertEqual(found.trapped, (ALICE,))

    def test_times(self) -> None:
        """Times are numbers that can be reckoned with, or have a zone."""
        for seconds in (float("nan"), float("inf"), -1.0, 1e300):
            self.assertIsNone(self.with_other(10, seconds))
        for text in ("2030-01-01T00:00:00", "never"):
            self.assertIsNone(self.with_other(1, [*self.whole[1][:9], text, {}]))

    def test_words(self) -> None:
        """What goes to scanners is printable, and an address is one."""
        for place in (8, 11):
            for text in ("a\r\nb", "a\0", "x" * 256):
                self.assertIsNone(self.with_other(place, text))
        for text in ("192.0.2.1\n", "localhost", "192.0.2.256", " "):
            self.assertIsNone(self.with_other(13, text))
        self.assertIsNotNone(self.with_other(13, ""))
        self.assertIsNotNone(self.with_other(13, "fe80::1%eth0"))

    def test_rendered(self) -> None:
        """What IMAP clients get as it is has no line ends but those of literals, which are not believed."""
        staged = self.message.lease.staged
        for place in (0, 1):
            rendered = [*self.whole[17][2]]
            rendered[place] = b'("x" NIL)\r\n* 1 EXISTS\r\n'
            found = self.with_other(17, [*self.whole[17][:2], rendered, None])
            assert found is not None
            self.assertEqual(found.lease.staged.rendered, staged.rendered)

    def test_literals(self) -> None:
        """Literals are the same when they are made anew."""
        here = complete(octets=b"Subject: gr\xfc\xdfe\r\n" + HEADER + b"x")
        self.assertIn(b"\n", here.lease.staged.rendered.envelope)
        there, octets = far(here)
        self.assertEqual(there.lease.staged.rendered, here.lease.staged.rendered)
        self.assertGreater(octets.asked, 0)

    def test_paths(self) -> None:
        """A path is one."""
        for octets in (b"", b"alice", b"<alice>", b"<a@b@c>", b"<\xff@a.example>", b"<a@a.example>\r\n"):
            self.assertIsNone(self.with_other(0, octets))


class Start(SynchronousTestCase):
    """A process begins."""

    def test_imports(self) -> None:
        """What verifies and judges is not there before the first message."""
        program = (
            "import sys, moxtwisted.server.receivers.shapes; "
            "print([m for m in sys.modules if m.startswith(('moxtwisted.mailauth', 'moxtwisted.server.judgement'))])"
        )
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        self.assertEqual(found.stdout.strip(), "[]")
