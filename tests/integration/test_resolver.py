"""The resolver against BIND, Knot and Unbound, with a root key of the tests' own: what is secure, insecure and bogus."""

from __future__ import annotations

import atexit
import os
import tempfile
from functools import cache
from pathlib import Path
from shutil import rmtree
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from moxtwisted.dns.agent import DNSResolver
from moxtwisted.dns.anchors import TrustAnchors
from moxtwisted.dns.answers import Answer, BogusError, NoAnswerError, Security
from moxtwisted.dns.records import MX
from moxtwisted.dns.servers import ResolverSettings

from .peers import needs
from .signedtree import Knot, Named, NameServer, Unbound, World, build, free_address


@cache
def folder() -> Path:
    """Where this process keeps zones and logs."""
    made = Path(tempfile.mkdtemp(prefix="moxtwisted-dns-"))
    # BIND gives root's rights up in part; what it serves must be readable.
    made.chmod(0o755)
    atexit.register(rmtree, made, ignore_errors=True)
    return made


@cache
def world() -> World:
    """The zones, once for the process."""
    return build(folder() / "zones")


@cache
def server(kind: str) -> NameServer:
    """A server, started once for the process."""
    address = free_address()
    where = folder() / kind
    made: NameServer
    if kind == "named":
        made = Named(world(), where, address)
    elif kind == "knotd":
        made = Knot(world(), where, address)
    else:
        upstream = server("named").address
        made = Unbound(world(), where, address, upstream, kind == "unbound")
    made.start()
    atexit.register(made.stop)
    return made


class TreeTestCase(TestCase):
    """Tests with a resolver that has the tests' own root key."""

    timeout = 60
    kind: ClassVar[str] = "named"
    validates_here: ClassVar[bool] = True

    def setUp(self) -> None:
        """Make a resolver with nothing in its cache."""
        settings = ResolverSettings(
            servers=(server(self.kind).address,), trust_ad=None if not self.validates_here else False
        )
        self.resolver = DNSResolver(
            reactor, settings, entropy=os.urandom, anchors=TrustAnchors.parse(world().anchors)
        )

    async def ask(self, name: str, rrtype: str) -> Answer:
        return await self.resolver.lookup(name, rrtype)

    async def fails(self, name: str, rrtype: str) -> Any:
        """Look up what must not be believed; the error."""
        expected = BogusError if self.validates_here else NoAnswerError
        return await self.assertFailure(Deferred.fromCoroutine(self.ask(name, rrtype)), expected)


class StateTests:
    """The facts, the same with every server."""

    async def test_secure(self: Any) -> None:
        """Records of every kind of signed zone are secure, also by a chain of CNAME records within and between signed zones."""
        for zone in ("secure.test", "p384.test", "nsec3.test", "optout.test"):
            answer = await self.ask(zone, "MX")
            self.assertEqual(
                (answer.records, answer.security), ((MX(10, f"mail.{zone}"),), Security.SECURE), zone
            )
            for name, rrtype in (
                (f"www.{zone}", "A"),
                (f"home.{zone}", "AAAA"),
                (f"_25._tcp.mail.{zone}", "TLSA"),
            ):
                answer = await self.ask(name, rrtype)
                self.assertEqual((len(answer.records), answer.security), (1, Security.SECURE), name)

    async def test_absence(self: Any) -> None:
        """That a name or a type is not there is proved, with NSEC and with NSEC3."""
        for zone in ("secure.test", "p384.test", "nsec3.test"):
            for name, exists in (
                ("no", False),
                ("deep.down.below", False),
                ("x.a.b.c", False),
                ("mail", True),
                ("b.c", True),
                ("x.wild", True),
            ):
                answer = await self.ask(f"{name}.{zone}", "SRV")
                self.assertEqual(
                    (answer.records, answer.exists, answer.security), ((), exists, Security.SECURE), answer
                )

    async def test_wildcard(self: Any) -> None:
        """What comes from a wildcard is secure, where nothing closer can be there."""
        for zone in ("secure.test", "nsec3.test"):
            for name in ("x.wild", "x.y.wild"):
                answer = await self.ask(f"{name}.{zone}", "TXT")
                self.assertEqual((answer.records, answer.security), ((b"from a wildcard",), Security.SECURE))

    async def test_opt_out(self: Any) -> None:
        """Below a delegation that opt-out leaves unsigned all is insecure, and so is it that a name is not there."""
        answer = await self.ask("mail.unsigned.optout.test", "A")
        self.assertEqual((answer.records, answer.security), (("192.0.2.1",), Security.INSECURE))
        answer = await self.ask("no.optout.test", "A")
        self.assertEqual((answer.exists, answer.security), (False, Security.INSECURE))
        answer = await self.ask("mail.optout.test", "SRV")
        self.assertEqual((answer.exists, answer.security), (True, Security.SECURE))

    async def test_insecure(self: Any) -> None:
        """What the parent says is not signed, or is signed in a way that nobody knows, is insecure, and so is a chain through it."""
        for name in (
            "mail.insecure.test",
            "mail.strange.test",
            "away.secure.test",
            "away.nsec3.test",
        ):
            answer = await self.ask(name, "A")
            self.assertEqual((answer.records, answer.security), (("192.0.2.1",), Security.INSECURE), name)
        for name in ("no.insecure.test", "x.away.insecure.test"):
            answer = await self.ask(name, "A")
            self.assertEqual((answer.exists, answer.security), (False, Security.INSECURE))

    async def test_bogus(self: Any) -> None:
        """What was changed, has expired, lost its signatures or has another key than the parent says is not believed."""
        for name in ("mail.bogus.test", "mail.expired.test", "mail.stripped.test", "mail.wrongds.test"):
            await self.fails(name, "A")
        await self.fails("no.stripped.test", "A")
        # The rest of a zone with one bad record is good.
        self.assertIs((await self.ask("bogus.test", "MX")).security, Security.SECURE)

    async def test_renamed(self: Any) -> None:
        """A CNAME record that a DNAME record makes is as secure as that one."""
        answer = await self.ask("mail.moved.nsec3.test", "A")
        self.assertEqual(
            (answer.records, answer.canonical_name, answer.security),
            (("192.0.2.1",), "mail.secure.test", Security.SECURE),
        )

    async def test_large(self: Any) -> None:
        """A large signed answer comes by TCP."""
        answer = await self.ask("big.secure.test", "TXT")
        self.assertEqual((len(answer.records[0]), answer.security), (4800, Security.SECURE))


