"""The machine: uploads, compression, and what a hostile server may not do."""

from __future__ import annotations

import zlib

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.client import machine
from moxtwisted.imap.client.machine import (
    BodyData,
    BodyEnded,
    BodyStarted,
    Client,
    ClientEvent,
    Completed,
    Data,
    Failed,
    Idling,
    NotWritten,
    Unsolicited,
    Upload,
)
from moxtwisted.imap.client.requests import UploadPart, UrlPart, append, plain
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire.commands import Enable, StoreMode
from moxtwisted.imap.wire.responses import ResponseLimits
from moxtwisted.imap.wire.sequence import SequenceSet


class MachineCase(SynchronousTestCase):
    def client(self, capabilities: str = "IMAP4rev1", limits: ResponseLimits | None = None) -> Client:
        """A client that was greeted."""
        client = Client(limits)
        self.events(client, f"* OK [CAPABILITY {capabilities}] hi\r\n".encode())
        return client

    def events(self, client: Client, octets: bytes = b"") -> list[ClientEvent]:
        """The events of these octets."""
        client.receive(octets)
        found: list[ClientEvent] = []
        while (event := client.next_event()) is not None:
            found.append(event)
        return found


class UploadTests(MachineCase):
    REQUEST = append("x", [((), None, [UploadPart(6)])])

    def test_waits_for_the_server(self) -> None:
        """A synchronising literal is asked for after the continuation; commands behind it wait."""
        client = self.client()
        client.request(self.REQUEST)
        client.logout()
        self.assertEqual(client.data_to_send(), b"A1 APPEND x {6}\r\n")
        self.assertEqual(self.events(client, b"+ go\r\n"), [Upload(b"A1", 6)])
        self.assertEqual(client.feed(b"abc"), 3)
        self.assertRaises(ValueError, client.feed, b"defg")
        self.assertEqual(client.feed(b"def"), 0)
        self.assertEqual(client.data_to_send(), b"abcdef\r\nA2 LOGOUT\r\n")
        self.assertRaises(ValueError, client.feed, b"x")

    def test_need_not_wait(self) -> None:
        """With LITERAL+, octets are asked for at once; with LITERAL- only small ones."""
        client = self.client("IMAP4rev1 LITERAL+")
        client.request(self.REQUEST)
        self.assertEqual(self.events(client), [Upload(b"A1", 6)])
        self.assertEqual(client.data_to_send(), b"A1 APPEND x {6+}\r\n")
        client = self.client("IMAP4rev1 LITERAL-")
        client.request(append("x", [((), None, [UploadPart(4096)]), ((), None, [UploadPart(4097)])]))
        self.assertEqual(client.data_to_send(), b"A1 APPEND x {4096+}\r\n")
        client.feed(b"a" * 4096)
        self.assertEqual(client.data_to_send(), b"a" * 4096 + b" {4097}\r\n")

    def test_utf8(self) -> None:
        """RFC 9755 section 4: what is said to have UTF-8 in its header is marked, once UTF8=ACCEPT is enabled."""
        for name, head, tail in (("IMAP4rev2", "{6+}", ""), ("UTF8=ACCEPT", "UTF8 (~{6+}", ")")):
            client = self.client("IMAP4rev1 LITERAL+ ENABLE")
            self.events(client, f"* ENABLED {name}\r\n".encode())
            client.request(append("x", [((), None, [UploadPart(6, utf8=True)])]))
            client.feed(b"abcdef")
            self.assertEqual(client.data_to_send(), f"A1 APPEND x {head}\r\nabcdef{tail}\r\n".encode())

    def test_utf8_part(self) -> None:
        """RFC 9755 section 4: in CATENATE that mark stands in the place of TEXT."""
        client = self.client("IMAP4rev1 LITERAL+ ENABLE")
        self.events(client, b"* ENABLED UTF8=ACCEPT\r\n")
        client.request(
            append("x", [((), None, ["a: \u00e9\r\n\r\n".encode(), b"b", UploadPart(2, utf8=True)])])
        )
        client.feed(b"cd")
        self.assertEqual(
            client.data_to_send(),
            b"A1 APPEND x CATENATE (UTF8 (~{9+}\r\na: \xc3\xa9\r\n\r\n) TEXT {1+}\r\nb UTF8 (~{2+}\r\ncd))\r\n",
        )

    def test_catenate_and_replace(self) -> None:
        """RFC 4469 section 3 and RFC 8508 section 4: parts, and another command's word."""
        client = self.client("IMAP4rev1 LITERAL+")
        url = "/INBOX;UIDVALIDITY=785799047/;UID=113330/;section=1.5.9"
        client.request(append("Drafts", [(("\\Seen",), None, [b"head", UrlPart(url), UploadPart(2)])]))
        client.feed(b"ab")
        client.request(append("Drafts", [((), None, b"text")], word="UID REPLACE", number=7))
        self.assertEqual(
            client.data_to_send(),
            b"A1 APPEND Drafts (\\Seen) CATENATE (TEXT {4+}\r\nhead URL "
            + url.encode()
            + b" TEXT {2+}\r\nab)\r\n"
            b"A2 UID REPLACE 7 Drafts {4+}\r\ntext\r\n",
        )

    def test_refused(self) -> None:
        """A refusal before the octets spares them; one in their middle ends the command after the literal."""
        client = self.client()
        client.request(self.REQUEST)
        client.logout()
        client.data_to_send()
        (done,) = self.events(client, b"A1 NO [OVERQUOTA] full\r\n")
        self.assertIsInstance(done, Completed)
        self.assertEqual(client.data_to_send(), b"A2 LOGOUT\r\n")
        client = self.client("IMAP4rev1 LITERAL+")
        client.request(append("x", [((), None, [UploadPart(2)]), ((), None, [UploadPart(2)])]))
        client.logout()
        self.assertEqual(self.events(client), [Upload(b"A1", 2)])
        client.feed(b"a")
        client.data_to_send()
        self.assertEqual(len(self.events(client, b"A1 NO full\r\n")), 1)
        self.assertEqual(client.data_to_send(), b"")
        client.feed(b"b")
        self.assertEqual(client.data_to_send(), b"b\r\nA2 LOGOUT\r\n")


