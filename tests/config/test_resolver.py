"""Whom the resolver asks, by the configuration and by the machine."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.resolver import resolver_settings
from moxtwisted.config.schema import Resolver
from moxtwisted.dns.servers import ServerAddress


class ResolverSettingsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.resolv_conf = Path(self.mktemp())
        self.resolv_conf.write_text("nameserver 192.0.2.53\noptions trust-ad\n")

    def test_configured(self) -> None:
        """Servers of the configuration are asked, and what the machine says does not count for them."""
        settings = resolver_settings(Resolver(servers=("[2001:db8::53]:5353",)), self.resolv_conf)
        self.assertEqual(settings.servers, (ServerAddress("2001:db8::53", 5353),))
        self.assertFalse(settings.believes_ad)

    def test_machine(self) -> None:
        """Without servers, those of the machine are asked and believed as it says."""
        settings = resolver_settings(Resolver(), self.resolv_conf)
        self.assertEqual((settings.servers, settings.believes_ad), ((ServerAddress("192.0.2.53"),), True))

    def test_no_file(self) -> None:
        """A machine without the file has a resolver of its own, by the manual."""
        settings = resolver_settings(Resolver(), Path(self.mktemp()))
        self.assertEqual((settings.servers, settings.believes_ad), ((ServerAddress("127.0.0.1"),), True))

    def test_trust(self) -> None:
        """The configuration can have servers elsewhere believed."""
        settings = resolver_settings(Resolver(servers=("192.0.2.1",), trust_ad=True, validate=False))
        self.assertTrue(settings.believes_ad)
        self.assertFalse(settings.validate)
