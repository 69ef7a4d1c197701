"""Domains, account names, mailbox names."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import MailError
from moxtwisted.identifiers import (
    Domain,
    DomainError,
    IdentifierError,
    parse_account_name,
    parse_mailbox_name,
    parse_network,
)


class DomainTests(SynchronousTestCase):
    """Domain names."""

    def test_lower_case(self) -> None:
        """A name is kept in lower case, so that equal names are equal values."""
        self.assertEqual(Domain.parse("Mail.EXAMPLE.org"), Domain("mail.example.org"))
        self.assertEqual(str(Domain.parse("Mail.EXAMPLE.org")), "mail.example.org")

    def test_unicode(self) -> None:
        """U-labels become A-labels and come back, with case and width mapped first."""
        domain = Domain.parse("MÜNSTER。example")
        self.assertEqual(domain.ascii, "xn--mnster-3ya.example")
        self.assertEqual(domain.unicode, "münster.example")

    def test_sharp_s_is_a_letter_of_its_own(self) -> None:
        """IDNA2008 keeps the sharp s, where IDNA2003 made it ss."""
        self.assertEqual(Domain.parse("straße.example").ascii, "xn--strae-oqa.example")

    def test_fake_a_label_is_shown_as_it_is(self) -> None:
        """A label that only looks like an A-label is taken and never decoded."""
        self.assertEqual(Domain.parse("xn--a-ecp.example").unicode, "xn--a-ecp.example")
        self.assertEqual(Domain.parse("r3---sn-x.example").unicode, "r3---sn-x.example")

    def test_what_is_shown_can_be_read(self) -> None:
        """A label that no U-label can stand for is taken beside U-labels too, as in a name that is all ASCII."""
        for name in (
            "xn--mllnr-kva.xeamer-kva.ex--mle",
            "xn--a-ecp.xn--mnster-3ya.example",
            "r3---sn-x.xn--mnster-3ya.example",
        ):
            domain = Domain.parse(name)
            self.assertNotEqual(domain.unicode, name)
            self.assertEqual(Domain.parse(domain.unicode), domain)

    def test_refused(self) -> None:
        """What is no domain name is refused with an error that says why."""
        for text in (
            "",
            ".",
            "a..b",
            ".a",
            "a.",
            "-a.b",
            "a-.b",
            "a b",
            "a_b.example",
            "1.2.3.4",
            "example.123",
            "a" * 64 + ".example",
            ".".join(["a" * 50] * 6),
            "\u0080.example",
            "xn--\u00fc.example",
            "a\n",
            "☃" * 2000,
            "[1.2.3.4]",
        ):
            error = self.assertRaises(DomainError, Domain.parse, text)
            self.assertTrue(error.detail)
            self.assertIsInstance(error, MailError)
            self.assertIsInstance(error, ValueError)

    def test_longest(self) -> None:
        """253 characters are a name, 254 are none (RFC 1035 section 2.3.4)."""
        name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
        self.assertEqual(len(Domain.parse(name).ascii), 253)
        self.assertRaises(DomainError, Domain.parse, name + "d")

    def test_underscore_only_when_lax(self) -> None:
        """Underscores are for names like _dmarc, not for mail domains."""
        self.assertEqual(Domain.parse("_dmarc.Example", lax=True).ascii, "_dmarc.example")
        self.assertRaises(DomainError, Domain.parse, "_dmarc.example")

    def test_constructor_checks(self) -> None:
        """No Domain exists whose text is not in its final form."""
        self.assertRaises(DomainError, Domain, "Example.org")
        self.assertRaises(DomainError, Domain, "münster.example")

    def test_family(self) -> None:
        """A name knows its labels, its parent and what it lies under."""
        domain = Domain("a.b.example")
        self.assertEqual(domain.labels, ("a", "b", "example"))
        self.assertEqual(domain.parent, Domain("b.example"))
        self.assertIsNone(Domain("example").parent)
        self.assertTrue(domain.is_below(Domain("b.example")))
        self.assertTrue(domain.is_below(domain))
        self.assertFalse(Domain("xb.example").is_below(Domain("b.example")))

    @settings(max_examples=200)
    @given(st.text(max_size=80))
    def test_never_anything_but_a_domain_error(self, text: str) -> None:
        """Any text is a domain or a DomainError, and a domain can be parsed again."""
        try:
            domain = Domain.parse(text)
        except DomainError:
            return
        self.assertEqual(Domain.parse(domain.ascii), domain)
        self.assertEqual(Domain.parse(domain.unicode).ascii, domain.ascii)


class NetworkTests(SynchronousTestCase):
    def test_networks(self) -> None:
        """An address is a network of one; an address with the length of a network is none, and the detail names both that may be meant."""
        for text in ("192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0"):
            self.assertEqual(str(parse_network(text)), text)
        self.assertEqual(str(parse_network("192.0.2.7")), "192.0.2.7/32")
        for text in ("10/8", "192.0.2.0/33", "", "x", "192.0.2.0/24/24"):
            self.assertRaises(IdentifierError, parse_network, text)
        error = self.assertRaises(IdentifierError, parse_network, "10.0.0.5/8")
        self.assertEqual(error.detail, "write 10.0.0.0/8 for the network, 10.0.0.5 for the one address")


class NameTests(SynchronousTestCase):
    """Names of accounts and mailboxes."""

    def test_account(self) -> None:
        """Account names are letters, digits and ._-@+ in lower case, safe as file names."""
        for name in ("mox", "u0", "anna.berg", "anna@example.org", "jürgen"):
            self.assertEqual(parse_account_name(name), name)
        for name in (
            "",
            ".",
            "..",
            "-x",
            "a/b",
            "a\\b",
            "a b",
            "Anna",
            "a\0",
            "a\n",
            "x" * 65,
            "ü" * 40,
            "u\u0308",
        ):
            self.assertRaises(IdentifierError, parse_account_name, name)

    def test_inbox(self) -> None:
        """Every spelling of INBOX is the inbox, and its children are under it."""
        for name, expected in (
            ("INBOX", "Inbox"),
            ("inBox", "Inbox"),
            ("inbox/Lists", "Inbox/Lists"),
            ("Lists/INBOX", "Lists/INBOX"),
            ("inboxes", "inboxes"),
            # What upper() makes an I is another letter.
            ("\u0131nbox", "\u0131nbox"),
        ):
            self.assertEqual(parse_mailbox_name(name), expected)

    def test_mailbox_nfc(self) -> None:
        """Names that look the same are the same."""
        self.assertEqual(parse_mailbox_name("Entwu\u0308rfe"), "Entw\u00fcrfe")

    def test_mailbox_refused(self) -> None:
        """Empty elements, control characters, wildcards and namespaces are refused."""
        for name in (
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            ".",
            "..",
            "../../x",
            "a/./b",
            "a/..",
            "a*",
            "a%b",
            "#news",
            "a\nb",
            "a\x7f",
            "a\u2028b",
            "\ud800",
            "x" * 513,
        ):
            self.assertRaises(IdentifierError, parse_mailbox_name, name)

    @settings(max_examples=100)
    @given(st.text(max_size=60))
    def test_mailbox_names_are_stable(self, text: str) -> None:
        """A name that was accepted is accepted again as it is."""
        try:
            name = parse_mailbox_name(text)
        except IdentifierError:
            return
        self.assertEqual(parse_mailbox_name(name), name)