class WritingTests(MachineCase):
    def test_not_written(self) -> None:
        """What would end the line and begin another command is not sent, nor anything of its command; the next one goes its way."""
        for bad in ("a\r\nA9 LOGOUT", "a\nb", "a\0", "\u00e9"):
            client = self.client()
            tag = client.store(SequenceSet.of([1]), StoreMode.ADD, [bad])
            client.idle()
            (event,) = self.events(client)
            assert isinstance(event, NotWritten), event
            self.assertEqual(event.tag, tag)
            self.assertIsInstance(event.error, ValueError)
            self.assertEqual(client.data_to_send(), b"A2 IDLE\r\n")

    def test_no_literal_that_does_not_follow(self) -> None:
        """Nor is a command whose end announces a literal, for which the server would take the next command; what only looks so is."""
        for bad in ("SUBJECT {100+}", "SUBJECT {100}", "x ~{7+}"):
            client = self.client("IMAP4rev1 LITERAL+")
            client.request(plain("SEARCH", bad.encode()))
            client.send(Enable(b"A9", (bad,)))
            self.assertEqual([type(event) for event in self.events(client)], [NotWritten] * 2, bad)
            self.assertEqual(client.data_to_send(), b"")
        client = self.client("IMAP4rev1 LITERAL+")
        client.login("alice", "p\u00e4ss{5}")
        client.select("{5}")
        client.request(plain("SEARCH", b"SUBJECT {5} ALL"))
        self.assertEqual(self.events(client), [])
        self.assertEqual(
            client.data_to_send(),
            b'A1 LOGIN alice {8+}\r\np\xc3\xa4ss{5}\r\nA2 SELECT "{5}"\r\nA3 SEARCH SUBJECT {5} ALL\r\n',
        )

    def test_not_written_later(self) -> None:
        """The same for one that had to wait for another one."""
        client = self.client()
        client.idle()
        client.request(plain("FETCH", b"1 (FLAGS)\r\nA9 LOGOUT"))
        client.logout()
        client.data_to_send()
        _done, event = self.events(client, b"+ idling\r\nA1 OK done\r\n")[1:]
        assert isinstance(event, NotWritten), event
        self.assertEqual(event.tag, b"A2")
        self.assertEqual(client.data_to_send(), b"A3 LOGOUT\r\n")


