"""All commands of ``moxmail`` with their arguments and what ``--help`` says about them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from moxtwisted import __version__
from moxtwisted.cli.badsmtparguments import add_badsmtp
from moxtwisted.cli.bansarguments import add_bans
from moxtwisted.cli.consent import add_yes
from moxtwisted.cli.junkarguments import add_junk
from moxtwisted.cli.loadarguments import add_load
from moxtwisted.cli.parser import Parser
from moxtwisted.cli.reportarguments import add_parsing, add_reports
from moxtwisted.cli.signingarguments import add_arc, add_dkim

__all__ = ["NO_DELIVERY", "Commands", "build_parser"]

#: What this version does not do, said wherever it matters.
NO_DELIVERY = "This version keeps mail to other servers in the queue and does not deliver it yet"

_HERE = "moxtwisted.cli."


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Examples keep their lines."""


def build_parser() -> Parser:
    """The parser; the chosen command is in ``run`` as ``module:function``, its own parser in ``parser``."""
    parser = Parser(
        prog="moxmail",
        formatter_class=_Formatter,
        description="A mail server for yourself: takes mail in, keeps it, serves it.",
        epilog="begin with:\n"
        "  moxmail localserve                     a server to try out, on this machine only\n"
        "  moxmail quickstart you@example.org     a configuration for a real one\n"
        "  moxmail badsmtp                        a server that misbehaves, to test mail software with\n"
        "\nmoxmail COMMAND --help explains a command.",
    )
    _everywhere(parser, None)
    parser.add_argument(
        "--version", action="version", version=f"moxmail {__version__}", help="print the version"
    )
    commands = Commands(parser, ())
    _starting(commands)
    _configuration(commands)
    _accounts(commands)
    _domains(commands)
    _mail(commands)
    _upkeep(commands)
    add_bans(commands, _json)
    add_junk(commands, _json)
    add_reports(commands, _json)
    _names(commands)
    _senders(commands)
    _signatures(commands)
    _administration(commands)
    add_badsmtp(commands, _json)
    add_load(commands, _json)
    return parser


