"""Which account an address leads to."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.address import Address, Path, parse_path
from moxtwisted.server.directory import (
    UNKNOWN_DOMAIN,
    AccountEntry,
    AliasEntry,
    Delivery,
    Directory,
    DomainEntry,
    KeyEntry,
    Postmaster,
    Recipients,
    Refused,
    ReportEntry,
)


def directory(*, everything: Delivery | None = None, disabled: bool = False) -> Directory:
    return Directory.build(
        [
            DomainEntry(
                "example.org",
                disabled=disabled,
                aliases={
                    "team": AliasEntry(("alice@example.org", "bob+x@example.org"), allow_message_from=True),
                    "inner": AliasEntry(("bob@example.org",), post_public=False),
                },
            ),
            DomainEntry("strict.example", separators=(), case_sensitive=True),
        ],
        [
            AccountEntry(
                "alice",
                tls_public_keys={"ab" * 32: KeyEntry()},
                addresses={"Alice@example.org": "INBOX", "@strict.example": "Rest"},
            ),
            AccountEntry("bob", addresses={"bob@example.org": "INBOX", "Bob@strict.example": "Strict"}),
        ],
        Postmaster("alice", "Postmaster"),
        "mail.example.net",
        everything,
    )


def resolve(address: str, found: Directory | None = None) -> Recipients | Refused:
    return (found or directory()).resolve(Path(Address.parse(address)))


class ResolveTests(SynchronousTestCase):
    def test_exact(self) -> None:
        """An address of an account leads to its mailbox."""
        self.assertEqual(resolve("bob@example.org"), Recipients((Delivery("bob", "INBOX"),)))

    def test_case_and_separator(self) -> None:
        """Case does not count and what stands behind a separator is free, unless the domain says otherwise."""
        self.assertEqual(resolve("ALICE+shop@EXAMPLE.org"), Recipients((Delivery("alice", "INBOX"),)))
        self.assertEqual(resolve("Bob@strict.example"), Recipients((Delivery("bob", "Strict"),)))
        self.assertEqual(resolve("bob@strict.example"), Recipients((Delivery("alice", "Rest"),)))

    def test_catch_all(self) -> None:
        """What nobody else has goes to the catch-all of its domain, and only of that."""
        self.assertEqual(resolve("bob+x@strict.example"), Recipients((Delivery("alice", "Rest"),)))
        found = resolve("nobody@example.org")
        assert isinstance(found, Refused)
        self.assertEqual((found.reply_code, found.enhanced_code, found.local), (550, "5.1.1", True))

    def test_foreign(self) -> None:
        """Another domain is not ours, and neither is an address literal."""
        for address in ("x@example.com", "x@[127.0.0.1]"):
            found = resolve(address)
            assert isinstance(found, Refused)
            self.assertEqual((found.enhanced_code, found.local), ("5.1.2", False))

    def test_alias(self) -> None:
        """An alias leads to each member's account, and may be for members only."""
        found = resolve("Team@example.org")
        self.assertEqual(found, Recipients((Delivery("alice", "INBOX"), Delivery("bob", "INBOX"))))
        inner = resolve("inner@example.org")
        assert isinstance(inner, Recipients)
        self.assertFalse(inner.public)

    def test_postmaster(self) -> None:
        """Postmaster works without a domain, at our name and at every domain (RFC 5321 section 4.5.1)."""
        expected = Recipients((Delivery("alice", "Postmaster"),))
        self.assertEqual(directory().resolve(parse_path(b"<postmaster>", smtputf8=False)), expected)
        self.assertEqual(resolve("Postmaster@mail.example.net"), expected)
        self.assertEqual(resolve("POSTMASTER@example.org"), expected)

    def test_disabled_domain(self) -> None:
        """A domain that is switched off is refused for now."""
        found = resolve("bob@example.org", directory(disabled=True))
        assert isinstance(found, Refused)
        self.assertEqual((found.reply_code, found.enhanced_code), (450, "4.2.1"))

    def test_everything(self) -> None:
        """A server for tests takes mail for the whole world."""
        found = directory(everything=Delivery("alice", "INBOX"))
        for address in ("who@example.com", "x@[127.0.0.1]", "nobody@example.org"):
            self.assertEqual(resolve(address, found), Recipients((Delivery("alice", "INBOX"),)))
        self.assertEqual(resolve("bob@example.org", found), Recipients((Delivery("bob", "INBOX"),)))


