"""The arguments of ``moxmail smtp-source`` and ``moxmail smtp-sink``."""

from __future__ import annotations

import argparse
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from moxtwisted.cli.arguments import Commands

__all__ = ["PASSWORD_VARIABLE", "add_load"]

PASSWORD_VARIABLE = "MOXMAIL_LOAD_PASSWORD"  # noqa: S105  its name

_SOURCE_NOTES = """\
Letters mean what they mean in Postfix's smtp-source. What differs: commands are pipelined where the server allows it (--no-pipelining); a
payload has 4096 octets unless -l says otherwise, and is words; messages are numbered, so that smtp-sink finds what is missing; refusals and
failures are counted and do not end the run (-A changes nothing); -F may be a directory; -C waits a little between attempts. There are no
-o, -T and -v of the same kind: --trace shows the dialogue.

Without --rate each session sends as soon as the server has answered (closed loop). With --rate messages are due at fixed times, whatever
the server does (open loop), and the report has two latencies: the service time, from when a session took the message up, and the response
time, from when it was due. Only the latter shows what a stall costs those who come meanwhile (correction for coordinated omission).

Percentiles are never too small, and at most 0.8 % too large. Messages without an answer are counted, and in no percentile.
Exit status: 0 all messages were delivered, 1 some were not, 130 after Ctrl-C, which prints the figures so far."""

_SINK_NOTES = """\
Letters mean what they mean in Postfix's smtp-sink. What differs: commands of -f, -r, -q and -Q may have a percentage (RCPT:10), and do
not switch PIPELINING off; -d and -D also have --maildir beside them; there is no XCLIENT or XFORWARD to be switched off by -C and -F;
the name is --hostname, as -h is help; there are no -A, -H, -P, -R, -s, -S, -T and -v; AUTH is offered only with --auth or --user.

Messages of moxmail smtp-source are numbered (in the Message-ID): the figures say which are missing and how many came twice. They are
printed at Ctrl-C, SIGTERM, and at the limits of -M and -n."""


def add_load(commands: Commands, json: Callable[[Any], None]) -> None:
    """Both commands."""
    add = commands.command(
        "smtp-source",
        "loadsource:smtp_source",
        "send many messages to a mail server, and measure what it does; as Postfix's smtp-source, with latency percentiles",
        "-s 10 -m 5000 -f me@example.org -t you@example.org localhost:1025\n"
        "-d -s 20 --duration 60 --rate 200 --json mx.example.org > result.json\n"
        "-L -s 4 -m 1000 -r 5 unix:/run/lmtp.sock\n"
        "--tls starttls --user alice --password-file pass -d -s 10 -m 1000 mail.example.org:587\n"
        "--renumber -F ~/Maildir -s 5 -m 2000 localhost:1025",
        notes=_SOURCE_NOTES,
        configured=False,
    )
    add("target", metavar="TARGET", help="[inet:]HOST[:PORT] (default port: 25), [IPV6]:PORT or unix:PATH")
    _families(add, "connect")
    _amount(add)
    _what(add)
    _how(add)
    _credentials(add)
    _shown(add, json)
    _sink(commands, json)


def _families(add: Callable[..., Any], verb: str) -> None:
    add("-4", dest="ipv4", action="store_true", help=f"{verb} with IPv4 only")
    add("-6", dest="ipv6", action="store_true", help=f"{verb} with IPv6 only")


def _shown(add: Callable[..., Any], json: Callable[[Any], None]) -> None:
    add("-c", dest="counter", action="store_true", help="figures every second, also without a terminal")
    add("--quiet", action="store_true", help="no figures while it runs")
    json(add)


def _amount(add: Callable[..., Any]) -> None:
    add(
        "-s",
        dest="sessions",
        metavar="N",
        type=_count,
        default=1,
        help="sessions at the same time (default: 1)",
    )
    add(
        "-m",
        dest="messages",
        metavar="N",
        type=_count,
        help="messages in all (default: 1; without end with --duration)",
    )
    add("--duration", metavar="SECONDS", type=_seconds, help="begin no message after this time")
    add(
        "--rate",
        metavar="N",
        type=_rate,
        help="messages a second in all sessions together, whatever the server does",
    )
    _connections(add)