class EarlyTests(MachineCase):
    def failure(self, client: Client, octets: bytes) -> str:
        """Why the machine gives up after these octets."""
        event = self.events(client, octets)[-1]
        assert isinstance(event, Failed), event
        return event.reason

    def test_news_before_idle_is_granted(self) -> None:
        """They are told at once, before those that come during IDLE, and so are those behind DONE."""
        client = self.client()
        client.idle()
        self.assertEqual(self.events(client, b"* 5 EXISTS\r\n"), [Unsolicited(r.Exists(5))])
        self.assertEqual(
            self.events(client, b"+ idling\r\n* 6 EXISTS\r\n"), [Idling(b"A1"), Unsolicited(r.Exists(6))]
        )
        client.done()
        news, done = self.events(client, b"* 7 EXISTS\r\nA1 OK done\r\n")
        self.assertEqual(news, Unsolicited(r.Exists(7)))
        assert isinstance(done, Completed), done
        self.assertEqual(done.responses, ())

    def test_idle_that_did_not_begin(self) -> None:
        """IDLE cannot be carried out without having begun, whether or not its end is wanted already; refused it may be."""
        for ended in (False, True):
            client = self.client()
            client.idle()
            if ended:
                client.done()
            self.assertIn("before it was said", self.failure(client, b"A1 OK idled\r\n"))
        client = self.client()
        client.idle()
        (event,) = self.events(client, b"A1 NO not now\r\n")
        self.assertIsInstance(event, Completed)

    def test_literal_that_was_not_sent(self) -> None:
        """Nor can a command whose literal was not asked for, or is still on its way: a message would be lost that is said to be kept."""
        request = append("x", [((), None, [UploadPart(6)])])
        client = self.client()
        client.request(request)
        self.assertIn("before it was said", self.failure(client, b"A1 OK appended\r\n"))
        client = self.client()
        client.request(request)
        self.events(client, b"+ go\r\n")
        client.feed(b"abc")
        self.assertIn("before it was said", self.failure(client, b"A1 OK appended\r\n"))
        client = self.client()
        client.login("alice", "p\u00e4ss")
        self.assertIn("before it was said", self.failure(client, b"A1 OK welcome\r\n"))

    def test_enabled_before_tls(self) -> None:
        """What somebody said before TLS does not change how names are written."""
        client = self.client()
        client.starttls()
        self.events(client, b"* ENABLED UTF8=ACCEPT\r\nA1 OK go\r\n")
        client.tls_started()
        self.assertFalse(client.utf8)


class OrderTests(MachineCase):
    def test_later_one_first(self) -> None:
        """RFC 9051 section 5.5: a server may carry out the later of two searches first; ESEARCH says which one it answers."""
        client = self.client()
        first, second = (client.request(plain("UID SEARCH", b"RETURN (COUNT) ALL")) for _ in range(2))
        octets = b'* ESEARCH (TAG "A2") UID COUNT 2\r\n* 7 EXISTS\r\nA2 OK done\r\n* ESEARCH (TAG "A1") UID COUNT 1\r\nA1 OK done\r\n'
        found = {}
        for event in self.events(client, octets):
            assert isinstance(event, Completed), event
            found[event.tag] = [one.items for one in event.responses if isinstance(one, r.EsearchData)]
        self.assertEqual(found, {first: [{"COUNT": 1}], second: [{"COUNT": 2}]})


class StreamTests(MachineCase):
    def test_bodies_and_data(self) -> None:
        """A command given so hands its data over at once, and large sections in pieces; others keep theirs."""
        client = self.client()
        client.request(plain("FETCH", b"1:2 BODY[]"), deliver=True, stream_octets=5)
        client.request(plain("FETCH", b"3 BODY[]"))
        events = self.events(
            client,
            b"* 1 FETCH (BODY[] {3}\r\nabc)\r\n* 2 FETCH (BODY[] {6}\r\nabcdef)\r\nA1 OK done\r\n"
            b"* 3 FETCH (BODY[] {6}\r\nghijkl)\r\nA2 OK done\r\n",
        )
        self.assertEqual(
            events[:5],
            [
                Data(b"A1", r.Fetched(1, {"BODY[]": b"abc"})),
                BodyStarted(b"A1", 2, None, "BODY[]", 6),
                BodyData(b"abcdef"),
                BodyEnded(),
                Data(b"A1", r.Fetched(2, {"BODY[]": r.Streamed(6)})),
            ],
        )
        self.assertEqual(
            [event.responses for event in events if isinstance(event, Completed)],
            [(), (r.Fetched(3, {"BODY[]": b"ghijkl"}),)],
        )


