"""``smtp-source``: send many messages, and measure."""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from moxtwisted.cli.loadreport import Pace, source_line, source_lines
from moxtwisted.cli.loadtargets import client_tls, parse_target, password_for
from moxtwisted.cli.progress import LiveLine
from moxtwisted.cli.session import run_reactor
from moxtwisted.errors import MailError

if TYPE_CHECKING:
    from moxtwisted.address import Address, Path
    from moxtwisted.load.letters import Letters
    from moxtwisted.load.source import Figures, LoadSource, Mail, SourceSettings
    from moxtwisted.sasl.client import ClientExchange
    from moxtwisted.smtp.envelope import Recipient
    from moxtwisted.smtp.peer import TLSInfo

__all__ = ["smtp_source"]

_SHOW_SECONDS = 0.2


def smtp_source(arguments: argparse.Namespace) -> int:
    """``smtp-source``: 0 all messages were delivered, 1 some were not, 130 interrupted."""
    target = parse_target(arguments.target)
    settings = _settings(arguments)
    mail = _mail(arguments, settings.messages or 0)
    live = LiveLine(sys.stderr, 0.0 if arguments.quiet else 1.0 if arguments.counter else 10.0)
    trace = _trace if arguments.trace else None
    family = _family(arguments)

    async def work(reactor: Any) -> tuple[Figures, float]:
        from moxtwisted.load.source import LoadSource

        endpoint = target.client(reactor, family, settings.client.timeouts.connect)
        source = LoadSource(reactor, endpoint, settings, mail, now=time.perf_counter, random=random.random)
        if trace is not None:
            source.trace_to(trace)
        before = time.process_time()
        showing = None if arguments.quiet else _show(reactor, source, live)
        figures = await source.run()
        if showing is not None:
            showing.stop()
        return figures, time.process_time() - before

    figures, cpu_seconds = run_reactor(work)
    live.finish()
    _report(arguments, figures, cpu_seconds)
    if figures.ended == "interrupted":
        return 130
    tally = figures.tally
    return 0 if figures.ended == "done" and tally.delivered == tally.begun else 1


def _show(reactor: Any, source: LoadSource, live: LiveLine) -> Any:
    """Have the live line drawn."""
    from twisted.internet.task import LoopingCall

    pace = Pace()
    showing = LoopingCall(lambda: live.show(source_line(source, pace)))
    showing.clock = reactor
    showing.start(_SHOW_SECONDS, now=False)
    return showing


def _report(arguments: argparse.Namespace, figures: Figures, cpu_seconds: float) -> None:
    if arguments.json:
        facts = {"target": arguments.target, **figures.as_json(), "cpu_seconds": cpu_seconds}
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        print("\n".join(source_lines(figures, cpu_seconds, arguments.rate)))


def _trace(line: str) -> None:
    print("".join(c if c.isprintable() else "?" for c in line), file=sys.stderr)


def _family(arguments: argparse.Namespace) -> int:
    if arguments.ipv4 == arguments.ipv6:
        return 0
    return socket.AF_INET6 if arguments.ipv6 else socket.AF_INET


def _settings(arguments: argparse.Namespace) -> SourceSettings:
    from moxtwisted.load.source import SourceSettings
    from moxtwisted.smtp.agent import ClientSettings, ClientTimeouts

    seconds = arguments.timeout
    timeouts = ClientTimeouts(
        connect=min(30.0, seconds), tls_handshake=min(60.0, seconds), greeting=seconds, hello=seconds, mail=seconds,
        rcpt=seconds, data=seconds, data_block=seconds, data_end=seconds, other=seconds,
    )  # fmt: skip
    client = ClientSettings(
        hello_name=_hello_name(arguments),
        tls=client_tls(arguments, parse_target(arguments.target)),
        exchange=_exchange(arguments),
        lmtp=arguments.lmtp,
        prefer_chunking=arguments.chunking,
        timeouts=timeouts,
    )
    messages = arguments.messages
    if messages is None and arguments.duration is None:
        messages = 1
    return SourceSettings(
        client=client,
        sessions=arguments.sessions,
        messages=messages,
        duration_seconds=arguments.duration,
        rate=arguments.rate,
        per_connection=arguments.per_connection or (None if arguments.keep else 1),
        pipelining=not arguments.no_pipelining,
        attempts=arguments.attempts,
        pause_seconds=arguments.pause,
        random_pause_seconds=arguments.random_pause,
        give_up_after=arguments.give_up or max(100, 2 * arguments.sessions),
    )


