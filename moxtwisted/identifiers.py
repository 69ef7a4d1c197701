"""The small types that every other module speaks in.

Numbers and names that must not be mixed up get a type of their own; the ones with a syntax get a
parser that refuses what may not exist::

    Domain.parse("Münster.example").ascii      # "xn--mnster-3ya.example"
    Domain.parse("xn--mnster-3ya.example").unicode   # "münster.example"
    parse_mailbox_name("inbox/Lists")          # "Inbox/Lists"

A value of one of these types is valid: nobody checks it a second time.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_interface
from typing import NewType

from attrs import Attribute, field, frozen

from moxtwisted.errors import MailError

__all__ = [
    "INBOX",
    "MAX_ACCOUNT_NAME_OCTETS",
    "MAX_DOMAIN_CHARACTERS",
    "MAX_MAILBOX_NAME_OCTETS",
    "UID",
    "AccountName",
    "Domain",
    "DomainError",
    "IdentifierError",
    "MailboxName",
    "ModSeq",
    "UIDValidity",
    "is_inbox",
    "parse_account_name",
    "parse_mailbox_name",
    "parse_network",
]

AccountName = NewType("AccountName", str)
"""The name of an account, as ``parse_account_name`` lets it through; safe as a file name."""

MailboxName = NewType("MailboxName", str)
"""The full name of a mailbox, hierarchy separator "/", Unicode NFC, the inbox spelt "Inbox"."""

UID = NewType("UID", int)
"""RFC 9051 section 2.3.1.1: 1 to 2**32 - 1, ascending within a mailbox, never used again."""

UIDValidity = NewType("UIDValidity", int)
"""RFC 9051 section 2.3.1.1: 1 to 2**32 - 1."""

ModSeq = NewType("ModSeq", int)
"""RFC 7162 section 3.1: 1 to 2**63 - 1."""

INBOX = MailboxName("Inbox")

MAX_ACCOUNT_NAME_OCTETS = 64
# RFC 1035 section 2.3.4: 255 octets of wire form, which is 253 characters with dots between labels.
MAX_DOMAIN_CHARACTERS = 253
# Our own limit: a name travels in IMAP lines and is indexed.
MAX_MAILBOX_NAME_OCTETS = 512
# What str input may hold before IDNA makes it ASCII; bounds the work on hostile names.
_MAX_UNICODE_CHARACTERS = 1000

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_LAX_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DOMAIN = re.compile(rf"(?=.{{1,{MAX_DOMAIN_CHARACTERS}}}\Z)(?:{_LABEL}\.)*{_LABEL}\Z")
_LAX_DOMAIN = re.compile(rf"(?=.{{1,{MAX_DOMAIN_CHARACTERS}}}\Z)(?:{_LAX_LABEL}\.)*{_LAX_LABEL}\Z")
_ACCOUNT_PUNCTUATION = frozenset("._-@+")


class IdentifierError(MailError, ValueError):
    """A name does not have the syntax of its kind; ``detail`` says what is wrong."""

    reply_code = 501
    enhanced_code = "5.5.4"
    imap_code = "CANNOT"
    public_text = "bad name"


class DomainError(IdentifierError):
    """The text is not a domain name."""

    public_text = "bad domain name"


def _check_ascii(instance: Domain, attribute: Attribute[str], value: str) -> None:
    if _LAX_DOMAIN.match(value) is None:
        raise DomainError(_why_not(value))
    # RFC 1123 section 2.1: the last label of a name is never all digits, so that a dotted quad
    # cannot be taken for a name.
    if value[-1:].isdigit() and value.rpartition(".")[2].isdigit():
        raise DomainError("the last label is a number")


def _why_not(value: str) -> str:
    if not value:
        return "empty domain name"
    if len(value) > MAX_DOMAIN_CHARACTERS:
        return f"domain name longer than {MAX_DOMAIN_CHARACTERS} characters"
    if value.endswith("."):
        return "domain name ends in a dot"
    if ".." in value or value.startswith("."):
        return "empty label in domain name"
    if any(len(label) > 63 for label in value.split(".")):
        return "label longer than 63 characters"
    return "domain name has a character or a hyphen where none may be"


@frozen(order=True)
class Domain:
    """A domain name, fully qualified, without the final dot, in lower case.

    :ivar ascii: the form for DNS and for plain SMTP: LDH labels and A-labels (RFC 5890), at most
        253 characters. Underscores are let through for names like ``_dmarc.example``; use
        ``parse`` for names of mail domains, which have none.
    :raise DomainError: by the constructor, when ``ascii`` is not such a name.
    """

    ascii: str = field(validator=_check_ascii)

    @classmethod
    def parse(cls, text: str, *, lax: bool = False) -> Domain:
        """Read a name given with A-labels or U-labels, in any case.

        :param lax: take underscores as well, as DNS names and some host names in EHLO have.
        :raise DomainError: when it is no domain name (empty label, too long, not IDNA2008, …).
        """
        lowered = text.lower()
        if not lowered.isascii():
            lowered = _to_ascii(text)
        if not lax and _DOMAIN.match(lowered) is None:
            raise DomainError(_why_not(lowered))
        return cls(lowered)

    @property
    def unicode(self) -> str:
        """The name with U-labels, for people and for SMTPUTF8; a label that is no valid A-label stays as it is."""
        if "xn--" not in self.ascii:
            return self.ascii
        return ".".join(_label_to_unicode(label) for label in self.ascii.split("."))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in ASCII, the leftmost first."""
        return tuple(self.ascii.split("."))

    @property
    def parent(self) -> Domain | None:
        """The name without its leftmost label, or None for a top-level name."""
        rest = self.ascii.partition(".")[2]
        return Domain(rest) if rest else None

    def is_below(self, other: Domain) -> bool:
        """Whether this name is ``other`` or lies under it."""
        return self.ascii == other.ascii or self.ascii.endswith("." + other.ascii)

    def __str__(self) -> str:
        return self.ascii


