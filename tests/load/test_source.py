"""The source against a sink in memory, and against servers that do what they should not."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.load.rules import Fate, Rules
from moxtwisted.load.sink import SinkSettings
from moxtwisted.smtp.agent import ClientTimeouts
from moxtwisted.smtp.replies import Reply
from tests.load.wire import Wire, World, letters, mail


def rules(soft: str = "", hard: str = "", delay: str = "") -> Rules:
    """Rules of a sink."""
    made = Rules()
    if soft:
        made.refuse(Fate.SOFT, soft)
    if hard:
        made.refuse(Fate.HARD, hard)
    if delay:
        made.delay(delay)
    return made


def codes(figures: Any) -> dict[str, int]:
    """Replies by command and code, as ``"RCPT 450"``."""
    return {f"{command} {code}": count for (command, code), count in figures.tally.replies.items()}


class SourceTestCase(SynchronousTestCase):
    """Figures that are nearly so."""

    def near(self, found: float, expected: float, within: float) -> None:
        """Whether it is."""
        self.assertTrue(abs(found - expected) <= within, f"{found} is not {expected} ± {within}")


class ClosedLoopTests(SourceTestCase):
    """As fast as the server answers."""

    def test_a_connection_for_each_message(self) -> None:
        """Each message has a connection of its own, and each arrives once."""
        world = World(sessions=3, messages=20)
        world.start(mail(letters(20)))
        figures = world.finish()
        self.assertEqual(
            (figures.ended, figures.tally.delivered, figures.tally.connections), ("done", 20, 20)
        )
        facts = world.sink.figures()
        self.assertEqual((facts["sessions"]["all"], facts["sessions"]["open"]), (20, 0))
        self.assertEqual((facts["missing"], facts["doubled"], facts["runs"][0]["received"]), (0, 0, 20))
        self.assertEqual(codes(figures)["QUIT 221"], 20)
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_connections_are_kept(self) -> None:
        """With no end of messages for a connection there are as many connections as sessions; every stage is measured."""
        world = World(sessions=3, messages=20, per_connection=None)
        world.start()
        figures = world.finish()
        self.assertEqual(figures.tally.connections, 3)
        counts = {
            name: figures.tally.stages[name].count
            for name in ("connect", "greeting", "EHLO", "MAIL", ".", "QUIT", "message")
        }
        self.assertEqual(
            counts, {"connect": 3, "greeting": 3, "EHLO": 3, "MAIL": 20, ".": 20, "QUIT": 3, "message": 20}
        )
        self.assertNotIn("response", figures.tally.stages)

    def test_some_messages_for_each_connection(self) -> None:
        """Connections end after so many messages."""
        world = World(messages=10, per_connection=4)
        world.start()
        self.assertEqual(world.finish().tally.connections, 3)

    def test_fewer_messages_than_sessions(self) -> None:
        """Sessions that have nothing to send do not connect."""
        world = World(sessions=10, messages=2)
        world.start()
        self.assertEqual(world.finish().tally.connections, 2)

    def test_pauses(self) -> None:
        """Each session waits after a message, for a time that is partly random, and not after the last."""
        world = World(messages=3, pause_seconds=2.0, random_pause_seconds=2.0)
        world.start()
        self.assertEqual(world.source.tally.delivered, 1)
        world.advance(2.9)
        self.assertEqual(world.source.tally.delivered, 1)
        world.advance(0.2)
        self.assertEqual(world.source.tally.delivered, 2)
        figures = world.finish()
        self.assertEqual(figures.tally.delivered, 3)
        self.assertLess(figures.seconds, 6.5)

    def test_one_command_at_a_time(self) -> None:
        """Without pipelining each reply is awaited, and has its own latency."""
        world = World(SinkSettings(rules=rules(delay="RCPT:1")), messages=1, pipelining=False)
        world.start(mail(recipients=("a@sink.example", "b@sink.example")))
        figures = world.finish()
        stages = figures.tally.stages
        self.assertEqual((stages["MAIL"].maximum, stages["DATA"].maximum), (0.0, 0.0))
        self.near(stages["RCPT"].mean, 1.0, 0.05)

    def test_service_time_has_the_connection_in_it(self) -> None:
        """The time for a message begins when a session takes it up, before it connects."""
        world = World(SinkSettings(rules=rules(delay="CONNECT:3")), messages=1)
        world.start()
        figures = world.finish()
        self.assertGreaterEqual(figures.tally.stages["message"].maximum, 3.0)
        self.assertGreaterEqual(figures.tally.stages["greeting"].maximum, 3.0)
        self.assertEqual(figures.tally.stages["."].maximum, 0.0)


class OpenLoopTests(SourceTestCase):
    """At a rate."""

    def test_rate(self) -> None:
        """Messages go out when they are due, whatever the sessions are."""
        world = World(sessions=5, messages=30, rate=10.0, per_connection=None)
        world.start()
        self.assertEqual(world.source.tally.begun, 1)
        world.advance(1.05)
        self.assertEqual(world.source.tally.begun, 11)
        world.advance(1.0)
        self.assertEqual(world.source.tally.begun, 21)
        figures = world.finish()
        self.near(figures.seconds, 2.9, 0.1)
        self.near(figures.rate, 30 / 2.9, 0.5)

    def test_coordinated_omission(self) -> None:
        """A stall of two seconds is in the response times of all messages that were due meanwhile, and in the service time of one."""
        world = World(messages=40, rate=10.0, per_connection=None)
        world.start()
        world.advance(0.95)
        self.assertEqual(world.source.tally.delivered, 10)
        world.clock.advance(0.06)  # the next is due, and its session has it
        for _ in range(200):
            world.clock.advance(0.01)  # nothing is delivered
        self.assertEqual((world.source.tally.begun, world.source.overdue), (11, 20))
        figures = world.finish()
        service, response = figures.tally.stages["message"], figures.tally.stages["response"]
        self.assertEqual((service.count, response.count), (40, 40))
        self.assertLess(service.percentile(95), 0.1)
        self.near(service.maximum, 2.0, 0.1)
        # of 40 messages 20 waited: from 2 s down to nothing
        self.near(response.percentile(75), 1.0, 0.2)
        self.near(response.maximum, 2.0, 0.1)

    def test_our_own_lateness_is_told_apart(self) -> None:
        """When a session was free and the timer came late, that is said to be ours."""
        world = World(messages=2, rate=10.0, per_connection=None)
        world.start()
        world.clock.advance(0.15)
        figures = world.finish()
        self.near(figures.tally.stages["late"].maximum, 0.05, 0.001)


class EndTests(SourceTestCase):
    """How runs end."""

    def test_duration(self) -> None:
        """After the time no message is begun; those under way are waited for."""
        world = World(
            SinkSettings(rules=rules(delay=".:3")), sessions=2, messages=None, duration_seconds=10.0
        )
        world.start()
        world.advance(10.1)
        self.assertIsNone(world.figures)
        figures = world.finish()
        self.assertEqual(
            (figures.ended, figures.cut_off, figures.tally.begun, figures.tally.delivered), ("done", 0, 8, 8)
        )
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_duration_and_a_server_that_hangs(self) -> None:
        """After the time, messages under way have some more, and are then cut off."""
        hanging = Factory.forProtocol(Protocol)
        world = World(sessions=2, messages=None, duration_seconds=1.0, drain_seconds=5.0)
        world.start(endpoint=Wire(hanging))
        world.advance(5.5, 0.5)
        self.assertIsNone(world.figures)
        world.advance(1.0, 0.5)
        self.assertEqual((world.figures.ended, world.figures.cut_off), ("done", 2))

    def test_interrupted(self) -> None:
        """Whoever cancels gets the figures so far; nothing is left running, and what was under way is counted apart."""
        world = World(SinkSettings(rules=rules(delay=".:1")), sessions=4, messages=100, per_connection=None)
        world.start()
        world.advance(2.5)
        world.running.cancel()
        figures = world.figures
        self.assertEqual((figures.ended, figures.cut_off), ("interrupted", 4))
        self.assertEqual((figures.tally.begun, figures.tally.delivered), (12, 8))
        self.near(figures.seconds, 2.5, 0.05)
        world.wire.deliver()
        world.advance(2.0)
        self.assertEqual(world.clock.getDelayedCalls(), [])
        self.assertEqual(world.sink.counted.open, 0)

    def test_interrupted_while_nothing_happens(self) -> None:
        """Sessions that wait for their time, or for a connection that failed, are ended, too."""
        world = World(sessions=2, messages=10, rate=0.1)
        world.start()
        world.advance(1.0)
        world.running.cancel()
        self.assertEqual((world.figures.cut_off, world.figures.tally.delivered), (0, 1))
        self.assertEqual(world.clock.getDelayedCalls(), [])
        refused = World(messages=1, attempts=5)
        refused.wire.refusing = 100
        refused.start()
        refused.running.cancel()
        self.assertEqual((refused.figures.cut_off, refused.figures.ended), (1, "interrupted"))
        self.assertEqual(refused.clock.getDelayedCalls(), [])


class TroubleTests(SynchronousTestCase):
    """Servers that refuse, leave, or do not speak SMTP."""

    def run_against(self, *says: bytes, **settings: Any) -> Any:
        """Figures of one message to a server that says the next of these whenever it hears something.

        :param settings: of the client.
        """

        class Server(Protocol):
            def connectionMade(self) -> None:
                self.left = list(says)
                self.dataReceived(b"")

            def dataReceived(self, data: bytes) -> None:
                octets = self.left.pop(0) if self.left else b""
                transport: Any = self.transport
                if octets == b"close":
                    transport.loseConnection()
                else:
                    transport.write(octets)

        client = {"timeouts": ClientTimeouts(mail=20.0, data=20.0)} | settings
        world = World(messages=1, client=client)
        world.wire.factory = Factory.forProtocol(Server)
        world.start()
        figures = world.finish()
        self.assertEqual(world.clock.getDelayedCalls(), [])
        return figures

    def test_refused_connections_are_counted(self) -> None:
        """A connection that is refused makes its message fail, and the next is tried."""
        world = World(messages=5)
        world.wire.refusing = 3
        world.start()
        figures = world.finish()
        self.assertEqual((figures.tally.failed, figures.tally.delivered, figures.ended), (3, 2, "done"))
        self.assertEqual(dict(figures.tally.errors), {"connect: refused": 3})

    def test_attempts(self) -> None:
        """A connection may be tried several times before its message counts as failed."""
        world = World(messages=2, attempts=4)
        world.wire.refusing = 3
        world.start()
        figures = world.finish()
        self.assertEqual((figures.tally.failed, figures.tally.delivered), (0, 2))
        self.assertEqual(dict(figures.tally.errors), {"connect: refused": 3})

    def test_giving_up(self) -> None:
        """When no connection works the run ends."""
        world = World(sessions=3, messages=10**9, give_up_after=20)
        world.wire.refusing = 1000
        world.start()
        figures = world.finish()
        self.assertEqual((figures.ended, figures.tally.delivered), ("gave up", 0))
        self.assertLess(figures.tally.failed, 25)
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_refusals_by_command_and_code(self) -> None:
        """Refusals are counted by command and code, with the text of the first."""
        settings = SinkSettings(
            rules=rules(soft="MAIL:25", hard="RCPT:25"), hard=Reply(550, "5.1.1", "nobody")
        )
        world = World(settings, sessions=1, messages=40, per_connection=None)
        world.start()
        figures = world.finish()
        tally = figures.tally
        self.assertEqual(tally.delivered + tally.refused, 40)
        self.assertGreater(tally.refused, 0)
        counted = codes(figures)
        self.assertEqual(counted.get("MAIL 450", 0) + counted.get("RCPT 550", 0), tally.refused)
        self.assertEqual(world.sink.figures()["messages"]["accepted"], tally.delivered)
        self.assertEqual(
            dict(world.sink.counted.refusals), {"MAIL": counted["MAIL 450"], "RCPT": counted["RCPT 550"]}
        )
        self.assertEqual(tally.samples["RCPT", 550], "5.1.1 nobody")

    def test_421_in_the_middle(self) -> None:
        """421 refuses the message and ends the connection; both are counted."""
        figures = self.run_against(b"220 x\r\n", b"250-x\r\n250 PIPELINING\r\n", b"421 4.3.2 later\r\n")
        self.assertEqual((figures.tally.refused, dict(figures.tally.errors)), (1, {"closed: 421": 1}))

    def test_lost_connections(self) -> None:
        """A connection that is lost is counted by where it happened."""
        opened = (b"220 x\r\n", b"250-x\r\n250 PIPELINING\r\n")
        accepted = b"250 a\r\n250 b\r\n354 c\r\n"
        for says, kind in (
            ((b"close",), "lost: at greeting"),
            ((b"220 x\r\n", b"close"), "lost: at EHLO"),
            ((*opened, b"close"), "lost: at MAIL"),
            ((*opened, accepted, b"close"), "lost: at ."),
        ):
            figures = self.run_against(*says)
            self.assertEqual((figures.tally.failed, dict(figures.tally.errors)), (1, {kind: 1}))

    def test_a_connection_lost_while_idle(self) -> None:
        """When a server closes a connection between two messages, the second has a new one."""
        world = World(SinkSettings(command_seconds=5.0), messages=2, rate=0.1, per_connection=None)
        world.start()
        figures = world.finish()
        self.assertEqual((figures.tally.delivered, figures.tally.connections), (2, 2))
        self.assertEqual(dict(figures.tally.errors), {"closed: 421": 1})

    def test_timeouts(self) -> None:
        """A server that says nothing is left after the time limit."""
        figures = self.run_against(b"220 x\r\n", b"250 x\r\n")
        self.assertEqual(dict(figures.tally.errors), {"timeout: at MAIL": 1})

    def test_no_smtp(self) -> None:
        """What is no reply ends the connection."""
        figures = self.run_against(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        self.assertEqual(figures.tally.failed, 1)
        self.assertTrue(next(iter(figures.tally.errors)).startswith("no SMTP: not a reply"))

    def test_refused_greetings(self) -> None:
        """A greeting that refuses is a connection that failed."""
        figures = self.run_against(b"554 5.7.1 go away\r\n")
        self.assertEqual(dict(figures.tally.errors), {"refused: greeting 554": 1})
        self.assertEqual(codes(figures), {"greeting 554": 1})

    def test_helo(self) -> None:
        """A server without EHLO gets HELO, and one command at a time."""
        says = (
            b"220 x\r\n",
            b"502 no\r\n",
            b"250 x\r\n",
            b"250 a\r\n",
            b"250 b\r\n",
            b"354 c\r\n",
            b"250 d\r\n",
            b"221 e\r\n",
        )
        figures = self.run_against(*says)
        self.assertEqual((figures.tally.delivered, codes(figures)["EHLO 502"]), (1, 1))

    def test_what_a_server_cannot_carry(self) -> None:
        """An 8-bit message is not sent to a server without 8BITMIME, which is counted as ours."""
        world = World(SinkSettings(not_offered=frozenset({"8BITMIME"})), messages=200, per_connection=None)
        world.start(mail(letters(eight_bit=True)))
        figures = world.finish()
        self.assertEqual((figures.tally.refused, codes(figures)["local 550"]), (200, 200))
        self.assertEqual(world.sink.counted.messages, 0)

    def test_starttls_that_is_not_offered(self) -> None:
        """Where TLS is wanted and not offered nothing is sent."""
        from moxtwisted.smtp.agent import ClientTLS

        figures = self.run_against(b"220 x\r\n", b"250 x\r\n", tls=ClientTLS(None))
        self.assertEqual(dict(figures.tally.errors), {"TLS: not offered": 1})


class MessageTests(SynchronousTestCase):
    """What arrives."""

    def caught(self, octets: int, **client: Any) -> bytes:
        """A message of this size, as the sink was given it."""
        pieces: list[bytes] = []

        class Kept:
            def write(self, octets: bytes) -> None:
                pieces.append(octets)

            def finish(self) -> None:
                pass

            def abort(self) -> None:
                pass

        class Keeper:
            def begin(self, envelope: Any) -> Kept:
                return Kept()

        world = World(SinkSettings(keeper=Keeper()), messages=1, client=client)
        world.start(mail(letters(octets=(octets, octets))))
        self.assertEqual(world.finish().tally.delivered, 1)
        self.assertEqual(world.sink.counted.octets, world.source.tally.octets)
        return b"".join(pieces)

    def test_long_messages(self) -> None:
        """Messages that are written block by block, or in several chunks, arrive as they were."""
        for octets in (0, 2, 1000, 131_072, 131_073, 400_000, 2_500_000):
            letter = letters(octets=(octets, octets)).letter(1)
            self.assertEqual(self.caught(octets), letter.head + letter.body)
            self.assertEqual(self.caught(octets, prefer_chunking=True), letter.head + letter.body)

    def test_lmtp(self) -> None:
        """In LMTP each recipient has a reply: a message taken for some is counted so."""
        world = World(
            SinkSettings(lmtp=True, rules=rules(soft=".:50")),
            messages=4,
            per_connection=None,
            client={"lmtp": True},
        )
        world.start(mail(recipients=("a@sink.example", "b@sink.example", "c@sink.example")))
        tally = world.finish().tally
        self.assertEqual(
            (tally.delivered + tally.partly + tally.refused, tally.recipients + tally.recipients_refused),
            (4, 12),
        )
        self.assertGreater(tally.partly, 0)
        self.assertEqual(world.sink.counted.recipients, tally.recipients)
        self.assertEqual(tally.replies[".", 250] + tally.replies[".", 450], 12)

    def test_a_refused_chunk(self) -> None:
        """After a chunk was refused nothing of the message is sent any more, and the connection serves the next."""
        settings = SinkSettings(rules=rules(hard="DATA:50"))
        world = World(settings, messages=4, per_connection=None, client={"prefer_chunking": True})
        world.start(mail(letters(octets=(2_500_000, 2_500_000))))
        figures = world.finish()
        self.assertEqual(
            (figures.tally.delivered, figures.tally.refused, figures.tally.connections), (2, 2, 1)
        )
        self.assertEqual(codes(figures)["BDAT 550"], 2)

    def test_tracing(self) -> None:
        """What is said can be seen, but for the message."""
        lines: list[str] = []
        world = World(messages=1)
        world.trace = lines.append
        world.start()
        world.finish()
        self.assertIn("C: MAIL FROM:<me@client.example> SIZE=", lines[3][:40])
        self.assertEqual(
            (lines[0], lines[1]), ("S: 220  smtp-sink ESMTP smtp-sink", "C: EHLO client.example")
        )
        self.assertEqual(lines[-1], "S: 221 2.0.0 goodbye")
        self.assertFalse([line for line in lines if "Subject" in line])


class BoundTests(SynchronousTestCase):
    """What does not grow."""

    def test_kinds_are_few(self) -> None:
        """A server that makes up ever new codes and errors does not fill the memory."""
        from moxtwisted.load.tally import Tally

        tally = Tally()
        for number in range(5000):
            tally.counted(f"V{number}", Reply(250 + number % 300, "", "x" * 1000))
            tally.error(f"error {number}")
        self.assertLessEqual(len(tally.replies), 201)
        self.assertLessEqual(len(tally.errors), 201)
        self.assertEqual((sum(tally.replies.values()), sum(tally.errors.values())), (5000, 5000))
        self.assertLessEqual(max(map(len, tally.samples.values())), 200)

    def test_tallies_are_added(self) -> None:
        """Two tallies together are one of both."""
        worlds = [World(messages=count, sessions=2) for count in (3, 4)]
        for world in worlds:
            world.start()
            world.finish()
        together = worlds[0].source.tally
        together.add(worlds[1].source.tally)
        self.assertEqual((together.delivered, together.connections, together.replies["MAIL", 250]), (7, 7, 7))
        self.assertEqual(together.stages["message"].count, 7)
        self.assertEqual(together.as_json()["messages"]["begun"], 7)
