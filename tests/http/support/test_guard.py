"""Requests that other people's pages make a browser send."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from moxtwisted.http.support.guard import Guard, Guarded, allow
from moxtwisted.http.support.site import BoundedSite
from tests.http.memory import Answer, Client


class _Inner(Resource):
    """Answers everything."""

    isLeaf = True

    def render(self, request: object) -> bytes:
        return b"inside"


class GuardTests(SynchronousTestCase):
    """Whose requests are answered."""

    def setUp(self) -> None:
        clock = Clock()
        self.site: Site = BoundedSite(Guarded(_Inner(), Guard(["Mail.Example.", "192.0.2.1"])), clock)
        self.client = Client(self.site, clock)
        self.addCleanup(self.client.close)

    def ask(self, method: str = "GET", path: str = "/", **headers: str) -> Answer:
        """Ask with some headers."""
        named: Mapping[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.ask(method, path, named)

    def test_hosts(self) -> None:
        """Our names, localhost and addresses are hosts of ours, with and without a port."""
        for host in (
            "localhost", "LOCALHOST:25080", "badsmtp.localhost:80", "127.0.0.1", "127.0.0.1:25080", "[::1]:25080", "[::1]",
            "192.0.2.1", "198.51.100.7:1", "mail.example", "mail.example.:25080",
        ):  # fmt: skip
            self.assertEqual(self.ask(Host=host).body, b"inside", host)

    def test_other_hosts(self) -> None:
        """A name that was made to resolve to our address is no name of ours (DNS rebinding)."""
        for host in (
            "attacker.example", "attacker.example:25080", "localhost.attacker.example", "127.0.0.1.attacker.example", "xlocalhost",
            "mail.example@attacker.example", "attacker.example#localhost", "attacker.example/localhost", "localhost\\x", "[::1",
            "127.0.0.1 attacker.example", "[attacker.example]", "\xe4.example", "\xff.localhost", ":25080",
        ):  # fmt: skip
            answer = self.ask(Host=host)
            self.assertIn(answer.status, (400, 421), host)
            self.assertNotIn(b"inside", answer.body)

    def test_host_is_needed_once(self) -> None:
        """Without a host, and with two of them, nothing is answered."""
        for octets in (
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: attacker.example\r\n\r\n",
        ):
            exchange = self.client.send(octets)
            self.assertNotIn(b"inside", exchange.octets)

    def test_other_sites(self) -> None:
        """What a page of another site asks for is refused; a link to our page may be followed."""
        self.assertEqual(self.ask(Sec_Fetch_Site="same-origin").status, 200)
        self.assertEqual(self.ask(Sec_Fetch_Site="none").status, 200)
        for site in ("cross-site", "same-site", "nonsense"):
            self.assertEqual(self.ask(Sec_Fetch_Site=site).status, 403)
            followed = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
            self.assertEqual(self.ask(**followed).status, 200)
            self.assertEqual(self.ask(path="/api/messages", **followed).status, 403)
            self.assertEqual(self.ask(method="POST", **followed).status, 403)
            self.assertEqual(self.ask(**{**followed, "Sec_Fetch_Dest": "iframe"}).status, 403)

    def test_other_origins(self) -> None:
        """Only our own origin changes anything; programs that are no browsers name none."""
        for method in ("POST", "DELETE", "PUT"):
            self.assertEqual(self.ask(method).status, 200)
            self.assertEqual(self.ask(method, Origin="http://127.0.0.1:25080").status, 200)
            self.assertEqual(
                self.ask(method, Host="Mail.example:25080", Origin="http://mail.example:25080").status, 200
            )
            for origin in (
                "http://127.0.0.1:3000",
                "http://attacker.example",
                "null",
                "",
                "http://localhost:25080",
                "x",
                "http://[",
                "http://x@127.0.0.1:25080",
            ):
                wanted = 403 if origin else 200  # an empty one is not sent at all
                self.assertEqual(self.ask(method, Origin=origin).status, wanted, origin)
        self.assertEqual(self.ask("GET", Origin="http://attacker.example").status, 200)

    def test_headers(self) -> None:
        """Every answer, good or bad, forbids browsers everything that it does not need."""
        for answer in (self.ask(), self.ask(Host="attacker.example")):
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertEqual(answer.headers["x-frame-options"], "DENY")
            self.assertEqual(answer.headers["cross-origin-resource-policy"], "same-origin")
            self.assertEqual(answer.headers["referrer-policy"], "no-referrer")
            self.assertTrue(answer.headers["content-security-policy"].startswith("default-src 'none'"))
            self.assertNotIn("access-control-allow-origin", answer.headers)
            self.assertEqual(answer.headers["server"], "moxtwisted")

    @settings(max_examples=100)
    @given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
    def test_any_host(self, host: str) -> None:
        """Whatever the Host header says is answered, and let in only when what stands before the port is ours."""
        answer = self.ask(Host=host)
        if answer.body == b"inside":
            name = host.lower().rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host.lower()
            name = name.rstrip(":").rstrip(".").strip("[]")
            self.assertTrue(
                name in {"localhost", "mail.example"}
                or name.endswith(".localhost")
                or set(name) <= set("0123456789abcdef.:%"),
                host,
            )


class AllowTests(SynchronousTestCase):
    """Loosening the policy."""

    def test_frames(self) -> None:
        """Only what is said to be framed may be, and only by our own pages."""

        class Inner(Resource):
            isLeaf = True

            def render(self, request: object) -> bytes:
                allow(request, "default-src 'self'", framed=getattr(request, "path", b"") == b"/framed")
                return b"x"

        clock = Clock()
        client = Client(BoundedSite(Guarded(Inner(), Guard()), clock), clock)
        self.addCleanup(client.close)
        free, framed = client.ask("GET", "/"), client.ask("GET", "/framed")
        self.assertEqual(
            free.headers["content-security-policy"], "default-src 'self'; frame-ancestors 'none'"
        )
        self.assertEqual(free.headers["x-frame-options"], "DENY")
        self.assertEqual(
            framed.headers["content-security-policy"], "default-src 'self'; frame-ancestors 'self'"
        )
        self.assertEqual(framed.headers["x-frame-options"], "SAMEORIGIN")