def _to_ascii(text: str) -> str:
    import idna  # its tables cost 10 ms to load, and most servers never meet a U-label

    if len(text) > _MAX_UNICODE_CHARACTERS:
        raise DomainError("domain name too long")
    try:
        # UTS 46 maps case, width and dots first, as people type names; the U-labels that come out must be IDNA2008. Labels in
        # ASCII beside them are taken as in a name without U-labels, so that what ``unicode`` gives can be read again.
        mapped = idna.uts46_remap(text, std3_rules=False, transitional=False)
        labels = mapped.split(".")
        return ".".join(x if x.isascii() else idna.alabel(x).decode("ascii") for x in labels).lower()
    except (idna.IDNAError, UnicodeError) as e:
        raise DomainError(f"not an internationalised domain name: {e}") from e


def _label_to_unicode(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    import idna  # see _to_ascii

    try:
        return idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        # RFC 5890 section 2.3.2.1: a "fake A-label" is an ordinary LDH label that must not be shown decoded.
        return label


def parse_account_name(text: str) -> AccountName:
    """Accept a name for an account: 1 to 64 octets of UTF-8; lower-case letters, digits and ``._-@+``, the first
    a letter or digit.

    :raise IdentifierError: when it is anything else.
    """
    if (
        not 0 < len(text) <= MAX_ACCOUNT_NAME_OCTETS
        or len(text.encode("utf-8", "replace")) > MAX_ACCOUNT_NAME_OCTETS
    ):
        raise IdentifierError(f"account name must have 1 to {MAX_ACCOUNT_NAME_OCTETS} octets")
    if not text[0].isalnum() or not all(c.isalnum() or c in _ACCOUNT_PUNCTUATION for c in text):
        raise IdentifierError("account name has characters other than letters, digits and ._-@+")
    if text != text.lower() or unicodedata.normalize("NFC", text) != text:
        raise IdentifierError("account name must be in lower case and Unicode NFC")
    return AccountName(text)


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """Read an address or a network of addresses, as ``192.0.2.7``, ``192.0.2.0/24`` or ``2001:db8::/32``.

    :raise IdentifierError: when it is none, or an address with the length of a network, of which nobody can say which of both is meant;
        ``detail`` names them.
    """
    try:
        found = ip_interface(text)
    except ValueError:
        raise IdentifierError(
            "no address and no network, as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64"
        ) from None
    if found.ip != found.network.network_address:
        raise IdentifierError(f"write {found.network} for the network, {found.ip} for the one address")
    return found.network


@lru_cache(maxsize=4096)
def is_inbox(name: str) -> bool:
    """Whether that is INBOX, in any case (RFC 9051 section 5.1).

    The case is that of US-ASCII: a dotless i is another letter, though ``upper`` makes an I of it; ``lower`` makes an i of no other.
    """
    return name.lower() == "inbox"


def parse_mailbox_name(text: str) -> MailboxName:
    """Accept the name of a mailbox and give it its stored form: Unicode NFC, "Inbox" for any spelling of INBOX as
    first element.

    :raise IdentifierError: for an empty element, "." or ".." as one, a control character, ``*`` or ``%`` (they are wildcards of LIST), a
        ``#`` in front, or more than 512 octets of UTF-8.
    """
    if not 0 < len(text) <= MAX_MAILBOX_NAME_OCTETS:
        raise IdentifierError(f"mailbox name must have 1 to {MAX_MAILBOX_NAME_OCTETS} octets")
    try:
        name = unicodedata.normalize("NFC", text)
        octets = len(name.encode("utf-8"))
    except UnicodeError as e:
        raise IdentifierError("mailbox name is not Unicode text") from e
    if octets > MAX_MAILBOX_NAME_OCTETS:
        raise IdentifierError(f"mailbox name must have 1 to {MAX_MAILBOX_NAME_OCTETS} octets")
    # RFC 9051 section 5.1: no control characters (RFC 5198 Net-Unicode without CR and LF), no wildcards wanted;
    # section 5.1.1 keeps "#" for namespaces.
    if not name.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
        raise IdentifierError("mailbox name has a control character")
    if "*" in name or "%" in name or name[0] == "#":
        raise IdentifierError("mailbox name has * or %, or begins with #")
    elements = name.split("/")
    if not all(elements):
        raise IdentifierError("mailbox name has an empty element")
    # Programs that keep mailboxes as directories (mbsync, for one) take such a name for a way out of their own and give up.
    if "." in elements or ".." in elements:
        raise IdentifierError("mailbox name has . or .. as an element")
    if is_inbox(elements[0]):
        # We hold its children to the same spelling.
        elements[0] = INBOX
    return MailboxName("/".join(elements))