def _everywhere(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Options that may stand before and behind the command.

    :param default: SUPPRESS behind it, where it would hide what stood before.
    """
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=default,
        help="mox.conf (else $MOXMAIL_CONFIG, ./mox.conf, /etc/moxmail/mox.conf)",
    )
    parser.add_argument(
        "--socket",
        metavar="FILE",
        default=default,
        help="control socket of the running server (else ctl in the data directory that mox.conf names)",
    )


class Commands:
    """A parser to which commands are added."""

    def __init__(self, parser: Parser, path: Sequence[str]) -> None:
        parser.set_defaults(group=parser, parser=parser, run=None)
        self._path = tuple(path)
        self._actions = parser.add_subparsers(title="commands", metavar="COMMAND", prog=parser.prog)
        parser.command_names = self._actions.choices

    def group(self, name: str, text: str) -> Commands:
        """Commands below a word, as ``account``."""
        parser = self._actions.add_parser(name, help=text, description=text[:1].upper() + text[1:] + ".")
        _everywhere(parser, argparse.SUPPRESS)
        return Commands(parser, (*self._path, name))

    def command(
        self, name: str, run: str, text: str, example: str = "", *, notes: str = "", configured: bool = True
    ) -> Callable[..., Any]:
        """A command; returns ``add_argument`` of it.

        :param example: arguments behind the command's name; several lines are several examples.
        :param notes: what else is to be said, behind the examples.
        :param configured: whether it has to do with a configuration or a running server.
        """
        words = " ".join(("moxmail", *self._path, name))
        lines = [f"  {words} {line}".rstrip() for line in example.splitlines() or [""]]
        parser = self._actions.add_parser(
            name,
            help=text,
            formatter_class=_Formatter,
            description=text[:1].upper() + text[1:] + ".",
            epilog="example:\n" + "\n".join(lines) + (f"\n\n{notes}" if notes else ""),
        )
        if configured:
            _everywhere(parser, argparse.SUPPRESS)
        parser.set_defaults(run=_HERE + run, parser=parser)
        return parser.add_argument

    def parser(self, name: str) -> Parser:
        """The parser of a command that was added, for those whose arguments have groups."""
        parser: Parser = self._actions.choices[name]
        return parser


def _json(add: Callable[..., Any]) -> None:
    add("--json", action="store_true", help="print JSON, for programs")


def _starting(commands: Commands) -> None:
    add = commands.command(
        "quickstart",
        "quickstart:quickstart",
        "write configuration, keys, a first account and a systemd unit for a new server",
        "you@example.org\nyou@example.org --hostname mail.example.org --dir /etc/moxmail",
    )
    add("address", metavar="USER@DOMAIN", help="your address")
    add("--hostname", metavar="NAME", help="full name of this machine (else what it calls itself)")
    add("--dir", metavar="DIR", help="where to write (default: the current directory)")
    add("--user", metavar="USER", default="moxmail", help="system user to run as (default: moxmail)")
    add = commands.command(
        "localserve",
        "localserve:localserve",
        "run a server for trying out and for tests: on this machine only, without root, mail to anybody comes to one account",
        "\n--dir /tmp/mail --ip 127.0.0.1",
    )
    add(
        "--dir",
        metavar="DIR",
        help="where everything is kept (default: moxmail-localserve in $XDG_DATA_HOME or ~/.local/share)",
    )
    add(
        "--ip",
        metavar="IP",
        action="append",
        help="address to listen on, may be given again (default: as mox.conf there says; in a new folder 127.0.0.1 and ::1)",
    )
    add("--init-only", action="store_true", help="write the files, and do not serve")
    commands.command("serve", "serve:serve", "run the server in the foreground, as systemd does")
    commands.command(
        "stop",
        "running:stop",
        "shut the running server down, and wait until it has ended",
        notes="Messages under way may finish, for limits.shutdown_seconds of mox.conf. The exit status is 1 if the server has\n"
        "not ended ten seconds after that.",
    )
    add = commands.command(
        "status",
        "running:status",
        "say whether the server runs, and some facts about it and its keepers",
    )
    _json(add)
    commands.command(
        "metrics", "running:metrics", "print what the running server counted since its start, for Prometheus"
    )
    add = commands.command(
        "loglevel",
        "running:loglevel",
        "show or change what the running server logs, until its next start",
        "\ndebug\ndebug moxtwisted.server",
    )
    add("level", metavar="LEVEL", nargs="?", help="debug, info, warn, error or critical")
    add("package", metavar="PACKAGE", nargs="?", default="", help="only for this part of the program")
    _json(add)
    commands.command("version", "running:version", "print the version")


def _configuration(commands: Commands) -> None:
    config = commands.group("config", "check and explain the configuration")
    config.command("test", "configuration:test", "say everything that is wrong with the configuration")
    config.command(
        "describe-static",
        "configuration:describe_static",
        "print a complete mox.conf with every key explained",
        "> mox.conf",
    )
    config.command(
        "describe-domains",
        "configuration:describe_domains",
        "print a complete domains.conf with every key explained",
        "> domains.conf",
    )
    _tls_keys(config)
    key = commands.group("key", "the key that encrypts the mail")
    key.command(
        "show",
        "configuration:key_show",
        "print the recovery key; whoever has it and the files can read the mail",
    )
    add = key.command(
        "rotate",
        "upkeep:key_rotate",
        "encrypt everything with a new key, also after `key off`; the server must be down",
        "\n--yes",
    )
    add_yes(add)
    add_yes(key.command("off", "upkeep:key_off", "decrypt everything; the server must be down", "\n--yes"))


def _tls_keys(config: Commands) -> None:
    keys = config.group("tlspubkey", "keys of TLS client certificates that log in to accounts")
    add = keys.command("list", "tlskeys:tlspubkey_list", "list keys, and whose they are", "\nalice")
    add("account", metavar="ACCOUNT", nargs="?", default="", help="only those of this one")
    _json(add)
    add = keys.command("get", "tlskeys:tlspubkey_get", "show one key", "9f86d081884c7d65…")
    add("fingerprint", metavar="FINGERPRINT", help="as list shows it")
    _json(add)
    add = keys.command(
        "add",
        "tlskeys:tlspubkey_add",
        "let the key of a client certificate log in, with SASL EXTERNAL and, on IMAP with TLS from the first octet, at once",
        "alice@example.org laptop.certificate.pem\nalice@example.org laptop.certificate.pem --name laptop --no-imap-preauth",
    )
    add("address", metavar="ADDRESS", help="an address of the account, that it logs in as")
    add("certificate", metavar="CERTIFICATE", help="in PEM; - is standard input")
    add("--name", metavar="TEXT", default="", help="a note for yourself: which device it is")
    add(
        "--no-imap-preauth",
        action="store_true",
        help="do not log in to IMAP before the client asks, for programs that cannot do with PREAUTH",
    )
    add = keys.command("rm", "tlskeys:tlspubkey_rm", "let a key log in no more", "9f86d081884c7d65…")
    add("fingerprint", metavar="FINGERPRINT", help="as list shows it")
    add = keys.command(
        "gen",
        "tlskeys:tlspubkey_gen",
        "make a key and a certificate for a mail program",
        "laptop",
    )
    add("stem", metavar="STEM", help="beginning of the names of the three files that are written")


def _accounts(commands: Commands) -> None:
    account = commands.group("account", "people who get mail")
    add = account.command(
        "add", "accounts:account_add", "add an account", "alice alice@example.org --full-name 'Alice Example'"
    )
    add("account", metavar="NAME", help="a short name, in lower case")
    add("address", metavar="ADDRESS", help="its first address, at one of the domains")
    add("--full-name", metavar="TEXT", default="", help="the person's name")
    add(
        "--password-stdin",
        action="store_true",
        help="read the password from standard input instead of making one",
    )
    _json(account.command("list", "accounts:account_list", "list accounts"))
    add = account.command(
        "rm", "accounts:account_rm", "remove an account and its mail", "alice\nalice --keep-mail --yes"
    )
    add("account", metavar="NAME")
    add(
        "--keep-mail",
        action="store_true",
        help="leave its mail on the disk; it belongs to the next account of that name",
    )
    add_yes(add)
    add = account.command(
        "disable", "accounts:account_disable", "let nobody log in", "alice 'please call us'"
    )
    add("account", metavar="NAME")
    add("message", metavar="MESSAGE", nargs="?", default="", help="what is said at log-in")
    add = account.command("enable", "accounts:account_enable", "allow log-ins again", "alice")
    add("account", metavar="NAME")
    add = commands.command(
        "setpassword",
        "accounts:setpassword",
        "set the password of an account; asks for it, or reads one line from standard input",
        "alice\nalice < password.txt",
    )
    add("account", metavar="ACCOUNT")
    address = commands.group("address", "addresses of accounts")
    _json(address.command("list", "accounts:address_list", "list all addresses, and whose they are"))
    add = address.command(
        "add",
        "accounts:address_add",
        "give an account one more address",
        "sales@example.org alice\n@example.org alice",
    )
    add("address", metavar="ADDRESS", help="or @domain for all that nobody else has there")
    add("account", metavar="ACCOUNT")
    add("--mailbox", metavar="NAME", default="", help="where its mail goes (default: INBOX)")
    add = address.command("rm", "accounts:address_rm", "take an address away", "sales@example.org")
    add("address", metavar="ADDRESS")


def _domains(commands: Commands) -> None:
    domain = commands.group("domain", "domains that mail is taken for")
    add = domain.command("add", "accounts:domain_add", "take mail for one more domain", "example.net")
    add("domain", metavar="DOMAIN")
    add("--description", metavar="TEXT", default="", help="a note for yourself")
    add("--disabled", action="store_true", help="refuse its mail for now")
    add("--no-dkim", action="store_true", help="make no keys: its mail is not signed")
    add("--no-reports", action="store_true", help="no addresses for reports of other servers")
    add = domain.command(
        "records", "accounts:domain_records", "print what belongs into the DNS for a domain", "example.net"
    )
    add("domain", metavar="DOMAIN")
    _json(add)
    add = domain.command(
        "reports",
        "accounts:domain_reports",
        "take in what other servers report about a domain: dmarcreports@ and tlsreports@, in mailboxes of their own",
        "example.net\nexample.net alice",
    )
    add("domain", metavar="DOMAIN")
    add("account", metavar="ACCOUNT", nargs="?", default="", help="who gets them (default: the postmaster)")
    _json(domain.command("list", "accounts:domain_list", "list domains"))
    for name, text in (
        ("rm", "remove a domain that no account uses"),
        ("disable", "refuse mail of a domain for now, with temporary errors"),
        ("enable", "take mail of a domain again"),
    ):
        domain.command(name, f"accounts:domain_{name}", text, "example.net")("domain", metavar="DOMAIN")
    alias = commands.group("alias", "addresses whose mail goes to several accounts")
    add = alias.command("list", "accounts:alias_list", "list aliases", "\nexample.org")
    add("domain", metavar="DOMAIN", nargs="?", default="")
    _json(add)
    add = alias.command(
        "add", "accounts:alias_add", "add an alias", "team@example.org alice@example.org bob@example.org"
    )
    add("alias", metavar="ALIAS")
    add("member", metavar="MEMBER", nargs="+", help="addresses of accounts here")
    add("--members-only", action="store_true", help="only members may write to it")
    add("--allow-message-from", action="store_true", help="members may send with it as their address")
    add = alias.command(
        "update", "accounts:alias_update", "change an alias", "team@example.org --post-public no"
    )
    add("alias", metavar="ALIAS")
    add("--post-public", choices=("yes", "no"), help="whether everybody may write to it")
    add("--allow-message-from", choices=("yes", "no"), help="whether members may send as it")
    alias.command("rm", "accounts:alias_rm", "remove an alias", "team@example.org")("alias", metavar="ALIAS")
    for name, text in (("addaddr", "add members"), ("rmaddr", "remove members")):
        add = alias.command(name, f"accounts:alias_{name}", text, "team@example.org carol@example.org")
        add("alias", metavar="ALIAS")
        add("member", metavar="MEMBER", nargs="+")


def _mail(commands: Commands) -> None:
    importing = commands.group("import", "bring mail in from files or another server")
    for form, source in (("mbox", "an mbox file"), ("maildir", "a Maildir")):
        example = "alice Archive /home/alice/" + ("old.mbox" if form == "mbox" else "Maildir")
        add = importing.command(
            form, f"mail:import_{form}", f"add the messages of {source} to a mailbox", example
        )
        add("account", metavar="ACCOUNT")
        add("mailbox", metavar="MAILBOX", help="made when it is not there")
        add("path", metavar="PATH", help="a running server reads it, as its own user")
    _import_imap(importing)
    exporting = commands.group("export", "write mail out to files")
    for form, target in (
        ("mbox", "an mbox file for each mailbox"),
        ("maildir", "a Maildir for each mailbox"),
    ):
        add = exporting.command(
            form,
            f"mail:export_{form}",
            f"write {target}",
            "alice /etc/moxmail/export/alice\nalice /etc/moxmail/export/alice Archive",
        )
        add("account", metavar="ACCOUNT")
        add("path", metavar="DIR", help="a directory; a running server writes to it, as its own user")
        add("mailbox", metavar="MAILBOX", nargs="?", default="", help="only this one")
    _sharing(commands)
    queue = commands.group("queue", f"mail that is to leave. {NO_DELIVERY}")
    _json(queue.command("list", "mail:queue_list", f"list what waits, and why. {NO_DELIVERY}"))
    add = queue.command(
        "remove",
        "mail:queue_remove",
        "drop what waits for a recipient, without telling anybody",
        "17 18\n17 --yes",
    )
    add("id", metavar="ID", nargs="+", type=int, help="as queue list shows it")
    add_yes(add)


def _sharing(commands: Commands) -> None:
    acl = commands.group("acl", "who else may see and change an account's mailboxes, over IMAP")
    add = acl.command(
        "list", "sharing:acl_list", "list what an account shares, and with whom", "alice\nalice Projects"
    )
    add("account", metavar="ACCOUNT")
    add("mailbox", metavar="MAILBOX", nargs="?", default="", help="only this one")
    _json(add)
    for name, text, example in (
        ("set", "give rights on a mailbox", "alice Projects bob lrs\nalice Projects bob@example.org +wite"),
        ("rm", "take all rights on a mailbox away", "alice Projects bob"),
    ):
        add = acl.command(name, f"sharing:acl_{name}", text, example)
        add("account", metavar="ACCOUNT", help="whose mailbox it is")
        add("mailbox", metavar="MAILBOX")
        add("identifier", metavar="WHO", help="an account, one of its addresses, or anyone (every account)")
        if name == "set":
            add(
                "rights",
                metavar="RIGHTS",
                help="l list, r read, s mark as seen, w change other flags, i add messages, k make mailboxes below, x delete "
                "the mailbox, t mark messages as deleted, e expunge them, a change rights; with + they are added, "
                "else they replace what there is (to take some away, set those that stay)",
            )


def _import_imap(importing: Commands) -> None:
    add = importing.command(
        "imap",
        "importing:import_imap",
        "fetch the mail of an account on another server: mailboxes, flags, keywords, dates; again, only what is new. "
        "Asks for the password there, or takes it from $MOXMAIL_IMPORT_PASSWORD, a file or standard input",
        "alice imaps://alice@old.example/ --dry-run\nalice imaps://alice@old.example/ --again",
    )
    add("account", metavar="ACCOUNT")
    add("url", metavar="URL", help="imaps://USER@HOST[:PORT]/, or imap:// for STARTTLS; an @ in USER is %%40")
    add("--password-file", metavar="FILE", help="the password is its first line; - is standard input")
    add(
        "--connections",
        metavar="N",
        type=int,
        default=4,
        help="at the same time; fewer are used when the server wants that (default: 4)",
    )
    add("--again", action="store_true", help="run again until nothing is left")
    add("--delete", action="store_true", help="remove here what was fetched before and is gone there")
    add("--dry-run", action="store_true", help="only show what would be fetched, and where it would go")
    add("--only", metavar="MAILBOX", action="append", help="fetch only this one, as it is called there")
    add("--skip", metavar="MAILBOX", action="append", help="do not fetch this one, as it is called there")
    add("--trust", metavar="FILE", help="certificates of authorities (PEM) instead of the system's")
    add(
        "--insecure-no-verify",
        action="store_true",
        help="take any certificate: whoever sits between reads the password and the mail",
    )
    add(
        "--insecure-no-tls",
        action="store_true",
        help="with imap://, no TLS: everybody on the way reads the password and the mail",
    )
    _json(add)


def _upkeep(commands: Commands) -> None:
    for name, function, text in (
        ("verifydata", "verify_data", "check everything that is kept; exit status 1 when something is wrong"),
        ("reparse", "reparse", "render all messages again, after a change of the program"),
        ("recalculate-counts", "recalculate_counts", "count messages and sizes of mailboxes again"),
        ("retire", "retire", "forget old traces of removed messages now"),
    ):
        add = commands.command(name, f"upkeep:{function}", text, "\nalice")
        add("account", metavar="ACCOUNT", nargs="?", default="", help="only this one")


def _resolver(add: Callable[..., Any]) -> None:
    add(
        "--resolver",
        metavar="ADDRESS[:PORT]",
        default="",
        help="ask this one (else those of mox.conf, else those of this machine)",
    )


def _names(commands: Commands) -> None:
    dns = commands.group("dns", "ask the domain name system")
    add = dns.command(
        "lookup",
        "lookup:lookup",
        "look up records, and say whether DNSSEC proves them",
        "MX example.org\nTLSA _25._tcp.mail.example.org --resolver 127.0.0.1:5353\nPTR 192.0.2.1",
    )
    add("type", metavar="TYPE", help="MX, A, AAAA, TXT, TLSA, …")
    add("name", metavar="NAME", help="a domain name; for PTR an IP address will do")
    _resolver(add)
    _json(add)


def _signatures(commands: Commands) -> None:
    add_dkim(commands.group("dkim", "keys and signatures of DKIM"), _json, _resolver)
    add_arc(commands.group("arc", "who passed a message on"), _json, _resolver)


def _senders(commands: Commands) -> None:
    spf = commands.group("spf", "who may send mail for a domain")
    check = spf.command(
        "check",
        "senders:spf_check",
        "say whether an address may send mail for a domain",
        "example.org 192.0.2.1\nalice@example.org 2001:db8::1 --helo mail.example.org",
    )
    check("domain", metavar="DOMAIN", help="or a whole address")
    check("ip", metavar="IP")
    check("--helo", metavar="NAME", default="", help="what the client calls itself (default: the domain)")
    find = spf.command("lookup", "senders:spf_lookup", "look a record up, and take it apart", "example.org")
    find("domain", metavar="DOMAIN")
    parse = spf.command("parse", "senders:spf_parse", "take a record apart", "'v=spf1 mx -all'")
    parse("record", metavar="RECORD")
    dmarc = commands.group("dmarc", "what domains want done with mail that is not theirs")
    policy = dmarc.command(
        "lookup", "senders:dmarc_lookup", "look up the record that holds for a domain", "example.org"
    )
    policy("domain", metavar="DOMAIN")
    policy(
        "--tree-walk",
        action="store_true",
        help="as the successor of RFC 7489 has it, without the public suffix list",
    )
    verify = dmarc.command(
        "verify",
        "senders:dmarc_verify",
        "judge a message on standard input by SPF, DKIM and DMARC",
        "192.0.2.1 alice@example.org mail.example.org < message.eml",
    )
    verify("ip", metavar="IP", help="the client that brought it")
    verify("mail_from", metavar="SENDER", help="of the envelope; '' for none")
    verify("helo", metavar="HELO", help="what the client calls itself")
    reports = dmarc.command(
        "checkreportaddrs",
        "senders:dmarc_checkreportaddrs",
        "say who may be sent reports about a domain",
        "example.org",
    )
    reports("domain", metavar="DOMAIN")
    add_parsing(dmarc, "parse_dmarc", "aggregate reports", _json)
    dnsbl = commands.group("dnsbl", "lists of addresses in the DNS")
    entry = dnsbl.command(
        "check", "senders:dnsbl_check", "say whether a list has an address", "bl.example.org 192.0.2.1"
    )
    entry("zone", metavar="ZONE", help="the list")
    entry("ip", metavar="IP")
    health = dnsbl.command(
        "checkhealth", "senders:dnsbl_checkhealth", "say whether a list can be used", "bl.example.org"
    )
    health("zone", metavar="ZONE", help="the list")
    name = commands.command(
        "iprev", "senders:iprev", "say whether the name of an address leads back to it", "192.0.2.1"
    )
    name("ip", metavar="IP")
    for add in (check, find, policy, verify, reports, entry, health, name):
        _resolver(add)
        _json(add)
    _json(parse)


def _administration(commands: Commands) -> None:
    admin = commands.group("admin", "for programs of the operator")
    add = admin.command(
        "imapserve",
        "imapserve:imapserve",
        "speak IMAP on standard input and output with the mail of an account, without a log-in",
        "alice",
    )
    add("account", metavar="ACCOUNT", help="its name, or one of its addresses")