class CompressionTests(MachineCase):
    def compressed(self) -> tuple[Client, zlib._Compress]:
        """A client that compresses, and the server's compressor."""
        client = self.client()
        client.request(plain("COMPRESS", b"DEFLATE"))
        client.logout()
        self.assertEqual(client.data_to_send(), b"A1 COMPRESS DEFLATE\r\n")
        packer = zlib.compressobj(wbits=-15)
        first = packer.compress(b"* 3 EXISTS\r\n") + packer.flush(zlib.Z_SYNC_FLUSH)
        self.assertEqual(len(self.events(client, b"A1 OK active\r\n" + first)), 1)
        return client, packer

    def test_both_ways(self) -> None:
        """RFC 4978 section 3: what follows the OK is compressed, in both directions."""
        client, packer = self.compressed()
        self.assertEqual(zlib.decompressobj(-15).decompress(client.data_to_send()), b"A2 LOGOUT\r\n")
        octets = packer.compress(b"* BYE bye\r\nA2 OK bye\r\n") + packer.flush(zlib.Z_SYNC_FLUSH)
        (done,) = [event for at in range(len(octets)) for event in self.events(client, octets[at : at + 1])]
        self.assertIsInstance(done, Completed)

    def test_bombs(self) -> None:
        """Few octets that unpack to many meet the same limits; a damaged stream ends the connection."""
        client, packer = self.compressed()
        bomb = packer.compress(b"* " + b"x" * 100_000_000) + packer.flush(zlib.Z_SYNC_FLUSH)
        self.assertLess(len(bomb), 200_000)
        self.assertEqual([type(event) for event in self.events(client, bomb)], [Failed])
        client, _ = self.compressed()
        self.assertEqual([type(event) for event in self.events(client, b"\xff" * 100)], [Failed])

    def test_unauthenticate(self) -> None:
        """RFC 8437 section 3: compression and what was enabled end."""
        client, packer = self.compressed()
        octets = packer.compress(b"* ENABLED IMAP4REV2\r\nA2 OK x\r\n") + packer.flush(zlib.Z_SYNC_FLUSH)
        self.events(client, octets)
        self.assertTrue(client.utf8)
        client.request(plain("UNAUTHENTICATE"))
        client.data_to_send()
        self.events(client, packer.compress(b"A3 OK nobody\r\n") + packer.flush(zlib.Z_SYNC_FLUSH))
        self.assertEqual((client.utf8, client.compressed, client.capabilities), (False, False, frozenset()))
        client.logout()
        self.assertEqual(client.data_to_send(), b"A4 LOGOUT\r\n")


class LimitTests(MachineCase):
    def test_responses_are_counted(self) -> None:
        """Data for one command is bounded by number and by octets."""
        for name, limit in (("MAX_RESPONSES", 10), ("MAX_HELD_OCTETS", 200)):
            self.patch(machine, name, limit)
            client = self.client()
            client.request(plain("NOOP"))
            events = self.events(client, b"* 1 FETCH (UID 1 FLAGS ())\r\n" * 11)
            self.assertEqual(events, [Failed("too many responses")])
            self.assertEqual(self.events(client, b"A1 OK\r\n"), [])

    def test_lines_and_literals(self) -> None:
        """A line, a literal and a response have limits, whatever the cuts."""
        limits = ResponseLimits(line_octets=50, literal_octets=20, response_octets=30)
        for octets in (
            b"* OK " + b"x" * 60,
            b"* LIST () NIL {21}\r\n",
            b"* STATUS {20}\r\n" + b"x" * 20 + b" (A {20}\r\n",
        ):
            for size in (1, 1000):
                client = self.client(limits=limits)
                found = [
                    event
                    for at in range(0, len(octets), size)
                    for event in self.events(client, octets[at : at + size])
                ]
                self.assertEqual([type(event) for event in found], [Failed], octets)

    def test_strange_answers(self) -> None:
        """A tagged BYE, and an answer to STARTTLS with octets behind it, end the connection."""
        client = self.client()
        client.request(plain("NOOP"))
        self.assertEqual([type(e) for e in self.events(client, b"A1 BYE bye\r\n")], [Failed])
        client = self.client()
        client.starttls()
        self.assertEqual([type(e) for e in self.events(client, b"A1 OK go\r\nx")], [Failed])
