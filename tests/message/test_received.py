"""Trace fields."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.message.headers import Header
from moxtwisted.message.received import Hop, received, return_path, with_protocol


class ReceivedTests(SynchronousTestCase):
    """received."""

    def test_full(self) -> None:
        """All clauses in the order of RFC 5321 section 4.4, folded."""
        hop = Hop(
            "mx.example",
            with_protocol(tls=True),
            "5f2c",
            ehlo="client.example",
            peer_ip="192.0.2.1",
            peer_name="mail.client.example",
            tls="TLSv1.3 TLS_AES_128_GCM_SHA256",
            recipient="anna@example.org",
        )
        self.assertEqual(
            received(hop, 880127706, -360),
            b"Received: from client.example (mail.client.example [192.0.2.1])\r\n"
            b"\tby mx.example with ESMTPS (TLSv1.3 TLS_AES_128_GCM_SHA256)\r\n"
            b"\tid 5f2c for <anna@example.org>;\r\n"
            b"\tFri, 21 Nov 1997 09:55:06 -0600\r\n",
        )

    def test_submission(self) -> None:
        """A submission does not tell from where."""
        hop = Hop("mx.example", with_protocol(tls=True, authenticated=True), "1")
        self.assertEqual(
            received(hop, 0),
            b"Received: by mx.example with ESMTPSA\r\n\tid 1;\r\n\tThu, 1 Jan 1970 00:00:00 +0000\r\n",
        )

    def test_ipv6(self) -> None:
        """An IPv6 peer is written as address literal."""
        field = received(Hop("mx.example", "ESMTP", "1", ehlo="[IPv6:::1]", peer_ip="::1"), 0)
        self.assertIn(b"from [IPv6:::1] ([IPv6:::1])\r\n", field)

    def test_nothing_can_be_forged(self) -> None:
        """What the peer said cannot end a clause, a comment or the field."""
        evil = "a;\r\nX-Forged: (b) <c>\0\\"
        hop = Hop(
            evil,
            evil,
            evil,
            ehlo=evil,
            peer_ip="192.0.2.1",
            peer_name=evil,
            tls=evil,
            comment=evil,
            recipient=evil,
        )
        field = received(hop, 0)
        header = Header.parse(field)
        self.assertEqual([name for _, name in header.fields], [b"received"])
        self.assertEqual(field.count(b";"), 1 + 2)  # ours, and those within the two comments
        self.assertNotIn(b"for <", field)
        self.assertTrue(
            all(
                len(line) < 998
                for line in received(Hop("x" * 9999, "y", "z" * 9999, ehlo="e" * 9999), 0).split(b"\r\n")
            )
        )

    def test_protocols(self) -> None:
        """The words of RFC 3848 and RFC 6531."""
        for word, arguments in (
            ("SMTP", {"extended": False}),
            ("ESMTP", {}),
            ("ESMTPS", {"tls": True}),
            ("ESMTPA", {"authenticated": True}),
            ("ESMTPSA", {"tls": True, "authenticated": True}),
            ("UTF8SMTP", {"smtputf8": True}),
            ("UTF8SMTPSA", {"smtputf8": True, "tls": True, "authenticated": True}),
            ("LMTP", {"lmtp": True}),
            ("UTF8LMTPS", {"lmtp": True, "smtputf8": True, "tls": True}),
        ):
            self.assertEqual(with_protocol(**arguments), word)

    def test_return_path(self) -> None:
        """Return-Path has the path as it is."""
        self.assertEqual(return_path(b"<>"), b"Return-Path: <>\r\n")
