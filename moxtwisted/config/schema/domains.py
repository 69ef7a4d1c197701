"""``domains.conf``: domains, accounts, addresses. Read again whenever it changes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from moxtwisted.config.schema.judgement import (
    DMARC_DESCRIPTION,
    GREYLISTING_DESCRIPTION,
    SPF_DESCRIPTION,
    DMARCStrictness,
    JunkFilter,
    Ruleset,
    SPFStrictness,
)
from moxtwisted.config.schema.junkflags import AutomaticJunkFlags
from moxtwisted.config.schema.reports import DMARCReports, TLSReports
from moxtwisted.config.schema.scanners import SCANNERS_OFF_DESCRIPTION, ScannerNames
from moxtwisted.config.schema.senders import ALLOW_DESCRIPTION, BLOCK_DESCRIPTION, SenderEntries
from moxtwisted.config.schema.signing import DKIMSelector
from moxtwisted.config.schema.structure import ConfigStruct, Octets, Seconds


class Alias(ConfigStruct, frozen=True, kw_only=True):
    """An address whose mail goes to several members, all of them local."""

    addresses: Annotated[
        tuple[str, ...],
        Meta(min_length=1, description="The members.", examples=[["alice@example.org"]]),
    ]
    post_public: Annotated[
        bool,
        Meta(
            description="Whether everybody may write to it. When false, only members may: by logging in to send, or from elsewhere "
            "when From is provably theirs.",
        ),
    ] = True
    allow_message_from: Annotated[
        bool, Meta(description="Whether members may send with the alias as their address.")
    ] = False


class Domain(ConfigStruct, frozen=True, kw_only=True):
    """A domain that we take mail for."""

    disabled: Annotated[
        bool,
        Meta(description="Refuse its mail for now, incoming and outgoing, with temporary errors."),
    ] = False
    description: Annotated[str, Meta(description="A note for yourself.")] = ""
    localpart_separators: Annotated[
        tuple[str, ...],
        Meta(
            description="What stands between the local part and a free suffix: with +, mail for "
            "alice+shop goes to alice. Empty: no suffixes.",
        ),
    ] = ("+",)
    case_sensitive: Annotated[
        bool, Meta(description="Whether Alice and alice are different people. They never are in practice.")
    ] = False
    dmarc: Annotated[DMARCStrictness, Meta(description=DMARC_DESCRIPTION)] = "enforce"
    spf: Annotated[SPFStrictness, Meta(description=SPF_DESCRIPTION)] = "strangers"
    greylisting: Annotated[bool, Meta(description=GREYLISTING_DESCRIPTION)] = False
    scanners_off: Annotated[
        ScannerNames, Meta(max_length=100, description=SCANNERS_OFF_DESCRIPTION, examples=[["rspamd"]])
    ] = ()
    spam_traps: Annotated[
        tuple[str, ...],
        Meta(
            max_length=1000,
            description="Local parts of addresses that nobody has and nobody was ever given. Mail to them is refused for all of its "
            "recipients, and a client that writes to them again and again is banned.",
            examples=[["info-2019"]],
        ),
    ] = ()
    aliases: Annotated[
        dict[str, Alias],
        Meta(description="By local part.", extra={"example_key": "team"}),
    ] = field(default_factory=dict)
    dkim: Annotated[
        dict[str, DKIMSelector],
        Meta(
            description="Keys that sign the mail of its users (DKIM), by selector; `moxmail dkim gen` makes them. Without any, "
            "its mail is not signed.",
            extra={"example_key": "2026a"},
        ),
    ] = field(default_factory=dict)
    reports_only: Annotated[
        bool,
        Meta(
            description="Its mail is somebody else's, and only reports about it come here: mail to its other addresses is refused, and "
            "mail that users here write to them leaves for the other server."
        ),
    ] = False
    dmarc_reports: DMARCReports | None = None
    tls_reports: TLSReports | None = None


class Destination(ConfigStruct, frozen=True, kw_only=True):
    """What happens to the mail of an address."""

    mailbox: Annotated[str, Meta(min_length=1, description="Where it goes; made when it is not there.")] = (
        "INBOX"
    )
    rulesets: Annotated[
        tuple[Ruleset, ...],
        Meta(max_length=200, description="Something special for some of it. The first that matches counts."),
    ] = ()
    smtp_error: Annotated[
        str,
        Meta(
            pattern=r"^((421|550) [ -~]{1,200})?$",
            title="421 or 550 and a text in ASCII of at most 200 characters, or nothing",
            description="When not empty, no mail is taken for the address: 421 or 550 and a text (ASCII), as the answer to RCPT.",
            examples=["550 I am not here any more"],
        ),
    ] = ""
    message_auth_required_smtp_error: Annotated[
        str,
        Meta(
            pattern=r"^[ -~]*$",
            title="a text in ASCII of at most 200 characters",
            max_length=200,
            description="When not empty, only mail whose From is proved (by DMARC, DKIM or SPF) is taken; other mail is refused "
            "with this text (ASCII).",
            examples=["sign your mail with DKIM"],
        ),
    ] = ""


class ClientKey(ConfigStruct, frozen=True, kw_only=True):
    """The key of a TLS client certificate that logs in to the account."""

    name: Annotated[
        str, Meta(description="A note for yourself: which device it is.", examples=["alice's laptop"])
    ] = ""
    login: Annotated[
        str,
        Meta(
            description="The address that it logs in as, one of the account; empty for the first.",
            examples=["alice@example.org"],
        ),
    ] = ""
    imap_preauth: Annotated[
        bool,
        Meta(
            description="Whether IMAP with TLS from the first octet is logged in at once, with a PREAUTH greeting. "
            "Otherwise the key counts when the client asks for SASL EXTERNAL."
        ),
    ] = True


class Account(ConfigStruct, frozen=True, kw_only=True):
    """Somebody who gets mail. The password is not here but with the mail: ``moxmail setpassword``."""

    domain: Annotated[
        str, Meta(min_length=1, description="The domain it belongs to.", examples=["example.org"])
    ]
    full_name: Annotated[str, Meta(description="The person's name.", examples=["Alice Example"])] = ""
    description: Annotated[str, Meta(description="A note for yourself.")] = ""
    disabled: Annotated[
        str,
        Meta(
            max_length=256,
            pattern=r"^[ -~]*$",
            title="a text in ASCII of at most 256 characters",
            description="When not empty, nobody can log in, and is told this (ASCII). Mail is still taken.",
        ),
    ] = ""
    quota_octets: Annotated[
        Annotated[Octets, Meta(ge=0, le=2**62)] | None,
        Meta(description="Room for its messages; 0 is no limit. Without it, that of the store in mox.conf."),
    ] = None
    quota_messages: Annotated[
        Annotated[int, Meta(ge=0, le=2**62)] | None,
        Meta(
            description="How many messages it may have; 0 is no limit. Without it, that of the store in mox.conf."
        ),
    ] = None
    automatic_junk_flags: AutomaticJunkFlags = AutomaticJunkFlags()
    junk_filter: JunkFilter = JunkFilter()
    rejects_mailbox: Annotated[
        str,
        Meta(
            description="Where copies of refused mail can be looked at, made when there are any. Empty: none are kept."
        ),
    ] = "Rejects"
    keep_rejects: Annotated[
        bool,
        Meta(
            description="Keep all of them. Otherwise they go after 14 days, and beyond 1,000 of them or 256 MB."
        ),
    ] = False
    introbox: Annotated[
        str,
        Meta(
            description="A mailbox for mail that would go into INBOX from authors whose mail the account neither knows nor "
            "answered. Empty: none.",
            examples=["Introbox"],
        ),
    ] = ""
    subject_pass_seconds: Annotated[
        Seconds,
        Meta(
            ge=0,
            le=10**7,
            description="Unknown senders whose mail looks like junk, and whose From is proved, are told a text that gets them "
            "through when they put it "
            "into the subject; so long it is good. 0: this is not done.",
        ),
    ] = 43200.0
    first_time_sender_delay: Annotated[
        bool,
        Meta(description="Whether strangers wait before their mail is taken, see [judgement] of mox.conf."),
    ] = True
    dmarc: Annotated[
        DMARCStrictness | None,
        Meta(description=DMARC_DESCRIPTION + " Without it, as the domain of the address says."),
    ] = None
    spf: Annotated[
        SPFStrictness | None,
        Meta(description=SPF_DESCRIPTION + " Without it, as the domain of the address says."),
    ] = None
    greylisting: Annotated[
        bool | None,
        Meta(description=GREYLISTING_DESCRIPTION + " Without it, as the domain of the address says."),
    ] = None
    scanners_off: Annotated[
        Annotated[ScannerNames, Meta(max_length=100)] | None,
        Meta(
            description=SCANNERS_OFF_DESCRIPTION + " Without it, as the domain of the address says.",
            examples=[["rspamd"]],
        ),
    ] = None
    allow_senders: Annotated[
        SenderEntries,
        Meta(
            max_length=10000, description=ALLOW_DESCRIPTION, examples=[["friend@example.net", ".example.com"]]
        ),
    ] = ()
    block_senders: Annotated[
        SenderEntries, Meta(max_length=10000, description=BLOCK_DESCRIPTION, examples=[["192.0.2.0/24"]])
    ] = ()
    imap_capabilities_disabled: Annotated[
        tuple[str, ...],
        Meta(
            description="IMAP capabilities that it does without, for clients that stumble over them: they are not "
            "announced after log-in, and their commands and options are refused, with what is nothing without them.",
            examples=[["QRESYNC"]],
        ),
    ] = ()
    queue_mailbox: Annotated[
        bool,
        Meta(
            description="Whether it has, over IMAP, a mailbox Queue with those of its own messages that wait to be sent to other "
            "servers. What is taken out of it is cancelled, by programs that tidy up, too.",
        ),
    ] = False
    tls_public_keys: Annotated[
        dict[str, ClientKey],
        Meta(
            description="Keys of TLS client certificates that log in to it, by the SHA-256 of the "
            "SubjectPublicKeyInfo in lower-case hexadecimal; `moxmail config tlspubkey` writes them.",
            extra={"example_key": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
        ),
    ] = field(default_factory=dict)
    addresses: Annotated[
        dict[str, Destination],
        Meta(
            description='Its addresses. "@example.org" takes whatever nobody else has at the domain.',
            extra={"example_key": "alice@example.org"},
        ),
    ] = field(default_factory=dict)


class DomainsConfig(ConfigStruct, frozen=True, kw_only=True):
    """``domains.conf``: domains, accounts, addresses. Read again whenever it changes."""

    domains: Annotated[
        dict[str, Domain], Meta(description="By name.", extra={"example_key": "example.org"})
    ] = field(default_factory=dict)
    accounts: Annotated[
        dict[str, Account],
        Meta(description="By a short name, that is not an address.", extra={"example_key": "alice"}),
    ] = field(default_factory=dict)
