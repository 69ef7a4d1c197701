"""The source and the sink over real sockets: TLS, log-ins, unix sockets, IPv6."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS
from twisted.trial.unittest import TestCase

from moxtwisted.load.authentication import AnybodyOr
from moxtwisted.load.rules import Fate, Rules
from moxtwisted.load.sink import Sink, SinkSettings
from moxtwisted.load.source import Figures, LoadSource, SourceSettings
from moxtwisted.sasl.client import Credentials, choose
from moxtwisted.smtp.agent import ClientSettings, ClientTLS
from moxtwisted.smtp.protocol import ServerTLS
from tests.load.wire import letters, mail
from tests.smtp.certificate import certificate

USER = Credentials("alice", "secret")


def logging_in(mechanism: str, credentials: Credentials = USER) -> Callable[..., Any]:
    """How a source logs in with one mechanism."""

    def exchange(offered: list[str], tls: Any) -> Any:
        bindings = (
            {name: values[0] for name, values in tls.channel_bindings.items()} if tls is not None else None
        )
        return choose(offered, credentials, os.urandom, bindings=bindings, preference=(mechanism,))

    return exchange


class LoopbackTests(TestCase):
    """Real connections."""

    timeout = 60

    async def sink(
        self, where: str = "tcp:0:interface=127.0.0.1", tls: ServerTLS | None = None, **settings: Any
    ) -> str:
        """A sink; how it is reached."""
        self.sunk = Sink(SinkSettings(**settings), reactor, random=random.random, entropy=os.urandom, tls=tls)
        port: Any = await serverFromString(reactor, where).listen(self.sunk.factory)
        self.addCleanup(self.sunk.factory.shutdown)
        self.addCleanup(port.stopListening)
        if where.startswith("unix:"):
            return where
        host = port.getHost()
        return f"tcp:{host.host.replace(':', chr(92) + ':')}:{host.port}"

    async def run_source(
        self, where: str, messages: int = 6, *, octets: int = 1000, **client: Any
    ) -> Figures:
        """Figures of some messages."""
        settings = SourceSettings(
            client=ClientSettings(hello_name="client.example", **client),
            sessions=2,
            messages=messages,
            per_connection=2,
        )
        endpoint = clientFromString(reactor, where)
        source = LoadSource(
            reactor, endpoint, settings, mail(letters(messages, (octets, octets))), now=time.perf_counter
        )
        return await source.run()

    def arrived(self, figures: Figures, messages: int = 6) -> None:
        """All of them did."""
        self.assertEqual((figures.tally.delivered, dict(figures.tally.errors)), (messages, {}))
        self.assertEqual((self.sunk.counted.messages, self.sunk.numbers.missing), (messages, 0))

    def verifying(self, *, implicit: bool = False) -> ClientTLS:
        """TLS that trusts the certificate of the tests."""
        return ClientTLS(optionsForClientTLS("mx.example", trustRoot=certificate()), implicit=implicit)

    async def test_plain(self) -> None:
        """Messages arrive over TCP, and each stage has its latency."""
        figures = await self.run_source(await self.sink())
        self.arrived(figures)
        self.assertEqual(figures.tally.stages["connect"].count, figures.tally.connections)
        self.assertEqual(figures.tally.stages["QUIT"].count, figures.tally.connections)
        self.assertGreater(figures.tally.stages["message"].minimum, 0)
        self.assertGreater(figures.rate, 0)

    async def test_starttls_and_implicit_tls(self) -> None:
        """TLS begins after STARTTLS, or before everything; the handshake is a stage, and the version is told."""
        for implicit in (False, True):
            where = await self.sink(tls=ServerTLS(certificate().options(), implicit=implicit))
            figures = await self.run_source(where, tls=self.verifying(implicit=implicit))
            self.arrived(figures)
            count = figures.tally.connections
            self.assertEqual((self.sunk.counted.tls, figures.tally.stages["TLS"].count), (count, count))
            self.assertTrue(next(iter(figures.tally.tls)).startswith("TLSv1."))

    async def test_long_messages_under_tls(self) -> None:
        """Messages that are written block by block arrive under TLS, too, by DATA and by BDAT."""
        where = await self.sink(tls=ServerTLS(certificate().options()))
        for chunking in (False, True):
            figures = await self.run_source(
                where, 2, octets=1_500_000, tls=self.verifying(), prefer_chunking=chunking
            )
            self.assertEqual((figures.tally.delivered, dict(figures.tally.errors)), (2, {}))
        self.assertEqual(self.sunk.counted.messages, 4)
        self.assertGreater(self.sunk.counted.octets, 6_000_000)

    async def test_a_certificate_that_is_not_trusted(self) -> None:
        """A handshake that fails is counted with its reason, and nothing is sent."""
        where = await self.sink(tls=ServerTLS(certificate().options()))
        figures = await self.run_source(where, 2, tls=ClientTLS(optionsForClientTLS("mx.example")))
        self.assertEqual((figures.tally.failed, self.sunk.counted.messages), (2, 0))
        self.assertTrue(all(kind.startswith("TLS: ") for kind in figures.tally.errors), figures.tally.errors)

    async def test_client_certificates(self) -> None:
        """A server that insists on a certificate is given one."""
        own = certificate()
        insisting = CertificateOptions(
            privateKey=own.privateKey.original,
            certificate=own.original,
            verify=True,
            caCerts=[own.original],
            requireCertificate=True,
        )
        where = await self.sink(tls=ServerTLS(insisting))
        creator = optionsForClientTLS("mx.example", trustRoot=own, clientCertificate=own)
        self.arrived(await self.run_source(where, tls=ClientTLS(creator)))
        figures = await self.run_source(where, 2, tls=self.verifying())
        self.assertEqual(figures.tally.failed, 2)

    async def test_log_ins(self) -> None:
        """A source logs in with each mechanism, under TLS with channel binding."""
        where = await self.sink(tls=ServerTLS(certificate().options()), authentication=AnybodyOr(USER))
        for mechanism in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "CRAM-MD5", "LOGIN", "PLAIN"):
            figures = await self.run_source(where, 2, tls=self.verifying(), exchange=logging_in(mechanism))
            self.assertEqual((figures.tally.delivered, dict(figures.tally.errors)), (2, {}), mechanism)
        self.assertEqual(self.sunk.counted.authenticated, self.sunk.counted.tls)

    async def test_wrong_passwords(self) -> None:
        """A log-in that is refused is a connection that failed, and the password is in no figure."""
        where = await self.sink(authentication=AnybodyOr(USER))
        wrong = Credentials("alice", "hunter22")
        for mechanism in ("SCRAM-SHA-256", "PLAIN"):
            figures = await self.run_source(where, 2, exchange=logging_in(mechanism, wrong))
            self.assertEqual(
                (figures.tally.failed, dict(figures.tally.errors)), (2, {"refused: AUTH 535": 2})
            )
            self.assertNotIn("hunter22", str(figures.as_json()))
        figures = await self.run_source(where, 1, exchange=logging_in("EXTERNAL"))
        self.assertEqual(dict(figures.tally.errors), {"AUTH: no common mechanism": 1})
        self.assertEqual(self.sunk.counted.messages, 0)

    async def test_lmtp_over_a_unix_socket(self) -> None:
        """LMTP over a unix socket has a reply for each recipient."""
        folder = mkdtemp(prefix="moxtwisted-")
        self.addCleanup(rmtree, folder, True)
        where = await self.sink(f"unix:{Path(folder) / 's'}", lmtp=True)
        self.arrived(await self.run_source(where, lmtp=True))

    async def test_ipv6(self) -> None:
        """IPv6 is one more way."""
        try:
            where = await self.sink("tcp6:0:interface=\\:\\:1")
        except OSError as e:
            self.skipTest(f"no IPv6 here: {e}")
        self.arrived(await self.run_source(where))

    async def test_nobody_listens(self) -> None:
        """Connections that the kernel refuses are counted, and the run ends."""
        port: Any = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(
            Sink(SinkSettings(), reactor, random=random.random, entropy=os.urandom).factory
        )
        where = f"tcp:127.0.0.1:{port.getHost().port}"
        await port.stopListening()
        figures = await self.run_source(where, 3)
        self.assertEqual((figures.tally.failed, dict(figures.tally.errors)), (3, {"connect: refused": 3}))

    async def test_a_server_that_hangs_up(self) -> None:
        """Whatever a server closes on, the source counts it and goes on."""
        rules = Rules()
        rules.refuse(Fate.CLOSE, ".:50")
        figures = await self.run_source(await self.sink(rules=rules), 40)
        tally = figures.tally
        self.assertEqual((tally.delivered + tally.failed, tally.delivered), (40, self.sunk.counted.messages))
        self.assertEqual(sum(tally.errors.values()), tally.failed)
