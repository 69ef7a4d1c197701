"""What a BadSMTP server is told: ports, names, stores.

::

    Settings()                                        # all ports of the documentation, on 127.0.0.1, nothing on disk
    Settings(port=0, tls_port=None, mailbox_dir="")   # any free port, without implicit TLS
    Settings.only(port=0)                             # that listener and no other

A port of 0 is any free one; ``None`` leaves that listener out. The names are those of BadSMTP where it has the same thing.
Where the values come from (command line, environment, file) is ``moxtwisted.badsmtp.configuration``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, fields, frozen

__all__ = [
    "DELAYS_SECONDS",
    "GREETING_FAULTS",
    "IMAP_GREETING_FAULTS",
    "POP3_GREETING_FAULTS",
    "LogSettings",
    "Settings",
]

#: What the ten ports of a delay range wait, in seconds.
DELAYS_SECONDS = (0, 1, 2, 8, 10, 30, 60, 120, 300, 600)

#: What goes wrong at the ports of ``greeting_fault_port_start``, in their order, in the grammar of ``moxtwisted.badsmtp.grammar``.
GREETING_FAULTS = (
    "greeting554",
    "greeting421",
    "greeting.many3",
    "greeting.stall",
    "greeting.drip10",
    "greeting.cut",
    "greeting.garbage",
    "greeting.long",
    "greeting.eightbit",
    "greeting.barelf",
    "greeting.codes",
    "greeting.continued",
    "greeting.twice",
    "greeting.empty",
    "greeting.nul",
    "greeting.split",
    "greeting.reset",
)

#: The same for ``imap_greeting_fault_port_start``, in the grammar of ``moxtwisted.badsmtp.imapfaults``.
IMAP_GREETING_FAULTS = (
    "greeting.bye", "greeting.no", "greeting.stall", "greeting.drip10", "greeting.split", "greeting.cut", "greeting.close",
    "greeting.reset", "greeting.garbage", "greeting.twice", "greeting.barelf", "greeting.case", "greeting.long", "greeting.eightbit",
)  # fmt: skip

#: And for ``pop3_greeting_fault_port_start``, in that of ``moxtwisted.badsmtp.pop3faults``.
POP3_GREETING_FAULTS = (
    "greeting.systemp", "greeting.err", "greeting.stall", "greeting.drip10", "greeting.split", "greeting.cut", "greeting.close",
    "greeting.reset", "greeting.garbage", "greeting.twice", "greeting.barelf", "greeting.case", "greeting.long", "greeting.eightbit",
)  # fmt: skip


@frozen(kw_only=True)
class Settings:
    """One BadSMTP server.

    :ivar listen_address: an address of this machine.
    :ivar port: plain SMTP.
    :ivar greeting_delay_port_start: ten ports that greet late: after 0, 1, 2, 8, 10, 30, 60, 120, 300 and 600 seconds.
    :ivar drop_delay_port_start: ten ports that hang up without a greeting, after the same waits.
    :ivar greeting_fault_port_start: ports whose greeting goes wrong.
    :ivar tls_port: implicit TLS.
    :ivar starttls_port: a port for STARTTLS (``port`` offers it, too).
    :ivar tls_fault_port_start: the ports with TLS as it should not be, after STARTTLS.
    :ivar implicit_tls_fault_port_start: the same, with implicit TLS.
    :ivar lmtp_port: LMTP, with an outcome for each recipient.
    :ivar imap_port: IMAP that goes wrong on request.
    :ivar pop3_port: POP3 that goes wrong on request.
    :ivar imap_greeting_fault_port_start: IMAP ports whose greeting goes wrong; off unless it is given.
    :ivar pop3_greeting_fault_port_start: POP3 ports whose greeting goes wrong; off unless it is given.
    :ivar imaps_port: the same IMAP with implicit TLS.
    :ivar pop3s_port: the same POP3 with implicit TLS.
    :ivar http_port: the page and the JSON interface.
    :ivar http_hostnames: further host names that the page is reached by, such as a container's, separated by commas; requests for
        others are refused.
    :ivar twin_mechanisms: what IMAP and POP3 offer for SASL; SCRAM-SHA-256, SCRAM-SHA-1 (the password is "secret") and NTLM are
        possible, too.
    :ivar tls_cert_file: a PEM certificate chain; empty: self-signed ones are made.
    :ivar tls_key_file: its key.
    :ivar tls_root_out: a file that the root certificate of the good and the faulty TLS ports is written to, for clients to trust.
    :ivar tls_hostname: the name in self-signed certificates and in the greeting; empty: as asked for by SNI.
    :ivar mailbox_dir: a Maildir for the messages; empty: they are only kept in memory.
    :ivar enable_hostname_routing: whether a host name decides the Maildir: of SNI, of the recipients, of EHLO, the first that is mapped.
    :ivar hostname_mailbox_map: host name, lower case, to the Maildir of its messages.
    :ivar default_mailbox_dir: for host names that the map does not have; empty: ``mailbox_dir``.
    :ivar message_octets: the largest message.
    :ivar captured_messages: how many messages are kept in memory, the newest.
    :ivar captured_octets: how many octets of them.
    :ivar connections: how many there may be at a time; one more gets 421.
    """

    listen_address: str = "127.0.0.1"
    port: int | None = 2525
    greeting_delay_port_start: int | None = 25200
    drop_delay_port_start: int | None = 25600
    greeting_fault_port_start: int | None = 26000
    tls_port: int | None = 25465
    starttls_port: int | None = 25587
    tls_fault_port_start: int | None = 25700
    implicit_tls_fault_port_start: int | None = 25800
    lmtp_port: int | None = 25024
    imap_port: int | None = 25143
    pop3_port: int | None = 25110
    imap_greeting_fault_port_start: int | None = None
    pop3_greeting_fault_port_start: int | None = None
    imaps_port: int | None = 25993
    pop3s_port: int | None = 25995
    http_port: int | None = 25080
    http_hostnames: str = ""
    twin_mechanisms: str = "OAUTHBEARER XOAUTH2 CRAM-MD5 PLAIN LOGIN"
    tls_cert_file: str = ""
    tls_key_file: str = ""
    tls_root_out: str = ""
    tls_hostname: str = ""
    mailbox_dir: str = ""
    enable_hostname_routing: bool = False
    hostname_mailbox_map: Mapping[str, str] = field(factory=dict)
    default_mailbox_dir: str = ""
    message_octets: int = 10 * 1024 * 1024
    captured_messages: int = 1000
    captured_octets: int = 64 * 1024 * 1024
    connections: int = 1000

    @classmethod
    def only(cls, **given: Any) -> Settings:
        """The settings with no listeners but those that are given."""
        ports = (one.name for one in fields(cls) if one.name.endswith(("port", "port_start")))
        return cls(**{**dict.fromkeys(ports), **given})


@frozen(kw_only=True)
class LogSettings:
    """How the log of a BadSMTP server is written.

    :ivar log_level: the least bad lines that are written: DEBUG, INFO, WARN or ERROR.
    :ivar log_format: json or text.
    :ivar log_output: stdout, stderr, syslog (of this machine), tcp or udp (to log_remote_addr), off.
    :ivar log_remote_addr: HOST:PORT of a log server.
    :ivar syslog_facility: mail, daemon, or local0 to local7.
    :ivar log_trace: whether failures of the server itself are logged with where they happened.
    """

    log_level: str = "INFO"
    log_format: str = "json"
    log_output: str = "stdout"
    log_remote_addr: str = ""
    syslog_facility: str = "mail"
    log_trace: bool = False
