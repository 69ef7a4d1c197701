"""From the limits in the configuration to those of an account."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.compose.translation import message_quota, quota
from moxtwisted.config.load import parse_domains, parse_static
from tests.config.test_load import DOMAINS, STATIC


class QuotaTests(SynchronousTestCase):
    def test_own_or_everybodys(self) -> None:
        """An account's own limits go before those of the store; 0 is no limit in both places."""
        static = parse_static((STATIC + "[store]\nquota_octets = 5000\nquota_messages = 100\n").encode())
        unlimited = parse_static(STATIC.encode())
        alice = 'domain = "example.org"\n'
        for line, octets, messages in (
            ("", 5000, 100),
            ("quota_octets = 7\nquota_messages = 8\n", 7, 8),
            ("quota_octets = 0\nquota_messages = 0\n", None, None),
            ("quota_messages = 3\n", 5000, 3),
        ):
            text = DOMAINS.replace(alice, alice + line, 1)
            domains = parse_domains(text.encode(), static)
            self.assertEqual(quota(domains, static, "alice"), octets, line)
            self.assertEqual(message_quota(domains, static, "alice"), messages, line)
        domains = parse_domains(DOMAINS.encode(), unlimited)
        self.assertIsNone(quota(domains, unlimited, "alice"))
        self.assertIsNone(message_quota(domains, unlimited, "alice"))
