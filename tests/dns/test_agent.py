"""The resolver over real sockets, against a server that does as the test says."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import dns.flags
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from moxtwisted.dns import agent
from moxtwisted.dns.agent import DNSResolver
from moxtwisted.dns.answers import Answer, IResolver, NoAnswerError, Security
from moxtwisted.dns.records import MX
from moxtwisted.dns.servers import ResolverSettings
from tests.dns.servers import Behaviour, FakeServer, Zone, reply_to


class AgentTestCase(TestCase):
    timeout = 20

    def serve(self, behave: Behaviour) -> FakeServer:
        server = FakeServer(behave)
        self.addCleanup(lambda: Deferred.fromCoroutine(server.stop()))
        return server

    def resolver(self, *servers: FakeServer, **settings: Any) -> DNSResolver:
        settings = {"try_seconds": 0.2, "trust_ad": True, "validate": False, **settings}
        return DNSResolver(
            reactor,
            ResolverSettings(servers=tuple(server.address for server in servers), **settings),
            entropy=os.urandom,
        )


class LookupTests(AgentTestCase):
    async def test_records(self) -> None:
        """Records come, and the second time from the cache with the time that is left."""
        zone = Zone(
            {("example", "MX"): ["example. 300 MX 10 mail.example.", "example. 300 MX 20 b.example."]}
        )
        resolver = self.resolver(self.serve(zone))
        verifyObject(IResolver, resolver)
        for _ in range(2):
            answer = await resolver.lookup("Example.", "mx")
            self.assertEqual(set(answer.records), {MX(10, "mail.example"), MX(20, "b.example")})
            self.assertTrue(answer.exists)
            self.assertIn(answer.ttl_seconds, (299, 300))
        self.assertEqual(len(zone.asked), 1)

    async def test_absence(self) -> None:
        """A name that is not there and a type that is not there are answers, kept as long as the SOA record says."""
        zone = Zone({("example", "A"): ["example. 300 A 192.0.2.1"]})
        resolver = self.resolver(self.serve(zone))
        for _ in range(2):
            missing, empty = (
                await resolver.lookup("no.example", "A"),
                await resolver.lookup("example", "AAAA"),
            )
            self.assertEqual((missing.records, missing.exists), ((), False))
            self.assertEqual((empty.records, empty.exists), ((), True))
            self.assertLessEqual(missing.ttl_seconds, 60)
        self.assertEqual(len(zone.asked), 2)

    async def test_absence_without_soa(self) -> None:
        """Without an SOA record that something is not there is believed for a few seconds."""
        zone = Zone({("example", "A"): ["example. 300 A 192.0.2.1"]})
        zone.soa = []
        resolver = self.resolver(self.serve(zone))
        for _ in range(2):
            self.assertIn((await resolver.lookup("no.example", "A")).ttl_seconds, (4, 5))
        self.assertEqual(len(zone.asked), 1)

    async def test_chain(self) -> None:
        """CNAMEs are followed within an answer and beyond it, and the TTL is the least."""
        zone = Zone(
            {
                ("a.example", "A"): ["a.example. 50 CNAME b.example.", "b.example. 300 CNAME c.example."],
                ("c.example", "A"): ["c.example. 300 A 192.0.2.1"],
            }
        )
        resolver = self.resolver(self.serve(zone))
        answer = await resolver.lookup("a.example", "A")
        self.assertEqual((answer.records, answer.canonical_name), (("192.0.2.1",), "c.example"))
        self.assertLessEqual(answer.ttl_seconds, 50)

    async def test_one_question_for_many(self) -> None:
        """Who asks while the same question is under way waits for that answer."""
        zone = Zone({("example", "A"): ["example. 300 A 192.0.2.1"]})
        resolver = self.resolver(self.serve(zone))
        lookups = [Deferred.fromCoroutine(resolver.lookup("example", "A")) for _ in range(50)]
        answers: list[Answer] = await gatherResults(lookups)
        self.assertEqual({answer.records for answer in answers}, {("192.0.2.1",)})
        self.assertEqual(len(zone.asked), 1)

    async def test_truncation(self) -> None:
        """A truncated answer is fetched again by TCP."""

        def behave(query: Any, octets: bytes, stream: bool) -> Iterable[bytes]:
            if not stream:
                return [reply_to(query, octets, flags=dns.flags.TC)]
            return [reply_to(query, octets, ["example. 300 TXT " + " ".join(['"' + "x" * 250 + '"'] * 20)])]

        answer = await self.resolver(self.serve(behave)).lookup("example", "TXT")
        self.assertEqual(answer.records, (b"x" * 5000,))

    async def test_next_server(self) -> None:
        """A server that is silent, refuses or fails is passed over."""
        zone = Zone({("example", "A"): ["example. 300 A 192.0.2.1"]})
        for bad in (
            lambda query, octets, stream: [],
            lambda query, octets, stream: [reply_to(query, octets, rcode=2)],
            lambda query, octets, stream: [reply_to(query, octets, rcode=5)],
        ):
            answer = await self.resolver(self.serve(bad), self.serve(zone)).lookup("example", "A")
            self.assertEqual(answer.records, ("192.0.2.1",))

    async def test_failure(self) -> None:
        """When no server answers, that is an error, which is remembered for a while."""
        server = self.serve(lambda query, octets, stream: [reply_to(query, octets, rcode=2)])
        resolver = self.resolver(server)
        for _ in range(2):
            error = await self.assertFailure(
                Deferred.fromCoroutine(resolver.lookup("example", "A")), NoAnswerError
            )
            self.assertIn("SERVFAIL", str(error))
        self.assertEqual(len(server.queries), 2)

    async def test_deadline(self) -> None:
        """However many tries the servers deserve, a lookup ends."""
        server = self.serve(lambda query, octets, stream: [])
        resolver = self.resolver(server, total_seconds=0.3, rounds=5)
        error = await self.assertFailure(
            Deferred.fromCoroutine(resolver.lookup("example", "A")), NoAnswerError
        )
        self.assertIn("in time", str(error))

    async def test_believed(self) -> None:
        """The AD bit counts where the server is trusted, and not elsewhere."""

        def behave(query: Any, octets: bytes, stream: bool) -> Iterable[bytes]:
            return [reply_to(query, octets, ["example. 300 A 192.0.2.1"], flags=dns.flags.AD)]

        server = self.serve(behave)
        trusting = await self.resolver(server, trust_ad=True).lookup("example", "A")
        self.assertIs(trusting.security, Security.SECURE)
        careful = await self.resolver(server, trust_ad=False, validate=False).lookup("example", "A")
        self.assertIs(careful.security, Security.INDETERMINATE)

    async def test_cancelled(self) -> None:
        """One who gives up does not take the answer from the others."""
        zone = Zone({("example", "A"): ["example. 300 A 192.0.2.1"]})
        resolver = self.resolver(self.serve(zone))
        first, second = (Deferred.fromCoroutine(resolver.lookup("example", "A")) for _ in range(2))
        first.addErrback(lambda _: None)
        first.cancel()
        self.assertEqual((await second).records, ("192.0.2.1",))

    async def test_impossible_name(self) -> None:
        """A name that cannot be in the DNS does not exist, and nobody is asked."""
        resolver = self.resolver(self.serve(Zone({})))
        self.assertFalse((await resolver.lookup("a..example", "A")).exists)


class HostileTests(AgentTestCase):
    async def test_forgeries(self) -> None:
        """Answers with another id or question are not taken, and too many of them make us ask by TCP."""

        def behave(query: Any, octets: bytes, stream: bool) -> Iterable[bytes]:
            good = reply_to(query, octets, ["example. 300 A 192.0.2.1"])
            if stream:
                return [good]
            forged = reply_to(query, octets, ["example. 300 A 203.0.113.66"])
            wrong_id = bytes((forged[0] ^ 1,)) + forged[1:]
            wrong_question = forged[:13] + b"f" + forged[14:]
            return [b"nonsense", wrong_id, wrong_question, forged]

        server = self.serve(behave)
        answer = await self.resolver(server).lookup("example", "A")
        self.assertEqual(answer.records, ("192.0.2.1",))
        self.assertEqual(server.connections, 1)

    async def test_flood(self) -> None:
        """Of a flood of forged answers three are looked at; the good one comes by TCP."""

        def behave(query: Any, octets: bytes, stream: bool) -> Iterable[bytes]:
            good = reply_to(query, octets, ["example. 300 A 192.0.2.1"])
            return [good] if stream else [bytes((good[0] ^ 1,)) + good[1:]] * 300

        server = self.serve(behave)
        answer = await self.resolver(server).lookup("example", "A")
        self.assertEqual((answer.records, len(server.queries)), (("192.0.2.1",), 2))

    async def test_too_many(self) -> None:
        """More different questions at once than 2,000 fail at once, and the others go on."""
        self.patch(agent, "_MAX_FLYING", 3)
        server = self.serve(Zone({}))
        resolver = self.resolver(server)
        waiting = [Deferred.fromCoroutine(resolver.lookup(f"n{number}.example", "A")) for number in range(4)]
        await self.assertFailure(waiting.pop(), NoAnswerError)
        self.assertEqual([answer.exists for answer in await gatherResults(waiting)], [False] * 3)

    async def test_letters(self) -> None:
        """An answer whose letters are not as they were asked is fetched by TCP, where they need not be."""

        def behave(query: Any, octets: bytes, stream: bool) -> Iterable[bytes]:
            good = reply_to(query, octets, ["abcdefghijklmnop.example. 300 A 192.0.2.1"])
            end = good.index(b"\0", 12)
            return [good[:12] + good[12:end].lower() + good[end:]]

        server = self.serve(behave)
        answer = await self.resolver(server).lookup("abcdefghijklmnop.example", "A")
        self.assertEqual((answer.records, server.connections), (("192.0.2.1",), 1))

    async def test_loops(self) -> None:
        """A loop of CNAMEs, in one answer or over many, ends in an error after few queries."""

        def behave(query: Any, octets: bytes, stream: bool) -> Iterable[bytes]:
            name = query.question[0].name.to_text().lower()
            if name.startswith("self"):
                return [reply_to(query, octets, [f"{name} 300 CNAME {name}"])]
            return [reply_to(query, octets, [f"{name} 300 CNAME x{name}"])]

        server = self.serve(behave)
        resolver = self.resolver(server)
        for name in ("self.example", "a.example"):
            await self.assertFailure(Deferred.fromCoroutine(resolver.lookup(name, "A")), NoAnswerError)
        self.assertLess(len(server.queries), 10)

    async def test_ports_and_ids(self) -> None:
        """Every query has another port and another id."""
        server = self.serve(Zone({}))
        resolver = self.resolver(server)
        for number in range(20):
            await resolver.lookup(f"n{number}.example", "A")
        self.assertGreater(len({port for _, port in server.sources}), 15)
        self.assertGreater(len({query[:2] for query in server.queries}), 15)

    async def test_ports_that_are_kept(self) -> None:
        """Where several queries may have a port they share it one after the other, so many and no more, each with another id."""
        server = self.serve(Zone({}))
        resolver = self.resolver(server, queries_per_port=5)
        self.addCleanup(resolver.close)
        for number in range(20):
            await resolver.lookup(f"n{number}.example", "A")
        ports = [port for _, port in server.sources]
        self.assertEqual([len(set(ports[i : i + 5])) for i in (0, 5, 10, 15)], [1, 1, 1, 1])
        self.assertGreater(len(set(ports)), 2)
        self.assertGreater(len({query[:2] for query in server.queries}), 15)

    async def test_no_port_for_two(self) -> None:
        """Two queries at once do not have the same port, and one whose query was not answered is not used again."""
        silent: list[bool] = [False]

        def behave(query: Any, octets: bytes, stream: bool) -> Iterable[bytes]:
            return [] if silent[0] else [reply_to(query, octets)]

        server = self.serve(behave)
        resolver = self.resolver(server, queries_per_port=50, rounds=1, try_seconds=0.05)
        self.addCleanup(resolver.close)
        await gatherResults([Deferred.fromCoroutine(resolver.lookup(f"n{i}.example", "A")) for i in range(5)])
        self.assertEqual(len(set(server.sources)), 5)
        silent[0] = True
        for i in range(5):
            with self.assertRaises(NoAnswerError):
                await resolver.lookup(f"s{i}.example", "A")
        silent[0] = False
        known = set(server.sources)
        await resolver.lookup("last.example", "A")
        self.assertNotIn(server.sources[-1], known)

    async def test_ports_are_closed(self) -> None:
        """A port that was had for two seconds is not used again, and those that wait are closed then."""
        clock = Clock()
        opened: list[Any] = []

        class Reactor:
            seconds, callLater = clock.seconds, clock.callLater

            def listenUDP(self, *args: Any, **options: Any) -> Any:
                opened.append(reactor.listenUDP(*args, **options))  # type: ignore[attr-defined]
                return opened[-1]

        server = self.serve(lambda query, octets, stream: [reply_to(query, octets)])
        settings = ResolverSettings((server.address,), trust_ad=True, validate=False, queries_per_port=50)
        resolver = DNSResolver(Reactor(), settings, entropy=os.urandom)
        await resolver.lookup("a.example", "A")
        await resolver.lookup("b.example", "A")
        readers: Any = reactor.getReaders  # type: ignore[attr-defined]
        self.assertEqual([port in readers() for port in opened], [True])
        clock.advance(2)
        self.assertNotIn(opened[0], readers())
        self.assertEqual(clock.getDelayedCalls(), [])
        await resolver.lookup("c.example", "A")
        self.assertEqual(len(opened), 2)
        resolver.close()
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_duplicates_spoil_a_port(self) -> None:
        """A port where more came than was asked for is not used again."""
        server = self.serve(lambda query, octets, stream: 2 * [reply_to(query, octets)])
        resolver = self.resolver(server, queries_per_port=50)
        self.addCleanup(resolver.close)
        for i in range(4):
            await resolver.lookup(f"n{i}.example", "A")
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]
        self.assertEqual(len(set(server.sources)), 4)

    async def test_endless_stream(self) -> None:
        """A server that hangs up, or stays silent by TCP, is a failure in time."""

        def behave(query: Any, octets: bytes, stream: bool) -> Iterable[bytes]:
            return [] if stream else [reply_to(query, octets, flags=dns.flags.TC)]

        resolver = self.resolver(self.serve(behave))
        await self.assertFailure(Deferred.fromCoroutine(resolver.lookup("example", "A")), NoAnswerError)

    async def test_without_edns(self) -> None:
        """A server that says FORMERR to OPT is asked without it."""

        def behave(query: Any, octets: bytes, stream: bool) -> Iterable[bytes]:
            if query.edns >= 0:
                query.use_edns(-1)
                return [reply_to(query, octets, rcode=1)]
            return [reply_to(query, octets, ["example. 300 A 192.0.2.1"])]

        server = self.serve(behave)
        resolver = self.resolver(server)
        self.assertEqual((await resolver.lookup("example", "A")).records, ("192.0.2.1",))
        await resolver.lookup("example", "AAAA")
        self.assertEqual(len(server.queries), 3)
