"""``moxmail quickstart``: everything that a new server needs, in one directory.

It writes ``mox.conf``, ``domains.conf``, the store's key, a self-signed certificate to begin with, the first account with
a made-up password, and a systemd unit; and it says what to do next. After an error nothing of it is left.
"""

from __future__ import annotations

import argparse
import os
import shlex
import socket
import sys
from pathlib import Path
from typing import Any

from attrs import frozen

from moxtwisted.address import Address
from moxtwisted.cli.arguments import NO_DELIVERY
from moxtwisted.cli.creation import Creation, domains_text
from moxtwisted.cli.passwords import generate_password
from moxtwisted.cli.session import run_reactor
from moxtwisted.config.describe import toml_value
from moxtwisted.config.dnsrecords import DNSRecord, dns_records
from moxtwisted.config.load import DOMAINS_NAME, load
from moxtwisted.config.machine import can_listen
from moxtwisted.config.privileges import Identity, UnknownUserError, closed_program, find_identity
from moxtwisted.config.reading import quoted
from moxtwisted.errors import ConfigurationError, MailError
from moxtwisted.identifiers import Domain, IdentifierError, parse_account_name

__all__ = ["create_account", "quickstart", "unit_text"]


@frozen
class Plan:
    """What is to be made."""

    address: Address
    account: str
    hostname: str
    directory: Path
    user: str
    identity: Identity | None
    ips: tuple[str, ...]

    @property
    def domain(self) -> str:
        """Of the address."""
        return self.address.domain.ascii


def quickstart(arguments: argparse.Namespace) -> int:
    """``quickstart``."""
    plan = _plan(arguments)
    password = generate_password()
    with Creation(plan.directory) as made:
        recovery, records = _make_files(plan, made)
        create_account(made.directory / "mox.conf", plan.account, password)
        if plan.identity is not None:
            made.give_to(plan.identity.uid, plan.identity.gid)
    _report(plan, password, recovery, records)
    return 0


def _plan(arguments: argparse.Namespace) -> Plan:
    """Check what was asked for.

    :raise MailError: when it cannot be.
    """
    address, account = _address(arguments.address)
    try:
        hostname = Domain.parse(arguments.hostname or _own_name(address.domain.ascii)).ascii
    except IdentifierError as e:
        raise _wrong("--hostname", arguments.hostname, "a full name as mail.example.org", e.detail) from e
    directory = Path(arguments.dir or ".").absolute()
    identity = None
    if os.geteuid() == 0:
        try:
            identity = find_identity(arguments.user)
        except UnknownUserError as e:
            raise MailError(f"--user: {e}; make one with: {_useradd(directory, arguments.user)}") from None
    if identity is not None:
        _check_directory(directory, identity)
    ips = tuple(ip for ip in ("0.0.0.0", "::") if can_listen(ip))
    user = arguments.user if identity is not None else ""
    return Plan(address, account, hostname, directory, user, identity, ips)


def _address(text: str) -> tuple[Address, str]:
    """The address, and the name of the account that is made for it.

    :raise MailError: when it is none, or not one at a domain.
    """
    expected = "an address as you@example.org"
    try:
        address = Address.parse(text)
    except IdentifierError as e:
        raise _wrong("the address", text, expected, e.detail) from e
    if not isinstance(address.domain, Domain):
        raise _wrong("the address", text, expected, "not at a domain")
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in address.localpart.lower()).strip("._-")
    try:
        return address, parse_account_name(name)
    except IdentifierError as e:
        raise _wrong("the address", text, expected, "no account can be named after it") from e


def _wrong(argument: str, text: str, expected: str, why: str) -> MailError:
    return MailError(f"{argument}: {quoted(text or '')} found, {expected} expected: {why}; nothing was made")


def _useradd(directory: Path, user: str) -> str:
    """The command that makes the system user, as the manual has it."""
    home = shlex.quote(str(directory))
    return f"useradd --system --home-dir {home} --shell /usr/sbin/nologin {shlex.quote(user)}"


def _check_directory(directory: Path, identity: Identity) -> None:
    """The server's user must own the directory, to replace files in it; nobody else's is given away for that.

    :raise MailError: when it is used for something else.
    """
    if directory.exists() and directory.stat().st_uid != identity.uid and any(directory.iterdir()):
        raise MailError(
            f"{directory} is not empty, and would have to belong to the server's user: "
            "name another with --dir, as --dir /etc/moxmail"
        )


def _own_name(domain: str) -> str:
    """What the machine calls itself, if that is a full name."""
    name = socket.getfqdn()
    if (
        "." in name
        and not name.startswith("localhost")
        and not name.endswith((".local", ".localdomain", ".arpa"))
    ):
        return name
    return f"mail.{domain}"


def _make_files(plan: Plan, made: Creation) -> tuple[str, list[DNSRecord]]:
    """All but the account.

    :return: the recovery key, and what belongs into the DNS.
    """
    made.file("mox.conf", _static_text(plan))
    keys = made.signing_keys(plan.domain)
    made.file(
        DOMAINS_NAME, domains_text(plan.domain, plan.account, str(plan.address), "", keys, reports=True)
    )
    recovery = made.key()
    made.certificate(plan.hostname, (plan.hostname,))
    made.data_directory()
    made.file("moxmail.service", unit_text(plan.directory, plan.user or "moxmail"), 0o644)
    try:
        loaded = load(made.directory / "mox.conf")
    except ConfigurationError as e:
        raise MailError("what was made is not valid:\n" + "\n".join(e.problems)) from e
    texts = [(selector, text) for selector, _, text in keys]
    return recovery, dns_records(loaded.static, plan.domain, loaded.domains.domains[plan.domain], texts)