def _connections(add: Callable[..., Any]) -> None:
    add("-d", dest="keep", action="store_true", help="do not disconnect after a message")
    add(
        "--per-connection",
        metavar="N",
        type=_count,
        help="disconnect after N messages (default: 1; with -d: never)",
    )
    add(
        "-w",
        dest="pause",
        metavar="SECONDS",
        type=_seconds,
        default=0.0,
        help="each session pauses after a message",
    )
    add(
        "-R",
        dest="random_pause",
        metavar="SECONDS",
        type=_seconds,
        default=0.0,
        help="the same, for a random time up to this",
    )
    add(
        "-C",
        dest="attempts",
        metavar="N",
        type=_count,
        default=1,
        help="try to connect N times before a message counts as failed",
    )
    add("-A", dest="ignored", action="store_true", help="go on after refusals: that is done anyway")
    add(
        "--give-up",
        metavar="N",
        type=_count,
        help="end after N failed connections in a row (default: 100, or twice the sessions if that is more)",
    )
    add(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=300.0,
        help="wait so long for a reply (default: 300)",
    )


def _what(add: Callable[..., Any]) -> None:
    add(
        "-f",
        dest="sender",
        metavar="ADDRESS",
        help="sender; '' is the null sender (default: foo@ the name of -M)",
    )
    add("-t", dest="recipient", metavar="ADDRESS", help="recipient (default: foo@ the name of -M)")
    add(
        "-r",
        dest="recipients",
        metavar="N",
        type=_count,
        default=1,
        help="recipients of a message; a number is put in front",
    )
    add(
        "-N",
        dest="numbered",
        action="store_true",
        help="a number that never repeats is put in front of each recipient",
    )
    add(
        "-M",
        dest="hello",
        metavar="NAME",
        help="our name in EHLO and in default addresses (default: that of this machine)",
    )
    add("-S", dest="subject", metavar="TEXT", default="load test", help="subject; the number follows it")
    add(
        "-l",
        dest="length",
        metavar="N[-M]",
        type=_range,
        default=(4096, 4096),
        help="octets of the payload (default: 4096); N-M: a random number from N to M",
    )
    add(
        "-F",
        dest="file",
        metavar="PATH",
        help="send this message, or those of a directory or Maildir in turn, as they are",
    )
    add(
        "--renumber",
        action="store_true",
        help="with -F: give messages a numbered Message-ID in place of their own",
    )
    add("--8bit", dest="eight_bit", action="store_true", help="words beyond ASCII, with BODY=8BITMIME")
    add("--smtputf8", action="store_true", help="say SMTPUTF8; addresses may then be beyond ASCII")


def _how(add: Callable[..., Any]) -> None:
    add("-L", dest="lmtp", action="store_true", help="LMTP")
    add("--chunking", action="store_true", help="BDAT instead of DATA, where the server offers it")
    add("--no-pipelining", action="store_true", help="wait for each reply, whatever the server offers")
    add(
        "--tls",
        choices=("starttls", "implicit", "may"),
        help="STARTTLS, TLS from the first octet, or STARTTLS where it is offered",
    )
    add(
        "--tls-name",
        metavar="NAME",
        help="name that the server's certificate must have (default: that of the target)",
    )
    add("--trust", metavar="FILE", help="certificates of authorities (PEM) instead of the system's")
    add("--insecure-no-verify", action="store_true", help="take any certificate")
    add("--certificate", metavar="FILE", help="our own certificate (PEM), for servers that ask for one")
    add("--key", metavar="FILE", help="its key (default: in the same file)")
    add(
        "--trace",
        action="store_true",
        help="show all commands and replies on standard error, without passwords and messages",
    )


def _credentials(add: Callable[..., Any]) -> None:
    add(
        "--user",
        metavar="NAME",
        help=f"log in; the password is in --password-file, ${PASSWORD_VARIABLE}, or asked for",
    )
    add("--password-file", metavar="FILE", help="the password is its first line; - is standard input")
    add(
        "--mechanism",
        metavar="NAME",
        help="SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN, EXTERNAL, … (default: the best that the server has; PLAIN and LOGIN only under TLS)",
    )