class IdentityTests(SynchronousTestCase):
    def test_login(self) -> None:
        """An account logs in with any spelling of an address of its own, not through a catch-all."""
        found = directory()
        for login in ("alice@example.org", "ALICE+x@example.org"):
            entry = found.account_of_login(login)
            assert entry is not None
            self.assertEqual(entry.name, "alice")
        for login in ("any@strict.example", "alice", "", "a@@b", "team@example.org"):
            self.assertIsNone(found.account_of_login(login), login)

    def test_key(self) -> None:
        """A client key leads to its account."""
        entry = directory().account_of_key("ab" * 32)
        assert entry is not None
        self.assertEqual(entry.name, "alice")
        self.assertIsNone(directory().account_of_key("cd" * 32))

    def test_sender(self) -> None:
        """One may write as oneself, as the catch-all, and as an alias that allows its members."""
        found = directory()
        for account, address, allowed in (
            ("alice", "alice+x@example.org", True),
            ("alice", "any@strict.example", True),
            ("alice", "bob@example.org", False),
            ("bob", "team@example.org", True),
            ("bob", "inner@example.org", False),
            ("bob", "bob@example.com", False),
        ):
            self.assertEqual(found.may_send_as(account, Address.parse(address)), allowed, address)


class RefusalTests(SynchronousTestCase):
    def test_destination(self) -> None:
        """An address may be refused in its owner's words; the account's others are not."""
        accounts = [
            AccountEntry(
                "alice",
                addresses={
                    "alice@example.org": "INBOX",
                    "gone@example.org": "INBOX",
                    "away@example.org": "INBOX",
                },
                refusals={"gone@example.org": "550 I am not here any more", "away@example.org": "421 later"},
            )
        ]
        found = Directory.build([DomainEntry("example.org")], accounts, None, "mx.example.org")
        gone = found.resolve(Path(Address.parse("Gone+x@example.org")))
        self.assertEqual(gone, Refused(550, "5.2.1", "I am not here any more", True))
        away = found.resolve(Path(Address.parse("away@example.org")))
        self.assertEqual(away, Refused(421, "4.2.1", "later", True))
        self.assertIsInstance(found.resolve(Path(Address.parse("alice@example.org"))), Recipients)

    def test_traps(self) -> None:
        """A trap is an address that nobody has, in any spelling that would get mail there."""
        domains = [
            DomainEntry("example.org", traps=frozenset({"trap", "alice"})),
            DomainEntry("other.example"),
        ]
        accounts = [AccountEntry("alice", addresses={"alice@example.org": "INBOX"})]
        found = Directory.build(domains, accounts, None, "mx.example.org")
        for address, trap in (
            ("trap@example.org", True),
            ("TRAP+x@Example.ORG", True),
            ("alice@example.org", False),
            ("trap@other.example", False),
            ("trap@elsewhere.example", False),
        ):
            self.assertEqual(found.is_trap(Path(Address.parse(address))), trap, address)
        self.assertFalse(found.is_trap(Path(None)))

    def test_reports(self) -> None:
        """Addresses for reports come before all others, at domains and at the host, and nobody logs in or sends with them."""
        found = Directory.build(
            [DomainEntry("example.org"), DomainEntry("else.example", reports_only=True)],
            [AccountEntry("alice", addresses={"@example.org": "INBOX", "@else.example": "INBOX"})],
            Postmaster("alice", "Postmaster"),
            "mx.example.net",
            reports=[
                ReportEntry("Dmarc@example.org", "alice", "DMARC"),
                ReportEntry("dmarc@else.example", "alice", "DMARC"),
                ReportEntry("tls@mx.example.net", "alice", "TLSRPT", tls=True),
            ],
        )
        dmarc = Recipients((Delivery("alice", "DMARC"),))
        for address, expected in (
            ("dmarc@example.org", dmarc),
            ("DMARC+x@example.org", dmarc),
            ("bob@example.org", Recipients((Delivery("alice", "INBOX"),))),
            ("dmarc@else.example", dmarc),
            ("bob@else.example", UNKNOWN_DOMAIN),
            ("postmaster@else.example", UNKNOWN_DOMAIN),
            ("TLS@mx.example.net", Recipients((Delivery("alice", "TLSRPT"),))),
            ("dmarc@mx.example.net", UNKNOWN_DOMAIN),
        ):
            self.assertEqual(resolve(address, found), expected, address)
        self.assertIsNone(found.account_of_login("dmarc@example.org"))
        self.assertEqual((found.takes_tls_reports(), directory().takes_tls_reports()), (True, False))
        for address, tls in (("TLS+x@mx.example.net", True), ("dmarc@example.org", False)):
            self.assertEqual(found.takes_tls_reports(Path(Address.parse(address))), tls)
        self.assertFalse(found.takes_tls_reports(Path(None)))
        names = ("example.org", "a.b.example.org", "mx.example.net", "example.net", "org", "")
        self.assertEqual([found.is_ours(name) for name in names], [True, True, True, False, False, False])
