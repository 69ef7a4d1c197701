"""Addresses of servers, and resolv.conf."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.dns.servers import ResolverSettings, ServerAddress


class AddressTests(SynchronousTestCase):
    def test_parse(self) -> None:
        """An address may have a port; that of IPv6 stands behind brackets."""
        for text, address, port in (
            ("192.0.2.1", "192.0.2.1", 53),
            ("192.0.2.1:5353", "192.0.2.1", 5353),
            ("2001:db8::1", "2001:db8::1", 53),
            ("[2001:db8::1]", "2001:db8::1", 53),
            ("[2001:db8::1]:5353", "2001:db8::1", 5353),
        ):
            parsed = ServerAddress.parse(text)
            self.assertEqual(parsed, ServerAddress(address, port))
            self.assertEqual(ServerAddress.parse(str(parsed)), parsed)

    def test_bad(self) -> None:
        """Names, and ports that are none, are refused."""
        for text in (
            "",
            "example.org",
            "192.0.2.1:",
            "192.0.2.1:0",
            "192.0.2.1:65536",
            "[::1",
            "[::1]x",
            "::1]:5",
        ):
            with self.assertRaises(ValueError, msg=text):
                ServerAddress.parse(text)


class ResolvConfTests(SynchronousTestCase):
    def test_read(self) -> None:
        """Servers and options are read, comments and what is for names of hosts are not."""
        settings = ResolverSettings.from_resolv_conf(
            "# comment\nnameserver 192.0.2.1\nnameserver 2001:db8::1 ; second\nnameserver nonsense\n"
            "search example.org\noptions edns0 trust-ad timeout:3 attempts:4\n"
        )
        self.assertEqual(settings.servers, (ServerAddress("192.0.2.1"), ServerAddress("2001:db8::1")))
        self.assertEqual((settings.try_seconds, settings.rounds, settings.believes_ad), (3.0, 4, True))

    def test_belief(self) -> None:
        """Servers on this machine are believed, others only when it says so, and one elsewhere spoils it."""
        for text, believed in (
            ("", True),
            ("nameserver 127.0.0.53", True),
            ("nameserver ::1", True),
            ("nameserver 192.0.2.1", False),
            ("nameserver 127.0.0.1\nnameserver 192.0.2.1", False),
            ("nameserver 192.0.2.1\noptions trust-ad", True),
        ):
            self.assertIs(ResolverSettings.from_resolv_conf(text).believes_ad, believed, text)

    @given(st.text(max_size=200))
    @settings(max_examples=100)
    def test_anything(self, text: str) -> None:
        """Whatever the file says, there are settings."""
        found = ResolverSettings.from_resolv_conf("options timeout:" + text + "\nnameserver " + text)
        self.assertTrue(found.servers)
        self.assertTrue(1 <= found.try_seconds <= 30)