@needs("named")
class NamedTests(StateTests, TreeTestCase):
    """Signatures are checked here, BIND only serves."""

    async def test_iterations(self) -> None:
        """Records of a zone with too many NSEC3 iterations are secure, their absence is insecure."""
        self.assertIs((await self.ask("mail.iterated.test", "A")).security, Security.SECURE)
        answer = await self.ask("no.iterated.test", "A")
        self.assertEqual((answer.exists, answer.security), (False, Security.INSECURE))


@needs("knotd", "named")
class KnotTests(StateTests, TreeTestCase):
    """Signatures are checked here, Knot only serves."""

    kind = "knotd"


@needs("unbound", "named")
class IteratorTests(StateTests, TreeTestCase):
    """Signatures are checked here, a resolver that does not is in front."""

    kind = "iterator"


@needs("unbound", "named")
class BelievedTests(StateTests, TreeTestCase):
    """A validating resolver on this machine is believed, and says the same."""

    kind = "unbound"
    validates_here = False


@needs("unbound", "named")
class UnbelievedTests(StateTests, TreeTestCase):
    """A validating resolver is asked not to check, and its answers are checked here."""

    kind = "unbound"


@needs("unbound", "named")
class ForwarderTests(TreeTestCase):
    """A resolver on this machine that does not validate."""

    kind = "iterator"
    validates_here = False

    async def test_checked(self) -> None:
        """Its lack of the AD bit is not taken for an insecure answer: signatures are checked here."""
        self.assertIs((await self.ask("secure.test", "MX")).security, Security.SECURE)
        await self.assertFailure(Deferred.fromCoroutine(self.ask("mail.bogus.test", "A")), BogusError)


@needs("named")
class AnchorTests(TreeTestCase):
    """Whom trust begins with."""

    async def test_other_root(self) -> None:
        """With the real root's key, this world is bogus."""
        self.resolver = DNSResolver(
            reactor,
            ResolverSettings(servers=(server("named").address,), trust_ad=False),
            entropy=os.urandom,
        )
        await self.fails("secure.test", "MX")

    async def test_no_anchor(self) -> None:
        """Above the anchors nothing is known of security; below them it is."""
        text = (await self.ask("secure.test", "DS")).records[0]
        anchors = TrustAnchors({"secure.test": (text,)})
        settings = ResolverSettings(servers=(server("named").address,), trust_ad=False)
        self.resolver = DNSResolver(reactor, settings, entropy=os.urandom, anchors=anchors)
        self.assertIs((await self.ask("p384.test", "MX")).security, Security.INDETERMINATE)
        self.assertIs((await self.ask("secure.test", "MX")).security, Security.SECURE)

    async def test_kept(self) -> None:
        """What was proved of zones is kept: a second lookup in a zone needs one question."""
        await self.ask("mail.secure.test", "A")
        asked = []
        ask = self.resolver._ask

        async def counted(question: Any, policy: Any) -> Any:
            asked.append(question)
            return await ask(question, policy)

        self.resolver._ask = counted  # type: ignore[method-assign]
        await self.ask("secure.test", "MX")
        self.assertEqual(len(asked), 1)
