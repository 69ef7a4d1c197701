"""Commands to the running server: stop, status, metrics, levels of the log; and the version."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from moxtwisted.cli.output import counted, print_report
from moxtwisted.cli.session import NotRunningError, administer, call
from moxtwisted.errors import MailError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

#: Before it is said what is waited for.
_SILENT_SECONDS: Final = 0.5
#: Of the accounts of a keeper.
_MOST_NAMES: Final = 20
#: What a server may take to close its files, after messages under way had their time.
_CLOSING_SECONDS: Final = 10.0


def stop(arguments: argparse.Namespace) -> int:
    """``stop``."""
    return administer(arguments, _stop, running=True)


async def _stop(administration: Any, _: object) -> None:
    from twisted.internet import reactor

    # A server of an earlier version does not say how long.
    seconds = await administration.stop() or 0.0
    await until_ended(administration.ended(), seconds + _CLOSING_SECONDS, reactor)


async def until_ended(ended: Deferred[None], seconds: float, clock: Any) -> None:
    """Wait for a server that was told to stop; say so when that takes longer than a moment.

    :param ended: fires then.
    :param clock: an ``IReactorTime``.
    :raises MailError: when it has not ended after so many seconds.
    """
    from twisted.internet.defer import TimeoutError as TookTooLongError

    waiting = f"waiting for the server to end, {seconds:g} seconds at most: messages under way may finish"
    told = clock.callLater(_SILENT_SECONDS, print, waiting, file=sys.stderr, flush=True)
    try:
        await ended.addTimeout(seconds, clock)
    except TookTooLongError:
        raise MailError(
            f"the server was told to stop, and has not ended after {seconds:g} seconds; its log says what it is doing"
        ) from None
    finally:
        if told.active():
            told.cancel()


def status(arguments: argparse.Namespace) -> int:
    """``status``."""
    try:
        facts = call(arguments, lambda administration, _: administration.status(), running=True)
    except NotRunningError:
        if not arguments.json:
            raise
        facts = {"running": False}
    if arguments.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        keepers = facts.pop("keepers", ())
        rows = [{"fact": name, "value": value} for name, value in facts.items()]
        rows += [{"fact": f"keeper {row['keeper']}", "value": _of_keeper(row)} for row in keepers]
        print_report(rows, as_json=False)
    return 0 if facts["running"] else 1


def _of_keeper(row: Mapping[str, Any]) -> str:
    """``process 4712, ready, 3 connections, 2 accounts: ann, bob``."""
    if row["pid"] is None:
        return "no process"
    ready = "ready" if row["ready"] else "not ready"
    connections, names = counted(row["connections"], "connection"), row["accounts"]
    text = f"process {row['pid']}, {ready}, {connections}, {counted(len(names), 'account')}"
    if names:
        text += f": {', '.join(names[:_MOST_NAMES])}"
    if len(names) > _MOST_NAMES:
        text += f" and {len(names) - _MOST_NAMES:,} more"
    return text


def metrics(arguments: argparse.Namespace) -> int:
    """``metrics``."""
    print(call(arguments, lambda administration, _: administration.metrics(), running=True), end="")
    return 0


def loglevel(arguments: argparse.Namespace) -> int:
    """``loglevel``."""
    if arguments.level:
        return administer(
            arguments,
            lambda administration, _: administration.set_log_level(arguments.level, arguments.package),
            running=True,
        )
    levels = call(arguments, lambda administration, _: administration.log_levels(), running=True)
    rows = [{"package": name or "(default)", "level": level} for name, level in sorted(levels.items())]
    print_report(rows, as_json=arguments.json)
    return 0


def version(arguments: argparse.Namespace) -> int:
    """``version``."""
    from moxtwisted import __version__

    print(f"moxmail {__version__}")
    return 0