def _hello_name(arguments: argparse.Namespace) -> str:
    return arguments.hello or socket.gethostname() or "localhost"


def _exchange(
    arguments: argparse.Namespace,
) -> Callable[[list[str], TLSInfo | None], ClientExchange | None] | None:
    """How to log in; None = not."""
    mechanism = (arguments.mechanism or "").upper()
    if not arguments.user and mechanism != "EXTERNAL":
        if mechanism or arguments.password_file:
            raise MailError("to log in, --user is needed")
        return None
    from moxtwisted.sasl.client import PREFERENCE, Credentials, choose

    password = "" if mechanism == "EXTERNAL" else password_for(arguments)
    credentials = Credentials(arguments.user or "", password)

    def begin(offered: list[str], tls: TLSInfo | None) -> ClientExchange | None:
        # PLAIN and LOGIN in clear only by the name of the mechanism: everybody on the way could read the password
        preference = (
            (mechanism,) if mechanism else (*PREFERENCE, *(("PLAIN", "LOGIN") if tls is not None else ()))
        )
        bindings = (
            {name: values[0] for name, values in tls.channel_bindings.items()} if tls is not None else None
        )
        return choose(offered, credentials, os.urandom, bindings=bindings, preference=preference)

    return begin


def _mail(arguments: argparse.Namespace, total: int) -> Mail:
    """What is sent, and to whom."""
    from moxtwisted.address import Address, AddressError, Path
    from moxtwisted.load.source import Mail

    name = _hello_name(arguments)
    host = f"[{name.strip('[]')}]" if name.startswith("[") else name
    try:
        sender = (
            Path(None) if arguments.sender == "" else Path(Address.parse(arguments.sender or f"foo@{host}"))
        )
        recipient = Address.parse(arguments.recipient or f"foo@{host}")
    except AddressError as e:
        raise MailError(f"{e.detail}; addresses are given by -f and -t, or come from the name of -M") from e
    letters = _letters(arguments, sender, recipient, total)
    return Mail(letters, sender, _recipients(arguments, recipient), smtputf8=arguments.smtputf8)


def _recipients(arguments: argparse.Namespace, base: Address) -> Callable[[int], list[Recipient]]:
    """The recipients of each message."""
    from moxtwisted.address import Address, Path
    from moxtwisted.smtp.envelope import Recipient

    count: int = arguments.recipients

    def numbered(first: int) -> list[Recipient]:
        return [
            Recipient(Path(Address(f"{number}{base.localpart}", base.domain)))
            for number in range(first, first + count)
        ]

    if arguments.numbered:
        return lambda message: numbered((message - 1) * count + 1)
    always = numbered(1) if count > 1 else [Recipient(Path(base))]
    return lambda _: always


def _letters(arguments: argparse.Namespace, sender: Path, recipient: Address, total: int) -> Letters:
    from moxtwisted.load.letters import FileLetters, MadeUpLetters, Numbering, message_files

    numbering = Numbering(os.urandom(4).hex(), total, _hello_name(arguments).strip("[]"))
    if arguments.file:
        try:
            letters = FileLetters(
                message_files(FilePath(arguments.file)), numbering if arguments.renumber else None
            )
            letters.letter(1)
        except OSError as e:
            raise MailError(f"{arguments.file}: cannot be read: {e.strerror}") from e
        return letters
    subject = "".join(c if c.isprintable() else " " for c in arguments.subject)
    return MadeUpLetters(
        numbering,
        [("From", f"<{sender}>" if sender.address else "<>"), ("To", f"<{recipient}>"), ("Subject", subject)],
        octets=arguments.length,
        random=random.random,
        date=_Date(),
        eight_bit=arguments.eight_bit,
    )


class _Date:
    """The date, written once a second."""

    def __init__(self) -> None:
        self._at = 0
        self._text = ""

    def __call__(self) -> str:
        now = int(time.time())
        if now != self._at:
            self._at, self._text = now, formatdate(now, localtime=False)
        return self._text
