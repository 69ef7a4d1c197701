"""What programs get from the JSON interface."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tests.http.badsmtp.material import LETTER, MIXED, Fixture
from tests.http.memory import Exchange


class MessageTests(SynchronousTestCase):
    """Messages, asked for and deleted."""

    def setUp(self) -> None:
        self.fixture = Fixture(self)
        self.ask = self.fixture.client.ask

    def numbers(self, query: str) -> list[int]:
        """The numbers of the messages that a query gives."""
        return [found["number"] for found in self.ask("GET", f"/api/messages?{query}").json["messages"]]

    def test_summary(self) -> None:
        """A list says of each message who sent what to whom, decoded."""
        self.fixture.keep()
        found = self.ask("GET", "/api/messages").json
        self.assertEqual(found["total"], 1)
        summary = found["messages"][0]
        self.assertEqual(
            (
                summary["number"],
                summary["mail_from"],
                summary["rcpt_to"],
                summary["subject"],
                summary["preview"],
            ),
            (1, "alice@example.org", ["bob@example.org"], "Grüße", "Hello Bob."),
        )
        self.assertEqual(
            (summary["received"], summary["size"], summary["port"], summary["attachments"]),
            ("2026-11-22T08:30:00Z", len(LETTER), 2525, False),
        )

    def test_pages(self) -> None:
        """Lists have the newest first, and go on before the last of them."""
        for _ in range(5):
            self.fixture.keep()
        self.assertEqual(self.numbers("limit=2"), [5, 4])
        self.assertEqual(self.numbers("limit=2&before=4"), [3, 2])
        self.assertEqual(self.numbers("after=3"), [5, 4])
        self.assertEqual(self.ask("GET", "/api/messages?limit=2").json["total"], 5)

    def test_filters(self) -> None:
        """Recipients are compared whole, senders and subjects by a piece of them, and all without case."""
        self.fixture.keep()
        self.fixture.keep(
            reverse_path="carol@example.net", forward_paths=("dave@example.org", "Bob@Example.org")
        )
        self.fixture.keep(b"Subject: other\r\n\r\nxyz", forward_paths=("erin@example.org",))
        self.assertEqual(self.numbers("to=BOB@example.org"), [2, 1])
        self.assertEqual(self.numbers("to=ob@example.org"), [])
        self.assertEqual(self.numbers("from=CAROL"), [2])
        self.assertEqual(self.numbers("subject=gr%C3%BC%C3%9Fe"), [2, 1])
        self.assertEqual(self.numbers("search=xyz+erin"), [3])
        self.assertEqual(self.numbers("search=xyz+bob"), [])

    def test_many_are_looked_at_in_turns(self) -> None:
        """A search through many messages lets others have their turn, and finds all."""
        for number in range(120):
            self.fixture.keep(b"Subject: n%d\r\n\r\n" % number)
        octets = b"GET /api/messages?subject=n7&limit=200 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        exchange = Exchange(self.fixture.site, octets, "GET")
        self.addCleanup(exchange.leave)
        self.assertEqual(exchange.octets, b"")
        self.fixture.clock.advance(0)
        self.assertEqual(exchange.answer.json["total"], 11)

    def test_detail(self) -> None:
        """A message is given with its header, its text, its parts and the dialogue that brought it."""
        self.fixture.keep()
        found = self.ask("GET", "/api/messages/1").json
        self.assertEqual(found["headers"][2], {"name": "Subject", "value": "Grüße"})
        self.assertEqual(
            (found["text"], found["html"], found["hello_name"]), ("Hello Bob.\r\n", False, "client.example")
        )
        self.assertEqual(found["parts"][0]["path"], "1")
        self.assertEqual(
            found["transcript"][2], {"at_seconds": 0.002, "who": "C", "text": "EHLO client.example"}
        )

    def test_source(self) -> None:
        """The source is the octets as they came, to be kept as a file."""
        self.fixture.keep()
        answer = self.ask("GET", "/api/messages/1/source")
        self.assertEqual(answer.body, LETTER)
        self.assertEqual(answer.headers["content-type"], "message/rfc822")
        self.assertTrue(
            answer.headers["content-disposition"].startswith('attachment; filename="message-1.eml"')
        )

    def test_parts(self) -> None:
        """A part is given decoded, as a file whose name leads nowhere, and never as something that a browser shows."""
        self.fixture.keep(MIXED)
        answer = self.ask("GET", "/api/messages/1/parts/2")
        self.assertEqual(answer.body, b"\0\1\2")
        self.assertEqual(answer.headers["content-type"], "application/octet-stream")
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertTrue(
            answer.headers["content-disposition"].startswith('attachment; filename="_.._etc_passwd"'),
            answer.headers["content-disposition"],
        )
        self.assertEqual(self.ask("GET", "/api/messages/1/parts/1.2").body, b"\x89PNG\r\n\x1a\n")
        self.assertEqual(self.ask("GET", "/api/messages/1/parts/3.1").body, b"inner text")

    def test_html(self) -> None:
        """HTML comes cleaned, with the pictures of the message in it, and with a policy that lets it do nothing."""
        self.fixture.keep(MIXED)
        answer = self.ask("GET", "/api/messages/1/html")
        self.assertIn(b'<p>Hi <img src="data:image/png;base64,iVBORw0KGgo="></p>', answer.body)
        policy = answer.headers["content-security-policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertIn("sandbox", policy)
        self.assertTrue(policy.endswith("frame-ancestors 'self'"))
        self.fixture.keep()
        self.assertEqual(self.ask("GET", "/api/messages/2/html").status, 404)

    def test_delete(self) -> None:
        """Messages are deleted one by one, by recipient, or all."""
        for _ in range(4):
            self.fixture.keep()
        self.fixture.keep(forward_paths=("erin@example.org",))
        self.assertEqual(self.ask("DELETE", "/api/messages/2").json, {"removed": 1})
        self.assertEqual(self.ask("DELETE", "/api/messages/2").status, 404)
        self.assertEqual(self.ask("DELETE", "/api/messages?to=erin@example.org").json, {"removed": 1})
        self.assertEqual(self.ask("DELETE", "/api/messages").json, {"removed": 3})
        self.assertEqual(self.numbers(""), [])

    def test_errors_are_json(self) -> None:
        """What was wrong is said in JSON, whatever it was."""
        self.fixture.keep()
        for method, path, status, said in (
            ("GET", "/api/messages/7", 404, "there is no message 7, or it is gone"),
            ("GET", "/api/messages/x", 404, "number: expected int, got str"),
            ("GET", "/api/messages/" + "9" * 5000, 404, ""),
            ("GET", "/api/messages/1/parts/9", 404, "message 1 has no part 9"),
            ("GET", "/api/messages/1/parts/..", 404, ""),
            ("GET", "/api/messages?limit=1000", 400, "limit: expected int <= 200"),
            ("GET", "/api/messages?limit=1&limit=2", 400, "“limit” is given twice"),
            ("GET", "/api/messages?to=%ff", 400, "the parameters cannot be read"),
            ("GET", "/api/messages?sender=x", 400, "there is no parameter “sender”"),
            ("GET", "/api/messages/1?x=y", 400, "this takes no parameters"),
            ("PATCH", "/api/messages", 405, "this takes DELETE, GET, HEAD"),
            ("GET", "/api/nothing", 404, "there is nothing of that name"),
            ("GET", "/page/nothing.js", 404, "there is no file of that name"),
            ("GET", "/%ff", 400, "the path is not UTF-8"),
        ):
            answer = self.ask(method, path)
            self.assertEqual(
                (answer.status, answer.headers["content-type"]), (status, "application/json"), path
            )
            self.assertEqual(answer.json["status"], status)
            self.assertIn(said, answer.json["detail"])

    def test_head(self) -> None:
        """HEAD is answered as GET, without content."""
        self.fixture.keep()
        answer = self.ask("HEAD", "/api/messages")
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertEqual(self.ask("HEAD", "/api/events").status, 200)

    def test_ports(self) -> None:
        """Each port is given with what it does, beside what a client can ask for."""
        found = self.ask("GET", "/api/ports").json
        self.assertEqual(
            found["ports"][1],
            {"name": "greeting-2", "port": 25202, "protocol": "SMTP", "does": "greets after 2 seconds"},
        )
        said = {wording["say"] for wording in found["wordings"]}
        self.assertIn("MAIL FROM:<mail550@x.example>", said)
        self.assertIn("MAIL FROM:<mail.drip@x.example>", said)


class WaitTests(SynchronousTestCase):
    """Waiting for messages."""

    def setUp(self) -> None:
        self.fixture = Fixture(self)
        self.begin = self.fixture.client.begin

    def test_there_already(self) -> None:
        """A message that is there is given at once, the oldest that fits."""
        for _ in range(3):
            self.fixture.keep()
        answer = self.fixture.client.ask("GET", "/api/wait?to=bob@example.org&after=1")
        self.assertEqual((answer.status, answer.json["number"]), (200, 2))

    def test_comes_later(self) -> None:
        """Who waits is told of the message that he waits for, and of no other."""
        waiting = self.begin("GET", "/api/wait?to=Bob@example.org&subject=second&timeout=10")
        self.fixture.clock.advance(5)
        self.fixture.keep(b"Subject: the second\r\n\r\n", forward_paths=("carol@example.org",))
        self.fixture.keep()
        self.assertEqual(waiting.octets, b"")
        self.fixture.keep(b"Subject: the second\r\n\r\n")
        self.assertEqual((waiting.answer.status, waiting.answer.json["number"]), (200, 3))

    def test_nothing_comes(self) -> None:
        """Who waits in vain is told so by 408, when his time is over."""
        waiting = self.begin("GET", "/api/wait?timeout=10")
        self.fixture.clock.advance(9)
        self.assertEqual(waiting.octets, b"")
        self.fixture.clock.advance(1)
        self.assertEqual(waiting.answer.status, 408)
        self.assertEqual(waiting.answer.json["detail"], "no such message came within 10 seconds")

    def test_who_leaves_is_forgotten(self) -> None:
        """Who hangs up waits no longer, and makes room for others."""
        self.patch(__import__("moxtwisted.http.badsmtp.application", fromlist=["x"]), "WAITING", 1)
        first = self.begin("GET", "/api/wait")
        refused = self.fixture.client.ask("GET", "/api/wait")
        self.assertEqual((refused.status, refused.headers["retry-after"]), (503, "5"))
        first.leave()
        self.assertEqual(self.begin("GET", "/api/wait").octets, b"")
        self.fixture.keep()


class EventTests(SynchronousTestCase):
    """Server-sent events."""

    def setUp(self) -> None:
        self.fixture = Fixture(self)

    def test_messages_and_removals(self) -> None:
        """A stream tells of messages as they come, and of those that are deleted."""
        stream = self.fixture.client.begin("GET", "/api/events")
        self.assertIn(b"Content-Type: text/event-stream", stream.octets)
        self.fixture.keep()
        self.assertIn(b"id: 1\nevent: message\ndata: {", stream.octets)
        self.fixture.client.ask("DELETE", "/api/messages/1")
        self.assertIn(b'event: removed\ndata: {"numbers":[1]}\n\n', stream.octets)

    def test_who_comes_back_misses_nothing(self) -> None:
        """A browser that says what it saw last is sent what came since."""
        for _ in range(3):
            self.fixture.keep()
        stream = self.fixture.client.begin("GET", "/api/events", {"Last-Event-ID": "1"})
        self.assertNotIn(b"id: 1\n", stream.octets)
        self.assertIn(b"id: 2\n", stream.octets)
        self.assertIn(b"id: 3\n", stream.octets)

    def test_streams_are_bounded(self) -> None:
        """There is room for so many streams, and who leaves makes room."""
        self.patch(__import__("moxtwisted.http.badsmtp.application", fromlist=["x"]), "STREAMS", 1)
        stream = self.fixture.client.begin("GET", "/api/events")
        self.assertEqual(self.fixture.client.ask("GET", "/api/events").status, 503)
        stream.leave()
        self.assertIn(b"200 OK", self.fixture.client.begin("GET", "/api/events").octets)


class PlaygroundTests(SynchronousTestCase):
    """The playground, asked by programs."""

    def setUp(self) -> None:
        self.fixture = Fixture(self)

    def say(self, session: str, text: str) -> int:
        """Say something; the status of the answer."""
        body = msgspec.json.encode({"text": text})
        return self.fixture.client.ask("POST", f"/api/playground/{session}", body=body).status

    def test_a_message(self) -> None:
        """A dialogue that is typed brings a message, which is there as any other."""
        opened = self.fixture.client.ask("POST", "/api/playground")
        self.assertEqual(opened.status, 201)
        session = opened.json["session"]
        self.assertEqual(
            self.say(session, "EHLO x.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n"), 200
        )
        self.assertEqual(self.say(session, "DATA\r\n"), 200)
        self.assertEqual(self.say(session, "Subject: typed\r\n\r\nHi\r\n.\r\nQUIT\r\n"), 200)
        self.fixture.clock.advance(0)
        heard = self.fixture.client.ask("GET", f"/api/playground/{session}").json
        said = "".join(chunk["octets"] for chunk in heard["chunks"])
        self.assertTrue(said.startswith("220 badsmtp.test "), said)
        self.assertIn("\r\n354 ", said)
        self.assertTrue(heard["closed"])
        self.assertEqual(
            self.fixture.client.ask("GET", "/api/messages").json["messages"][0]["subject"], "typed"
        )
        self.assertEqual(self.say(session, "NOOP\r\n"), 409)

    def test_only_json(self) -> None:
        """What a form of somebody's page could send is not taken."""
        session = self.fixture.client.ask("POST", "/api/playground").json["session"]
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            answer = self.fixture.client.ask(
                "POST", f"/api/playground/{session}", {"Content-Type": kind}, b'{"text":"QUIT"}'
            )
            self.assertEqual(answer.status, 415)
        for body in (b"", b"{", b"[]", b'{"text":1}', b'{"text":"x","more":1}', b'{"text":"\xff"}'):
            answer = self.fixture.client.ask("POST", f"/api/playground/{session}", body=body)
            self.assertEqual(answer.status, 400, body)

    def test_hang_up(self) -> None:
        """Who hangs up is gone for the server, too; what was said can be read for a while."""
        session = self.fixture.client.ask("POST", "/api/playground").json["session"]
        answer = self.fixture.client.ask("DELETE", f"/api/playground/{session}")
        self.assertEqual((answer.json["closed"], answer.json["reason"]), (True, "you hung up"))
        self.assertEqual(self.fixture.smtp.connections, set())
        self.assertEqual(self.fixture.client.ask("GET", f"/api/playground/{session}").status, 200)
        self.fixture.clock.advance(60)
        self.assertEqual(self.fixture.client.ask("GET", f"/api/playground/{session}").status, 404)
