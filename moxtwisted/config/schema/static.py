"""``mox.conf``: the server itself. Read at start; a change needs a restart."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from moxtwisted.config.schema.authority import Authority
from moxtwisted.config.schema.bans import Bans
from moxtwisted.config.schema.judgement import Judgement
from moxtwisted.config.schema.keepers import Keepers
from moxtwisted.config.schema.receivers import Receivers
from moxtwisted.config.schema.reports import HostTLSReports
from moxtwisted.config.schema.scanners import Scanners
from moxtwisted.config.schema.senders import Senders
from moxtwisted.config.schema.structure import (
    ConfigStruct,
    Count,
    LevelName,
    Octets,
    OctetsPerNetwork,
    PerNetwork,
    Port,
    Seconds,
)
from moxtwisted.config.schema.verification import Verification

#: Strongest first: clients take the first that they know (RFC 4422 section 3.3 leaves the order to us).
MECHANISMS: Final = (
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-1",
    "PLAIN",
    "LOGIN",
    "EXTERNAL",
)
MechanismName = Literal[
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-1",
    "PLAIN",
    "LOGIN",
    "EXTERNAL",
]


class Log(ConfigStruct, frozen=True, kw_only=True):
    """What is logged, and how it looks."""

    level: Annotated[
        LevelName,
        Meta(description="The least severity that is logged. `moxmail loglevel` changes it while running."),
    ] = "info"
    format: Annotated[
        Literal["human", "json"],
        Meta(description="Lines for people, or one JSON object a line for log collectors."),
    ] = "human"
    packages: Annotated[
        dict[str, LevelName],
        Meta(
            description="Other levels for parts of the program, by the name of the Python package.",
            examples=[{"moxtwisted.server": "debug"}],
        ),
    ] = field(default_factory=dict)


class Certificate(ConfigStruct, frozen=True, kw_only=True):
    """A certificate and its private key, both PEM."""

    certificate: Annotated[
        str,
        Meta(
            min_length=1,
            description="File with the certificate and then its chain; a relative path starts at the "
            "directory of mox.conf.",
            examples=["tls/mail.example.org.crt"],
        ),
    ]
    key: Annotated[
        str,
        Meta(
            min_length=1,
            description="File with the private key (RSA or ECDSA), without a passphrase.",
            examples=["tls/mail.example.org.key"],
        ),
    ]


class ListenerTLS(ConfigStruct, frozen=True, kw_only=True):
    """TLS of a listener. The files are read again when they change."""

    certificates: Annotated[
        tuple[Certificate, ...],
        Meta(
            min_length=1,
            description="One or more. The client's server name (SNI) chooses; the first serves the others. "
            "An RSA and an ECDSA one for the same name may stand side by side.",
        ),
    ]
    minimum_version: Annotated[
        Literal["1.2", "1.3"], Meta(description="The oldest version of TLS that is spoken.")
    ] = "1.2"
    client_certificates: Annotated[
        bool,
        Meta(
            description="Ask clients for a certificate (they need not have one). Its key lets an account log in "
            "with SASL EXTERNAL, see tls_public_keys of the account."
        ),
    ] = True


class SMTPService(ConfigStruct, frozen=True, kw_only=True):
    """SMTP for mail from other servers."""

    enabled: Annotated[bool, Meta(description="Whether this service runs.")] = True
    port: Annotated[Port, Meta(description="The TCP port.")] = 25
    starttls: Annotated[
        Literal["offered", "required", "none"],
        Meta(
            description="Offer STARTTLS, refuse mail without it, or do not offer it. Many servers on the "
            "internet cannot do TLS: required loses mail. Reports about TLS are taken without it at any rate."
        ),
    ] = "offered"
    requiretls: Annotated[bool, Meta(description="Announce REQUIRETLS (RFC 8689) once TLS is there.")] = True
    tls_session_tickets: Annotated[
        bool,
        Meta(
            description="Let clients resume TLS sessions. Off here, because a large sender fails to deliver when "
            "it is on; the other services always have it on."
        ),
    ] = False


class SubmissionService(ConfigStruct, frozen=True, kw_only=True):
    """Submission of mail by users, TLS by STARTTLS."""

    enabled: Annotated[bool, Meta(description="Whether this service runs.")] = True
    port: Annotated[Port, Meta(description="The TCP port.")] = 587
    require_starttls: Annotated[
        bool, Meta(description="Whether logging in and sending need TLS. Leave it so but for tests.")
    ] = True


class SubmissionsService(ConfigStruct, frozen=True, kw_only=True):
    """Submission of mail by users, TLS from the first octet."""

    enabled: Annotated[bool, Meta(description="Whether this service runs.")] = True
    port: Annotated[Port, Meta(description="The TCP port.")] = 465


class IMAPService(ConfigStruct, frozen=True, kw_only=True):
    """IMAP, TLS by STARTTLS."""

    enabled: Annotated[bool, Meta(description="Whether this service runs.")] = True
    port: Annotated[Port, Meta(description="The TCP port.")] = 143
    require_starttls: Annotated[
        bool, Meta(description="Whether logging in needs TLS. Leave it so but for tests.")
    ] = True


class IMAPSService(ConfigStruct, frozen=True, kw_only=True):
    """IMAP, TLS from the first octet."""

    enabled: Annotated[bool, Meta(description="Whether this service runs.")] = True
    port: Annotated[Port, Meta(description="The TCP port.")] = 993


class LMTPService(ConfigStruct, frozen=True, kw_only=True):
    """LMTP (RFC 2033) for local programs that hand over mail. There is no log-in: keep it local."""

    enabled: Annotated[bool, Meta(description="Whether this service runs.")] = True
    port: Annotated[Port, Meta(description="The TCP port, when there is no path.")] = 24
    path: Annotated[
        str,
        Meta(
            description="A unix socket instead of the port; a relative path starts at the data directory.",
        ),
    ] = ""


class Listener(ConfigStruct, frozen=True, kw_only=True):
    """Addresses to listen on, and the services there. A service is off when its table is not there."""

    ips: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="IP addresses to listen on; 0.0.0.0 and :: are all of IPv4 and of IPv6.",
            examples=[["0.0.0.0", "::"]],
        ),
    ]
    hostname: Annotated[str, Meta(description="The name in greetings, if not the hostname above.")] = ""
    proxy_protocol_from: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks of load balancers that announce the client's address with the PROXY protocol "
            "(versions 1 and 2). From there the announcement is required, from elsewhere it is refused.",
            examples=[["192.0.2.10/32"]],
        ),
    ] = ()
    tls: Annotated[
        ListenerTLS | None, Meta(description="Without it, no service of the listener has TLS.")
    ] = None
    smtp: SMTPService | None = None
    submission: SubmissionService | None = None
    submissions: SubmissionsService | None = None
    imap: IMAPService | None = None
    imaps: IMAPSService | None = None
    lmtp: LMTPService | None = None


class SMTPLimits(ConfigStruct, frozen=True, kw_only=True):
    """Limits of one SMTP or LMTP session."""

    message_octets: Annotated[
        Octets, Meta(ge=1, le=2**62, description="The largest message that is taken, announced with SIZE.")
    ] = 104857600
    line_octets: Annotated[
        int, Meta(ge=512, le=65536, description="The longest command line (RFC 5321 wants 512 or more).")
    ] = 2048
    recipients: Annotated[
        int, Meta(ge=100, le=100000, description="Recipients of one message (RFC 5321 wants 100 or more).")
    ] = 1000
    recipients_of_null_sender: Annotated[
        Count, Meta(description="Recipients of one delivery report (a message from <>).")
    ] = 1
    read_seconds: Annotated[
        Seconds, Meta(ge=1, le=10**9, description="How long we wait for the next octet of the client.")
    ] = 30.0
    write_seconds: Annotated[
        Seconds, Meta(ge=1, le=10**9, description="How long the client may leave our answer unread.")
    ] = 30.0
    tls_handshake_seconds: Annotated[
        Seconds, Meta(ge=1, le=10**9, description="How long a TLS handshake may take.")
    ] = 60.0
    data_seconds: Annotated[
        Seconds, Meta(ge=1, le=10**9, description="How long one whole message may take.")
    ] = 1800.0
    received_fields: Annotated[
        Count, Meta(description="More Received fields than this are a loop, and the message is refused.")
    ] = 100
    bad_transactions: Annotated[
        Count, Meta(description="Failed transactions without a good one, after which we hang up.")
    ] = 10
    unknown_recipients_delay_seconds: Annotated[
        Seconds,
        Meta(ge=0, le=300, description="Delay of the answer when no recipient exists (address guessing)."),
    ] = 5.0
    slow_mode: Annotated[
        bool,
        Meta(description="Whether a misbehaving client is read once a second and answered octet by octet."),
    ] = True
    submitted_messages_per_day: Annotated[
        Count, Meta(description="Messages that one account may submit in 24 hours.")
    ] = 1000
    first_time_recipients_per_day: Annotated[
        Count, Meta(description="Recipients an account never wrote to before, in 24 hours.")
    ] = 200


class IMAPLimits(ConfigStruct, frozen=True, kw_only=True):
    """Limits of one IMAP session."""

    line_octets: Annotated[int, Meta(ge=1024, le=2**20, description="The longest line of a command.")] = 16384
    literal_octets: Annotated[
        Octets,
        Meta(ge=1024, le=2**62, description="The largest literal, but for messages that are appended."),
    ] = 102400
    command_octets: Annotated[
        Octets,
        Meta(ge=1024, le=2**62, description="The largest command with all its literals, without messages."),
    ] = 1000000
    literals: Annotated[Count, Meta(description="Literals in one command.")] = 1000
    message_octets: Annotated[
        Octets,
        Meta(
            ge=1,
            le=2**62,
            description="The largest message that may be appended, announced with APPENDLIMIT.",
        ),
    ] = 104857600
    login_seconds: Annotated[
        Seconds, Meta(ge=1, le=10**9, description="How long we wait for each command before the log-in.")
    ] = 30.0
    idle_seconds: Annotated[
        Seconds,
        Meta(ge=1800, le=10**9, description="How long we wait after it (RFC 9051 wants 30 minutes or more)."),
    ] = 1800.0
    write_seconds: Annotated[
        Seconds, Meta(ge=1, le=10**9, description="How long the client may leave our answer unread.")
    ] = 300.0
    bad_commands: Annotated[
        Count, Meta(description="Commands that make no sense, one after the other, after which we hang up.")
    ] = 10
    messages_per_command: Annotated[
        int,
        Meta(
            ge=1000,
            le=2**31,
            description="Messages that one command should be about, announced with MESSAGELIMIT. It ends at ten times as many.",
        ),
    ] = 100000


class Limits(ConfigStruct, frozen=True, kw_only=True):
    """Limits for all services together, and in their tables those of SMTP and IMAP."""

    connections_per_minute: Annotated[
        PerNetwork, Meta(description="New connections a minute, per address, network, wider network.")
    ] = (300, 900, 2700)
    connections_at_once: Annotated[
        PerNetwork, Meta(description="Open connections, per address, network, wider network.")
    ] = (30, 90, 270)
    authentication_failures_per_minute: Annotated[
        PerNetwork, Meta(description="Failed log-ins a minute; beyond, every log-in from there is refused.")
    ] = (10, 30, 90)
    authentication_failures_per_day: Annotated[
        PerNetwork,
        Meta(description="Failed log-ins in 24 hours; beyond, every log-in from there is refused."),
    ] = (50, 150, 450)
    authentication_failures_before_delay: Annotated[
        Count,
        Meta(
            description="Failed log-ins in one connection after which each next one waits, a second longer each "
            "time, and the connection becomes slow."
        ),
    ] = 3
    deliveries_per_minute: Annotated[
        PerNetwork,
        Meta(
            description="Messages to one account a minute, from one address, network, wider network; more are asked to come later. This "
            "and the next three count where mail is judged."
        ),
    ] = (500, 1500, 4500)
    deliveries_per_day: Annotated[PerNetwork, Meta(description="The same in 24 hours.")] = (
        10000,
        30000,
        90000,
    )
    delivered_per_minute_octets: Annotated[
        OctetsPerNetwork, Meta(description="The sizes of these messages together, a minute.")
    ] = (10**9, 3 * 10**9, 9 * 10**9)
    delivered_per_day_octets: Annotated[OctetsPerNetwork, Meta(description="The same in 24 hours.")] = (
        3 * 10**9,
        9 * 10**9,
        27 * 10**9,
    )
    shutdown_seconds: Annotated[
        Seconds,
        Meta(ge=0, le=3600, description="How long messages under way may take to finish when we stop."),
    ] = 10.0
    smtp: SMTPLimits = SMTPLimits()
    imap: IMAPLimits = IMAPLimits()


class Store(ConfigStruct, frozen=True, kw_only=True):
    """How mail is kept."""

    encryption: Annotated[
        bool,
        Meta(
            description="Whether the databases are encrypted. Change it with `moxmail key rotate` and "
            "`moxmail key off`, which convert them, and not here alone."
        ),
    ] = True
    key_file: Annotated[
        str,
        Meta(
            min_length=1,
            description="The file with the key; a relative path starts at the directory of mox.conf. Keep a copy "
            "elsewhere: without the key the mail is lost.",
        ),
    ] = "store.key"
    key_environment: Annotated[
        str,
        Meta(description="Take the key from this environment variable instead.", examples=["MOXMAIL_KEY"]),
    ] = ""
    key_credential: Annotated[
        str,
        Meta(
            description="Take the key from the systemd credential of this name instead (LoadCredential=).",
            examples=["moxmail.key"],
        ),
    ] = ""
    quota_octets: Annotated[
        Octets,
        Meta(
            ge=0,
            le=2**62,
            description="Room for the messages of an account that has no quota of its own; 0 is no limit.",
        ),
    ] = 0
    quota_messages: Annotated[
        int,
        Meta(
            ge=0,
            le=2**62,
            description="How many messages an account may have that has no such quota of its own; 0 is no limit.",
        ),
    ] = 0
    retire_expunged_after_seconds: Annotated[
        Seconds,
        Meta(
            ge=0,
            le=10**9,
            description="How long it is remembered that a message was removed, for clients that synchronise "
            "quickly (RFC 7162). 0 is for ever.",
        ),
    ] = 31536000.0


class Postmaster(ConfigStruct, frozen=True, kw_only=True):
    """Where mail for postmaster goes, at every domain, and at none."""

    account: Annotated[str, Meta(min_length=1, description="Name of the account.", examples=["alice"])]
    mailbox: Annotated[str, Meta(min_length=1, description="Mailbox in it; made when it is not there.")] = (
        "Postmaster"
    )


class SpecialUse(ConfigStruct, frozen=True, kw_only=True):
    """Mailboxes with a use that clients can ask for (RFC 6154). An empty name leaves one out."""

    sent: Annotated[str, Meta(description="For copies of sent mail.")] = "Sent"
    archive: Annotated[str, Meta(description="For mail put away.")] = "Archive"
    trash: Annotated[str, Meta(description="For removed mail.")] = "Trash"
    drafts: Annotated[str, Meta(description="For unfinished mail.")] = "Drafts"
    junk: Annotated[str, Meta(description="For unwanted mail.")] = "Junk"


class InitialMailboxes(ConfigStruct, frozen=True, kw_only=True):
    """The mailboxes of a new account, beside INBOX. They are subscribed."""

    special_use: SpecialUse = SpecialUse()
    regular: Annotated[
        tuple[str, ...], Meta(description="Further mailboxes; / separates levels.", examples=[["Lists"]])
    ] = ()


class Authentication(ConfigStruct, frozen=True, kw_only=True):
    """How users log in, to submission and to IMAP."""

    mechanisms: Annotated[
        tuple[MechanismName, ...],
        Meta(
            min_length=1,
            description="SASL mechanisms that are offered, in this order. Those with PLUS and EXTERNAL need TLS, "
            "EXTERNAL a client certificate besides.",
        ),
    ] = MECHANISMS
    cram_md5: Annotated[
        bool,
        Meta(
            description="Offer CRAM-MD5 as well, for very old clients. It needs a weaker form of the password to be "
            "kept, from the next change of the password on."
        ),
    ] = False
    allow_plain_without_tls: Annotated[
        bool,
        Meta(
            description="Let passwords pass unencrypted where a listener does not require STARTTLS. For tests only."
        ),
    ] = False
    authority: Authority | None = None


class Resolver(ConfigStruct, frozen=True, kw_only=True):
    """Whom we ask for names, and whose word counts."""

    servers: Annotated[
        tuple[str, ...],
        Meta(
            max_length=8,
            description="Addresses of resolvers, with a port if it is not 53. When there are none: those of /etc/resolv.conf.",
            examples=[["127.0.0.1", "[2001:db8::53]:5353"]],
        ),
    ] = ()
    trust_ad: Annotated[
        bool,
        Meta(
            description="Believe these servers when they say that an answer is signed and good (DNSSEC), although they are "
            "not on this machine: only where nobody can change what is sent between them and us. A validating "
            "resolver on this machine is always believed."
        ),
    ] = False
    validate: Annotated[
        bool,
        Meta(
            description="Check signatures here, from the key of the root zone, where no resolver is believed. Without it, "
            "nothing counts as signed. Some simple forwarders do not pass signatures on; behind one of these no lookup "
            "succeeds until this is false, or servers names another resolver."
        ),
    ] = True


class StaticConfig(ConfigStruct, frozen=True, kw_only=True):
    """``mox.conf``: the server itself. Read at start."""

    hostname: Annotated[
        str,
        Meta(
            min_length=1,
            description="The full name of this machine, as its MX record and its reverse name say.",
            examples=["mail.example.org"],
        ),
    ]
    listeners: Annotated[
        dict[str, Listener],
        Meta(min_length=1, description="By a name of your choice.", extra={"example_key": "public"}),
    ]
    postmaster: Postmaster
    data_directory: Annotated[
        str,
        Meta(
            min_length=1,
            description="Where mail is kept; a relative path starts at the directory of mox.conf.",
        ),
    ] = "data"
    user: Annotated[
        str,
        Meta(
            description="When started as root, become this user once the ports are open: a name or a number, "
            "optionally with :group. Empty: stay.",
            examples=["moxmail"],
        ),
    ] = ""
    log: Log = Log()
    initial_mailboxes: InitialMailboxes = InitialMailboxes()
    authentication: Authentication = Authentication()
    resolver: Resolver = Resolver()
    verification: Verification = Verification()
    judgement: Judgement = Judgement()
    host_tls_reports: HostTLSReports | None = None
    senders: Senders = Senders()
    scanners: Scanners = Scanners()
    receivers: Receivers = Receivers()
    keepers: Keepers = Keepers()
    store: Store = Store()
    limits: Limits = Limits()
    bans: Bans = Bans()
