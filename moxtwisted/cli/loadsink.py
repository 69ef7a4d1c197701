"""``smtp-sink``: take mail and throw it away."""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moxtwisted.cli.loadreport import Pace, sink_lines
from moxtwisted.cli.loadtargets import parse_target, password_for, server_tls
from moxtwisted.cli.progress import LiveLine
from moxtwisted.cli.session import run_reactor
from moxtwisted.errors import MailError

if TYPE_CHECKING:
    from moxtwisted.load.authentication import AnybodyOr
    from moxtwisted.load.keeping import Keeper
    from moxtwisted.load.rules import Rules
    from moxtwisted.load.sink import Sink, SinkSettings
    from moxtwisted.smtp.replies import Reply

__all__ = ["smtp_sink"]

_SHOW_SECONDS = 0.2


def smtp_sink(arguments: argparse.Namespace) -> int:
    """``smtp-sink``: 0; 1 with ``--check`` when something is missing or came twice."""
    target = parse_target(arguments.address, default_port=None)
    settings = _settings(arguments)
    tls = server_tls(arguments)
    live = LiveLine(sys.stderr, 0.0 if arguments.quiet else 1.0 if arguments.counter else 10.0)

    async def work(reactor: Any) -> dict[str, Any]:
        from moxtwisted.load.sink import Sink

        sink = Sink(settings, reactor, random=random.random, entropy=os.urandom, tls=tls)
        await _serve(
            reactor, sink, target.server(reactor, _family(arguments), arguments.backlog), arguments, live
        )
        return sink.figures()

    facts: dict[str, Any] = run_reactor(work)
    live.finish()
    if arguments.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        print("\n".join(sink_lines(facts)))
    return 1 if arguments.check and (facts["missing"] or facts["doubled"]) else 0


async def _serve(
    reactor: Any, sink: Sink, endpoint: Any, arguments: argparse.Namespace, live: LiveLine
) -> None:
    from twisted.internet.defer import CancelledError
    from twisted.internet.error import CannotListenError
    from twisted.internet.task import LoopingCall

    from moxtwisted.server.sockets import listen_problem

    try:
        sink.port = await endpoint.listen(sink.factory)
    except CannotListenError as e:
        raise MailError(f"{arguments.address}: {listen_problem(e.socketError)}") from e
    if arguments.run_as:
        _become(arguments.run_as)
    host = sink.port.getHost()
    where = f"{host.host}:{host.port}" if hasattr(host, "host") else arguments.address
    print(f"listening on {where}", file=sys.stderr, flush=True)
    pace = Pace()
    showing = LoopingCall(lambda: live.show(_line(sink, pace(reactor.seconds(), sink.counted.messages))))
    showing.clock = reactor
    if not arguments.quiet:
        showing.start(_SHOW_SECONDS, now=False)
    try:
        await sink.stopped
    except CancelledError:
        pass  # Ctrl-C, or SIGTERM
    finally:
        if showing.running:
            showing.stop()
        await sink.port.stopListening()
        await sink.factory.shutdown()


def _line(sink: Sink, pace: float) -> str:
    counted, numbers = sink.counted, sink.numbers
    words = [
        f"{counted.messages:,} messages",
        f"{pace:,.0f}/s",
        f"{counted.open:,} of {counted.sessions:,} sessions open",
    ]
    if counted.refused:
        words.append(f"{counted.refused:,} refused")
    words += [f"{numbers.missing:,} missing so far"] if numbers.missing else []
    words += [f"{numbers.doubled:,} doubled"] if numbers.doubled else []
    return ", ".join(words)


def _family(arguments: argparse.Namespace) -> int:
    if arguments.ipv4 == arguments.ipv6:
        return 0
    return socket.AF_INET6 if arguments.ipv6 else socket.AF_INET


def _become(user: str) -> None:
    """Give up root.

    :raise MailError: there is no such user, or we may not.
    """
    import pwd

    try:
        entry = pwd.getpwnam(user)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except KeyError as e:
        raise MailError(f"-u {user}: there is no such user") from e
    except OSError as e:
        raise MailError(f"-u {user}: {e.strerror}") from e


def _settings(arguments: argparse.Namespace) -> SinkSettings:
    from moxtwisted.load.sink import SinkSettings

    standard = SinkSettings()
    return SinkSettings(
        hostname=arguments.hostname,
        lmtp=arguments.lmtp,
        rules=_rules(arguments),
        soft=_reply(arguments.soft_reply, standard.soft, 4),
        hard=_reply(arguments.hard_reply, standard.hard, 5),
        not_offered=frozenset(arguments.not_offered),
        connections=arguments.connections,
        stop_messages=arguments.stop_messages,
        stop_sessions=arguments.stop_sessions,
        size_limit=arguments.size,
        command_seconds=arguments.timeout,
        keeper=_keeper(arguments),
        authentication=_authentication(arguments),
    )


def _rules(arguments: argparse.Namespace) -> Rules:
    from moxtwisted.load.rules import Fate, Rules

    rules = Rules()
    for fate, texts in (
        (Fate.HARD, arguments.hard),
        (Fate.SOFT, arguments.soft),
        (Fate.CLOSE, arguments.close),
        (Fate.GOODBYE, arguments.goodbye),
    ):
        for text in texts:
            rules.refuse(fate, text)
    if arguments.data_delay is not None:
        rules.delay(f"DATA:{arguments.data_delay}")
    for text in arguments.delays:
        rules.delay(text)
    return rules


_REPLY = re.compile(r"([45][0-5][0-9])(?: ([45]\.\d{1,3}\.\d{1,3}))?(?: ([ -~]*))?\Z")


def _reply(text: str | None, standard: Reply, kind: int) -> Reply:
    from moxtwisted.smtp.replies import Reply

    if text is None:
        return standard
    match = _REPLY.match(text)
    if match is None or match[1][0] != str(kind):
        raise MailError(f"{text!r}: expected {kind}yz, perhaps an enhanced code, and a text")
    return Reply(int(match[1]), match[2] or "", match[3] or "")


def _keeper(arguments: argparse.Namespace) -> Keeper | None:
    from moxtwisted.load.keeping import DumpAppended, DumpEach, Maildir

    chosen = [name for name in ("maildir", "dump_each", "dump") if getattr(arguments, name)]
    if len(chosen) > 1:
        raise MailError("one of --maildir, -d and -D can be used")
    if arguments.maildir:
        try:
            return Maildir(Path(arguments.maildir), _unique)
        except OSError as e:
            raise MailError(f"{arguments.maildir}: {e.strerror}") from e
    if arguments.dump_each:
        return DumpEach(lambda: time.strftime(arguments.dump_each), lambda: os.urandom(8).hex())
    if arguments.dump:
        return DumpAppended(lambda: time.strftime(arguments.dump))
    return None


def _unique() -> str:
    """A name for a Maildir."""
    return f"{time.time_ns() // 1000}.{os.urandom(8).hex()}.{socket.gethostname().replace('/', '_').replace(':', '_')}"


def _authentication(arguments: argparse.Namespace) -> AnybodyOr | None:
    from moxtwisted.load.authentication import AnybodyOr
    from moxtwisted.sasl.client import Credentials

    if arguments.user:
        return AnybodyOr(Credentials(arguments.user, password_for(arguments)))
    return AnybodyOr() if arguments.auth else None