def _static_text(plan: Plan) -> str:
    stem = f"tls/{plan.hostname}"
    return f"""# The server itself. Read at start. Every key explained: moxmail config describe-static

hostname = {toml_value(plan.hostname)}
# Where mail is kept, in the directory of this file.
data_directory = "data"
# Whom the server runs as, when it is started as root. Empty: as whoever starts it.
user = {toml_value(plan.user)}

# Who gets what is written to postmaster.
[postmaster]
account = {toml_value(plan.account)}
{_host_reports(plan)}
# Mail from strangers is read by a process that holds neither your mail nor its key; it takes 50 MB of memory.
# 0: the server reads it itself.
[receivers]
processes = 1

[listeners.public]
ips = {toml_value(plan.ips)}

[listeners.public.tls]
# Self-signed, to begin with. Put the files of a real certificate here; they are read again when they change.
certificates = [
    {{certificate = {toml_value(stem + ".crt")}, key = {toml_value(stem + ".key")}}},
]

# Mail from other servers.
[listeners.public.smtp]

# For mail programs; those with an s use TLS from the first octet and are to be preferred.
[listeners.public.submissions]
[listeners.public.submission]
[listeners.public.imaps]
[listeners.public.imap]
"""


def _host_reports(plan: Plan) -> str:
    """Where the name of the machine is that of the domain, its reports are the domain's."""
    if plan.hostname == plan.domain:
        return ""
    return f"""
# Others report here whether TLS works with this machine.
[host_tls_reports]
account = {toml_value(plan.account)}
"""


def unit_text(directory: Path, user: str) -> str:
    """A systemd unit that runs the server without any right but that to the ports below 1024.

    MemoryDenyWriteExecute is not in it: the callbacks of the TLS library are made at run time.
    """
    command = (
        f"{_quoted(sys.executable)} -m moxtwisted.cli --config {_quoted(str(directory / 'mox.conf'))} serve"
    )
    return f"""[Unit]
Description=moxmail, a mail server
After=network-online.target
Wants=network-online.target

[Service]
User={user}
WorkingDirectory={_escaped(str(directory))}
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=5s
# 78: the configuration is not usable, or a port is taken: trying again does not help.
RestartPreventExitStatus=78
# Messages under way may finish.
TimeoutStopSec=30s
UMask=0077
LimitNOFILE=65535

# Ports below 1024, and nothing else.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths={_quoted(str(directory))}
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
# Receivers confine themselves; @sandbox, which older systemds do not know.
SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp

[Install]
WantedBy=multi-user.target
"""


def _escaped(text: str) -> str:
    """systemd.unit(5): % begins a specifier."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """systemd.service(5): a word in quotes, $ doubled."""
    return '"' + _escaped(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$") + '"'


def create_account(static_path: Path, account: str, password: str) -> None:
    """Make the account's mail and set its password, in the closed files."""

    async def work(reactor: Any) -> None:
        await set_password_offline(reactor, static_path, account, password)

    run_reactor(work)


async def set_password_offline(reactor: Any, static_path: Path, account: str, password: str) -> None:
    """The same, where a reactor runs already."""
    from moxtwisted.compose.offline import offline

    administration = await offline(static_path, reactor)
    try:
        await administration.set_password(account, password)
    finally:
        await administration.close()


def _report(plan: Plan, password: str, recovery: str, records: list[DNSRecord]) -> None:
    directory, host = plan.directory, plan.hostname
    lines = "\n".join(f"       {record.name}.  {record.type}  {record.value}" for record in records)
    print(f"""The files of the server are in {directory}.

Settings for mail programs
  user name    {plan.address}
  password     {password}
  incoming     {host}, IMAP, port 993, TLS      (or port 143, STARTTLS)
  outgoing     {host}, SMTP, port 465, TLS      (or port 587, STARTTLS)

Recovery key
  {recovery}
  It is in {directory / "store.key"}. Without it the mail cannot be read, also from a back-up: write it down, and keep
  it elsewhere. (moxmail key show prints it again.)

Next
  1. In the DNS of {plan.domain}:
       {host}.  A/AAAA  the addresses of this machine
{lines}
     (moxmail domain records {plan.domain} prints them again, with what each is for),
     and the reverse names of the addresses should be {host}.
  2. A real certificate for {host}: name its files in {directory / "mox.conf"}, listeners.public.tls.
     Until then mail programs warn about the self-signed one.
  3. Check:  moxmail -c {directory / "mox.conf"} config test
  4. Start:  systemctl enable --now {directory / "moxmail.service"}""")
    print(f"""
Mail to other servers
  {NO_DELIVERY}: moxmail queue list, moxmail queue remove.
  Mail from other servers, and between your accounts, is delivered.""")
    if plan.identity is not None and (closed := closed_program(plan.identity)):
        print(f"\nBefore it can start\n  {closed}")
    if plan.identity is None:
        print(f"""
The unit runs as user moxmail. You are not root, so the files belong to you; as root:
  {_useradd(directory, "moxmail")}
  chown -R moxmail: {directory}""")
