"""What of the configuration reaches those who verify, and when the parts are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.compose.verification import Verification
from moxtwisted.config.load import LoadedConfig, parse_domains, parse_static
from moxtwisted.server.verification.verifier import Verifier, VerifierSettings
from moxtwisted.smtp.settings import Mode

STATIC = """
hostname = "mail.example.org"
[postmaster]
account = "alice"
[listeners.public]
ips = ["127.0.0.1"]
hostname = "mx.example.org"
[listeners.public.smtp]
[resolver]
servers = ["127.0.0.1:5353"]
"""
DOMAINS = """
[domains."example.org"]
[accounts.alice]
domain = "example.org"
addresses = {"alice@example.org" = {}}
"""


class Threads:
    """A reactor's pool that runs nothing."""

    def __init__(self) -> None:
        self.work: list[Any] = []

    def callInThreadWithCallback(self, done: Any, function: Any, *arguments: Any) -> None:
        """Take note."""
        self.work.append(function)


class CountingClock(Clock):
    """With a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.threads = Threads()

    def getThreadPool(self) -> Threads:
        """See ``IReactorThreads``."""
        return self.threads


class CompositionTests(SynchronousTestCase):
    def parts(self, text: str = "") -> Verification:
        """Those of a configuration."""
        self.clock = CountingClock()
        static, path = parse_static((STATIC + text).encode()), Path("/nowhere/mox.conf")
        loaded = LoadedConfig(static, parse_domains(DOMAINS.encode()), path, path.with_name("domains.conf"))
        return Verification(loaded, self.clock)

    def verifier(self, parts: Verification) -> Verifier:
        """The one that listeners get."""
        made = parts.checks().verifier
        assert isinstance(made, Verifier)
        return made

    def test_where(self) -> None:
        """SMTP is checked, LMTP only if wanted, and nothing when it is switched off."""
        default = self.parts()
        self.assertIsNotNone(default.checks_for(Mode.MX))
        self.assertIsNone(default.checks_for(Mode.LMTP))
        self.assertIsNotNone(self.parts("[verification]\nlmtp = true\n").checks_for(Mode.LMTP))
        off = self.parts("[verification]\nenabled = false\nlmtp = true\n")
        self.assertEqual((off.checks_for(Mode.MX), off.checks_for(Mode.LMTP)), (None, None))

    def test_one_of_each(self) -> None:
        """All listeners share one verifier and one resolver, which asks whom the configuration names."""
        parts = self.parts()
        self.assertIs(parts.checks(), parts.checks())
        self.assertIs(self.verifier(parts).resolver, parts.tolerant_resolver)
        plain = self.parts("validate = false\n")
        self.assertIs(self.verifier(plain).resolver, plain.resolver)
        self.assertEqual([str(server) for server in parts.resolver.settings.servers], ["127.0.0.1:5353"])

    def test_defaults(self) -> None:
        """Without configuration our name is the host's, and the names of all listeners are ours."""
        parts = self.parts()
        settings = self.verifier(parts).settings
        self.assertEqual((settings.authserv_id, settings.tree_walk), ("mail.example.org", False))
        self.assertEqual(parts.checks().own_names, {"mail.example.org", "mx.example.org"})
        self.assertEqual(parts.checks().removed_fields, (b"x-spam", b"x-rspamd-", b"x-virus-"))
        rules: Any = parts.checks().sender_rules
        self.assertEqual((rules.reachable, rules.spf_for_several), (True, True))
        self.assertIsNotNone(self.verifier(parts).in_thread)

    def test_configured(self) -> None:
        """What is configured arrives, sealers as the DNS has them."""
        parts = self.parts(
            '[verification]\nauthserv_id = "example.org"\ntrusted_arc_sealers = ["Lists.MÜNCHEN.example"]\n'
            "dmarc_tree_walk = true\nmethod_seconds = 5\ntotal_seconds = 7\nsecond_opinion = false\n"
            "sender_must_receive = false\nseveral_recipients_need_spf = false\nremoved_fields = []\n"
        )
        verifier = self.verifier(parts)
        self.assertEqual(
            verifier.settings,
            VerifierSettings(
                authserv_id="example.org",
                method_seconds=5,
                total_seconds=7,
                trusted_sealers=frozenset(("lists.xn--mnchen-3ya.example",)),
                tree_walk=True,
            ),
        )
        self.assertIsNone(verifier.in_thread)
        self.assertIn("example.org", parts.checks().own_names)
        self.assertEqual(parts.checks().removed_fields, ())
        rules: Any = parts.checks().sender_rules
        self.assertEqual((rules.seconds, rules.reachable, rules.spf_for_several), (5, False, False))

    def test_warm_up(self) -> None:
        """A moment after the start a thread imports and reads what is needed; not when nothing is checked, or we stop."""
        for text, stop, expected in (
            ("", False, 1),
            ("", True, 0),
            ("[verification]\nenabled = false\n", False, 0),
        ):
            parts = self.parts(text)
            parts.start()
            if stop:
                parts.stop()
            self.clock.advance(1)
            self.assertEqual(len(self.clock.threads.work), expected)
            parts.stop()
            for work in self.clock.threads.work:
                work()
