"""The client machine."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.client import (
    Challenge,
    Client,
    ClientEvent,
    Completed,
    Failed,
    Greeting,
    Idling,
    Outgoing,
    Unsolicited,
)
from moxtwisted.imap.wire import responsedata as r
from moxtwisted.imap.wire import searchkeys as k
from moxtwisted.imap.wire.commands import Enable, List, StoreMode
from moxtwisted.imap.wire.fetchattributes import BodySection, Flags
from moxtwisted.imap.wire.sequence import SequenceSet


class ClientCase(SynchronousTestCase):
    def greeted(self, greeting: bytes = b"* OK ready\r\n") -> Client:
        """A client that was greeted."""
        client = Client()
        self.assertIsInstance(self.events(client, greeting)[0], Greeting)
        return client

    def events(self, client: Client, data: bytes) -> list[ClientEvent]:
        """The events of these octets."""
        client.receive(data)
        found: list[ClientEvent] = []
        while (event := client.next_event()) is not None:
            found.append(event)
        return found


class CommandTests(ClientCase):
    def test_nothing_before_the_greeting(self) -> None:
        """Commands given early go out after the greeting."""
        client = Client()
        tag = client.login("alice", "secret")
        self.assertEqual(client.data_to_send(), b"")
        self.events(client, b"* OK [CAPABILITY IMAP4rev1 SASL-IR] ready\r\n")
        self.assertEqual(client.data_to_send(), b"A1 LOGIN alice secret\r\n")
        self.assertEqual(client.capabilities, {"IMAP4REV1", "SASL-IR"})
        event = self.events(client, b"A1 NO [AUTHENTICATIONFAILED] no\r\n")[0]
        assert isinstance(event, Completed)
        self.assertEqual((event.tag, event.ok), (tag, False))
        self.assertEqual(event.status.code, r.ResponseCode("AUTHENTICATIONFAILED"))

    def test_data_comes_with_its_command(self) -> None:
        """Data is handed over with the completion of the oldest command; what nobody asked for, at once."""
        client = self.greeted()
        client.select("INBOX", condstore=True)
        client.fetch(SequenceSet.parse(b"1:*"), [Flags(), BodySection(peek=True)], changed_since=5)
        client.search(k.HasFlag("\\Seen", present=False))
        client.store(SequenceSet.parse(b"7"), StoreMode.ADD, ["\\Seen"], silent=True)
        client.logout()
        self.assertEqual(
            client.data_to_send(),
            b"A1 SELECT INBOX (CONDSTORE)\r\nA2 UID FETCH 1:* (FLAGS BODY.PEEK[]) (CHANGEDSINCE 5)\r\n"
            b"A3 UID SEARCH CHARSET UTF-8 UNSEEN\r\nA4 UID STORE 7 +FLAGS.SILENT (\\Seen)\r\nA5 LOGOUT\r\n",
        )
        events = self.events(
            client,
            b"* 1 EXISTS\r\nA1 OK done\r\n* 1 FETCH (UID 7 FLAGS ())\r\nA2 OK done\r\n* SEARCH 7\r\nA3 OK done\r\n"
            b"A4 OK done\r\n* BYE bye\r\nA5 OK done\r\n* 2 EXISTS\r\n",
        )
        completed = [event for event in events if isinstance(event, Completed)]
        self.assertEqual(
            [event.responses for event in completed],
            [
                (r.Exists(1),),
                (r.Fetched(1, {"UID": 7, "FLAGS": ()}),),
                (r.SearchData((7,)),),
                (),
                (r.StatusResponse(None, "BYE", "bye"),),
            ],
        )
        self.assertEqual(events[-1], Unsolicited(r.Exists(2)))

    def test_literals_wait(self) -> None:
        """A literal waits for its continuation and holds back later commands."""
        client = self.greeted()
        client.append("INBOX", b"hello", ["\\Seen"])
        client.logout()
        self.assertEqual(client.data_to_send(), b"A1 APPEND INBOX (\\Seen) {5}\r\n")
        self.events(client, b"+ go\r\n")
        self.assertEqual(client.data_to_send(), b"hello\r\nA2 LOGOUT\r\n")

    def test_refused_literal(self) -> None:
        """When the literal is refused, the next command goes out."""
        client = self.greeted()
        client.append("INBOX", b"hello")
        client.logout()
        client.data_to_send()
        self.events(client, b"A1 NO [TRYCREATE] no\r\n")
        self.assertEqual(client.data_to_send(), b"A2 LOGOUT\r\n")

    def test_literals_that_need_not_wait(self) -> None:
        """With LITERAL+ none waits, with IMAP4rev2 no small one does."""
        client = self.greeted(b"* OK [CAPABILITY IMAP4rev1 LITERAL+] ready\r\n")
        client.append_many("x", [Outgoing(b"a"), Outgoing(b"\0")])
        self.assertEqual(client.data_to_send(), b"A1 APPEND x {1+}\r\na ~{1+}\r\n\0\r\n")
        client = self.greeted(b"* OK [CAPABILITY IMAP4rev2] ready\r\n")
        client.append("x", b"a" * 4096)
        client.append("x", b"a" * 4097)
        self.assertTrue(client.data_to_send().endswith(b"A2 APPEND x {4097}\r\n"))

    def test_enable(self) -> None:
        """Names are written in UTF-8 after ENABLED, and commands behind ENABLE wait for that."""
        client = self.greeted()
        client.send(Enable(client.new_tag(), ("IMAP4rev2",)))
        client.send(List(client.new_tag(), "", ("ü",)))
        self.assertEqual(client.data_to_send(), b"A1 ENABLE IMAP4rev2\r\n")
        self.events(client, b"* ENABLED IMAP4rev2\r\nA1 OK done\r\n")
        self.assertEqual(client.data_to_send(), 'A2 LIST "" "ü"\r\n'.encode())
        event = self.events(client, '* LIST () "/" "ü"\r\nA2 OK done\r\n'.encode())[0]
        assert isinstance(event, Completed)
        self.assertEqual(event.responses, (r.ListData((), "/", "ü"),))


class DialogueTests(ClientCase):
    def test_idle(self) -> None:
        """During IDLE data is handed over at once."""
        client = self.greeted()
        tag = client.idle()
        client.logout()
        self.assertEqual(client.data_to_send(), b"A1 IDLE\r\n")
        self.assertEqual(self.events(client, b"+ idling\r\n"), [Idling(tag)])
        self.assertEqual(self.events(client, b"* 4 EXISTS\r\n"), [Unsolicited(r.Exists(4))])
        client.done()
        self.assertEqual(client.data_to_send(), b"DONE\r\n")
        self.assertIsInstance(self.events(client, b"A1 OK done\r\n")[0], Completed)
        self.assertEqual(client.data_to_send(), b"A2 LOGOUT\r\n")

    def test_idle_ended_early(self) -> None:
        """DONE that is wanted before IDLE was granted goes out when it is."""
        client = self.greeted()
        client.idle()
        client.data_to_send()
        client.done()
        self.assertEqual(client.data_to_send(), b"")
        self.assertEqual(self.events(client, b"+ idling\r\n"), [])
        self.assertEqual(client.data_to_send(), b"DONE\r\n")

    def test_authenticate(self) -> None:
        """Challenges are decoded and answered; None cancels."""
        client = self.greeted()
        tag = client.authenticate("SCRAM-SHA-256", b"n,,")
        self.assertEqual(client.data_to_send(), b"A1 AUTHENTICATE SCRAM-SHA-256 biws\r\n")
        self.assertEqual(self.events(client, b"+ aGVsbG8=\r\n"), [Challenge(tag, b"hello")])
        client.respond(b"x")
        self.events(client, b"+ \r\n")
        client.respond(None)
        self.assertEqual(client.data_to_send(), b"eA==\r\n*\r\n")

    def test_starttls(self) -> None:
        """Commands wait behind STARTTLS, injected data can be seen, and capabilities are forgotten."""
        client = self.greeted(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n")
        client.starttls()
        self.assertEqual(client.data_to_send(), b"A1 STARTTLS\r\n")
        client.receive(b"A1 OK go\r\n* OK injected\r\n")
        self.assertIsInstance(client.next_event(), Failed)
        self.assertNotEqual(client.buffered_octets, 0)
        client.tls_started()
        self.assertEqual(client.capabilities, frozenset())

    def test_bye(self) -> None:
        """BYE that was not asked for is handed over at once."""
        client = self.greeted()
        client.select("x")
        self.assertEqual(
            self.events(client, b"* BYE shutting down\r\n"),
            [Unsolicited(r.StatusResponse(None, "BYE", "shutting down"))],
        )

    def test_nonsense(self) -> None:
        """A server that breaks the protocol is not listened to any more."""
        for greeting, data in {
            b"* 3 EXISTS\r\n": b"",
            b"A1 OK\r\n": b"",
            b"* OK\r\n": b"A9 OK done\r\n",
            b"* OK \r\n": b"+ go\r\n",
            b"* OK x\r\n": b"nonsense\r\n",
        }.items():
            client = Client()
            events = self.events(client, greeting + data)
            self.assertIsInstance(events[-1], Failed)
            self.assertEqual(self.events(client, b"* 1 EXISTS\r\n"), [])
