"""``moxmail badsmtp``: a server that misbehaves, in the foreground, alone or beside a command that is tested with it."""

from __future__ import annotations

import argparse
import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from moxtwisted.badsmtp.options import options
from moxtwisted.cli.output import complain
from moxtwisted.errors import MailError

if TYPE_CHECKING:
    from moxtwisted.badsmtp.configuration import Configuration
    from moxtwisted.compose.badsmtp import BadSMTP

__all__ = ["badsmtp"]

_TAKEN: Final = "; is another badsmtp running? --free-ports takes ports that nobody has"


def badsmtp(arguments: argparse.Namespace) -> int:
    """``badsmtp``."""
    from moxtwisted.badsmtp.configuration import configure, print_configuration

    flags = {option.name: getattr(arguments, option.name) for option in options()}
    configuration = configure(flags, os.environ, arguments.badsmtp_config, free_ports=arguments.free_ports)
    for note in configuration.notes:
        complain(note)
    if arguments.print_config:
        print(_as_json(configuration) if arguments.json else print_configuration(configuration))
        return 0
    if arguments.command is not None:
        from moxtwisted.cli.companion import find_program

        program = find_program(arguments.command)
        if program is None:
            missing = (
                f"{arguments.command[0]}: there is no such command"
                if arguments.command
                else "--exec: a command is expected behind it"
            )
            complain(missing)
            return 127
    ready = Path(arguments.ready_file) if arguments.ready_file else None
    if ready is not None:
        # Whoever waits for it must not find that of the last time.
        _remove(ready)
    try:
        return _run(configuration, arguments, ready)
    finally:
        if ready is not None:
            _remove(ready)


def _as_json(configuration: Configuration) -> str:
    found = {}
    for option in options():
        value = getattr(configuration.log if option.log else configuration.settings, option.name)
        found[option.name] = dict(value) if isinstance(value, Mapping) else value
    return json.dumps(found, indent=2, ensure_ascii=False)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as e:
        raise MailError(f"{path}: {e.strerror}") from e


def _run(configuration: Configuration, arguments: argparse.Namespace, ready: Path | None) -> int:
    import attrs

    from moxtwisted.cli.session import run_reactor
    from moxtwisted.compose.badsmtp import BadSMTP

    quiet = arguments.command is not None and "log_output" not in configuration.sources
    if quiet:
        # What the command prints is what its user wants to see.
        configuration = attrs.evolve(configuration, log=attrs.evolve(configuration.log, log_output="off"))
    observers: list[Any] = []

    async def work(reactor: Any) -> int:
        server = BadSMTP(reactor, configuration)
        observers.append(server.journal.observe)
        return await _serve(reactor, server, arguments, ready)

    def observe(event: Any) -> None:
        for observer in observers:
            observer(event)

    # Failures of the server itself must be seen somewhere: without a log, on standard error.
    status: int = run_reactor(work, None if quiet else observe)
    return status


async def _serve(reactor: Any, server: BadSMTP, arguments: argparse.Namespace, ready: Path | None) -> int:
    from twisted.internet.defer import CancelledError, Deferred, maybeDeferred

    from moxtwisted.cli.badsmtptable import announcement

    try:
        _start(server, hint="" if arguments.free_ports else _TAKEN)
        if arguments.command is not None:
            from moxtwisted.cli.companion import environment, run_command

            _write_ready(ready, server)
            added = environment(server.settings, server.ports)
            return await run_command(reactor, arguments.command, {**os.environ, **added})
        if arguments.json:
            print(_ports_json(server), flush=True)
        else:
            print(announcement(server.ports, server.settings, each=arguments.each_port), flush=True)
        _write_ready(ready, server)
        return await Deferred()
    except CancelledError:
        # SIGINT or SIGTERM. A command that did not come to its end did not succeed.
        if arguments.command is not None:
            raise
        return 0
    finally:
        await maybeDeferred(server.stopService)


def _start(server: BadSMTP, hint: str) -> None:
    from twisted.internet.error import CannotListenError

    try:
        server.startService()
    except MailError as e:
        cause = e.__cause__
        taken = (
            isinstance(cause, CannotListenError)
            and getattr(cause.socketError, "errno", 0) == errno.EADDRINUSE
        )
        raise MailError(f"{e.explanation}{hint if taken else ''}") from e


def _ports_json(server: BadSMTP) -> str:
    return json.dumps(
        {"address": server.settings.listen_address, "pid": os.getpid(), "ports": dict(server.ports)}
    )


def _write_ready(path: Path | None, server: BadSMTP) -> None:
    """Whole or not at all: somebody is waiting for it."""
    if path is None:
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        temporary.write_text(_ports_json(server) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise MailError(f"{path}: {e.strerror}") from e