def _sink(commands: Commands, json: Callable[[Any], None]) -> None:
    add = commands.command(
        "smtp-sink",
        "loadsink:smtp_sink",
        "take mail and throw it away, and say what came; as Postfix's smtp-sink, with checks for what is missing",
        "127.0.0.1:2525\n"
        "-c -M 5000 --check --json :2525\n"
        "-r RCPT:10 -f .:1 -W DATA:0.2 127.0.0.1:2525\n"
        "-L --maildir /tmp/caught unix:/tmp/lmtp.sock\n"
        "--tls starttls --auth [::1]:2587",
        notes=_SINK_NOTES,
        configured=False,
    )
    add("address", metavar="ADDRESS", help="[inet:][HOST]:PORT (port 0: any that is free) or unix:PATH")
    add(
        "backlog",
        metavar="BACKLOG",
        type=_count,
        nargs="?",
        default=256,
        help="connections that wait (default: 256)",
    )
    _families(add, "listen")
    add("-L", dest="lmtp", action="store_true", help="LMTP")
    add("--hostname", metavar="NAME", default="smtp-sink", help="our name (default: smtp-sink)")
    add("-u", dest="run_as", metavar="USER", help="become this user, once the port is open")
    _limits(add)
    _refusals(add)
    _offers(add)
    add("--tls", choices=("starttls", "implicit"), help="TLS, with a certificate that is made on the spot")
    add(
        "--certificate",
        metavar="FILE",
        help="with this certificate (PEM) and the key in --key or in the same file",
    )
    add("--key", metavar="FILE", help="the key, PEM")
    add("--auth", action="store_true", help="offer AUTH PLAIN and LOGIN, and believe everybody")
    add(
        "--user",
        metavar="NAME",
        help=f"offer AUTH to one user; the password is in --password-file or ${PASSWORD_VARIABLE}, or asked for",
    )
    add("--password-file", metavar="FILE", help="the password is its first line; - is standard input")
    add(
        "-d",
        dest="dump_each",
        metavar="TEMPLATE",
        help="keep each message in a file; strftime expands the name, a number is appended",
    )
    add(
        "-D", dest="dump", metavar="TEMPLATE", help="append all messages to a file; strftime expands the name"
    )
    add("--maildir", metavar="DIR", help="keep messages in a Maildir")
    add("--check", action="store_true", help="exit status 1 when numbered messages are missing or came twice")
    _shown(add, json)


def _limits(add: Callable[..., Any]) -> None:
    add(
        "-m",
        dest="connections",
        metavar="N",
        type=_count,
        default=1000,
        help="connections at the same time; others wait (default: 1000)",
    )
    add("-M", dest="stop_messages", metavar="N", type=_count, help="end after N messages")
    add("-n", dest="stop_sessions", metavar="N", type=_count, help="end after N sessions")
    add(
        "-t",
        dest="timeout",
        metavar="SECONDS",
        type=_seconds,
        default=100.0,
        help="for a command (default: 100)",
    )
    add("--size", metavar="OCTETS", type=_count, default=1 << 30, help="largest message (default: 1 GiB)")


def _refusals(add: Callable[..., Any]) -> None:
    commands = "COMMAND[:PERCENT],…"
    names = "CONNECT HELO EHLO LHLO MAIL RCPT DATA . RSET NOOP VRFY QUIT"
    add("-f", dest="hard", metavar=commands, action="append", default=[], help=f"refuse with 5yz: {names}")
    add("-r", dest="soft", metavar=commands, action="append", default=[], help="refuse with 4yz")
    add("-q", dest="close", metavar=commands, action="append", default=[], help="disconnect without a reply")
    add("-Q", dest="goodbye", metavar=commands, action="append", default=[], help="421, and disconnect")
    add("-B", dest="hard_reply", metavar="REPLY", help="the 5yz reply, as '550 5.7.1 no'")
    add("-b", dest="soft_reply", metavar="REPLY", help="the 4yz reply")
    add("-w", dest="data_delay", metavar="SECONDS", type=_seconds, help="wait before the reply to DATA")
    add(
        "-W",
        dest="delays",
        metavar="COMMAND:SECONDS[:ODDS]",
        action="append",
        default=[],
        help="wait before the reply to a command; with odds, as often as a dice of 100 shows less",
    )


def _offers(add: Callable[..., Any]) -> None:
    for letter, keyword in (
        ("-8", "8BITMIME"),
        ("-e", "ESMTP"),
        ("-E", "ENHANCEDSTATUSCODES"),
        ("-N", "DSN"),
        ("-p", "PIPELINING"),
    ):
        add(
            letter,
            dest="not_offered",
            action="append_const",
            const=keyword,
            default=[],
            help=f"do not offer {keyword}",
        )
    add("-a", dest="ignored", action="store_true", help="no AUTH (it is offered only with --auth or --user)")
    add("-C", dest="ignored", action="store_true", help="no XCLIENT (there is none)")
    add("-F", dest="ignored", action="store_true", help="no XFORWARD (there is none)")


def _count(text: str) -> int:
    # as an integer it may be too long for Python; nobody needs that
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    if not 0 < number <= 1 << 40:
        raise argparse.ArgumentTypeError("a number from 1 is needed")
    return number


def _seconds(text: str) -> float:
    number = _float(text)
    if not 0 <= number <= 1e7:
        raise argparse.ArgumentTypeError("a number of seconds from 0 is needed")
    return number


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan  # which is in no range


def _rate(text: str) -> float:
    number = _float(text)
    if not 1e-6 <= number <= 1e6:
        raise argparse.ArgumentTypeError("a number of messages a second above 0 is needed")
    return number


def _range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,12})(?:-([0-9]{1,12}))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
    if not 0 <= first <= last <= 1 << 30:
        raise argparse.ArgumentTypeError("N, or N-M with N up to M; at most 1 GiB")
    return first, last
