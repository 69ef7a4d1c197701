"""``moxmail localserve``: a whole server on the loopback addresses, for trying out and for tests of other programs.

On the first run it writes an ordinary configuration into its directory, which can be edited. It then runs the same
composition as ``twistd moxmail``, but mail for any recipient comes to the one account, nothing leaves the machine, and
some local parts provoke errors (``temperror``, ``permerror``, ``timeout``, ``550`` … at the end of a local part).
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from moxtwisted.config.load import DOMAINS_NAME, LoadedConfig, load
from moxtwisted.config.schema import Listener
from moxtwisted.config.startup import collector_paused
from moxtwisted.errors import MailError

if TYPE_CHECKING:
    from moxtwisted.cli.creation import Creation
    from moxtwisted.server.logging import LevelControl

__all__ = ["ACCOUNT", "ADDRESS", "PASSWORD", "localserve"]

ACCOUNT: Final = "mox"
ADDRESS: Final = "mox@localhost"
PASSWORD: Final = "moxmoxmox"  # noqa: S105  known to everybody, on purpose


def localserve(arguments: argparse.Namespace) -> int:
    """``localserve``."""
    directory = Path(arguments.dir) if arguments.dir else default_directory()
    ips = _checked(arguments.ip)
    path = directory.absolute() / "mox.conf"
    if not path.exists():
        return _first_run(path, ips or _loopback(), serve=not arguments.init_only)
    loaded = load(path)
    if arguments.init_only:
        print(f"{directory} has a configuration already")
        return 0
    return _run(_with_ips(loaded, ips) if ips else loaded, None, serve=True)


def default_directory() -> Path:
    """Where users' programs keep data (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_DATA_HOME") or ""
    # The specification wants relative paths to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "share") / "moxmail-localserve"


def _checked(ips: list[str] | None) -> tuple[str, ...]:
    try:
        return tuple(str(ip_address(ip)) for ip in ips or ())
    except ValueError as e:
        raise MailError(str(e)) from e


def _loopback() -> tuple[str, ...]:
    from moxtwisted.config.machine import can_listen

    return tuple(ip for ip in ("127.0.0.1", "::1") if can_listen(ip))


def _with_ips(loaded: LoadedConfig, ips: tuple[str, ...]) -> LoadedConfig:
    """The configuration with the listener at other addresses, for this run."""
    import attrs

    listeners: dict[str, Listener] = {
        name: msgspec.structs.replace(listener, ips=ips) if name == "local" else listener
        for name, listener in loaded.static.listeners.items()
    }
    return attrs.evolve(loaded, static=msgspec.structs.replace(loaded.static, listeners=listeners))


def _first_run(path: Path, ips: tuple[str, ...], *, serve: bool) -> int:
    """Write the files, make the account, and serve."""
    from moxtwisted.cli.creation import Creation, domains_text

    with Creation(path.parent) as made:
        made.file("mox.conf", _static_text(ips))
        made.file(
            DOMAINS_NAME,
            domains_text("localhost", ACCOUNT, ADDRESS, f"# The account's password is {PASSWORD}.\n"),
        )
        made.key()
        made.certificate("localhost", ("localhost", *ips))
        made.data_directory()
        return _run(load(path), made, serve=serve)


def _static_text(ips: tuple[str, ...]) -> str:
    from moxtwisted.config.describe import toml_value

    return f"""# A server for trying out, on this machine only. Every key explained: moxmail config describe-static

hostname = "localhost"
data_directory = "data"

[postmaster]
account = "{ACCOUNT}"

[listeners.local]
ips = {toml_value(ips)}

[listeners.local.tls]
certificates = [{{certificate = "tls/localhost.crt", key = "tls/localhost.key"}}]

[listeners.local.smtp]
port = 1025

[listeners.local.submission]
port = 1587

[listeners.local.submissions]
port = 1465

[listeners.local.imap]
port = 1143

[listeners.local.imaps]
port = 1993

[listeners.local.lmtp]
port = 1024

# Nothing here asks the DNS.
[verification]
enabled = false

# All clients have the same address here, and tests are in a hurry.
[limits]
connections_per_minute = [1000000, 1000000, 1000000]
connections_at_once = [10000, 10000, 10000]
authentication_failures_per_minute = [1000, 1000, 1000]
authentication_failures_per_day = [10000, 10000, 10000]

[limits.smtp]
unknown_recipients_delay_seconds = 0
submitted_messages_per_day = 1000000
first_time_recipients_per_day = 1000000
"""


def _run(loaded: LoadedConfig, made: Creation | None, *, serve: bool) -> int:
    """Finish what the first run made, and serve until told to end."""
    with collector_paused():
        import moxtwisted.compose.server  # noqa: F401  the bulk of the program
    from moxtwisted.cli.session import run_reactor
    from moxtwisted.server.logging import LevelControl, LineObserver, LogFile

    log = loaded.static.log
    levels = LevelControl(log.level, log.packages)

    async def work(reactor: Any) -> int:
        if made is not None:
            from moxtwisted.cli.quickstart import set_password_offline

            await set_password_offline(reactor, loaded.static_path, ACCOUNT, PASSWORD)
            made.keep()
        if not serve:
            print(
                f"wrote {loaded.static_path} and what belongs to it; account {ADDRESS}, password {PASSWORD}"
            )
            return 0
        return await _serve(loaded, reactor, levels)

    result: int = run_reactor(work, LineObserver(LogFile(None, descriptor=1), levels, form=log.format))
    return result


async def _serve(loaded: LoadedConfig, reactor: Any, levels: LevelControl) -> int:
    from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
    from twisted.internet.error import CannotListenError

    from moxtwisted.compose.server import make_service
    from moxtwisted.server.sockets import listen_problem

    # At a terminal it ends with that.
    service = make_service(loaded, reactor, localserve=True, log_levels=levels, hang_up=not os.isatty(0))
    try:
        service.privilegedStartService()
        service.startService()
        await service.getServiceNamed("listeners").serving
        print(connection_help(loaded), flush=True)
        await Deferred()
    except CannotListenError as e:
        taken = getattr(e.socketError, "errno", None) == errno.EADDRINUSE
        hint = "; is another server running? --ip takes another address" if taken else ""
        raise MailError(f"{e.interface}:{e.port}: {listen_problem(e.socketError)}{hint}") from e
    except CancelledError:
        # SIGINT, SIGTERM or SIGHUP, or `moxmail stop`.
        with suppress(OSError):
            print(
                f"ending; what is under way has {loaded.static.limits.shutdown_seconds:g} seconds", flush=True
            )
    finally:
        await maybeDeferred(service.stopService)
    return 0


def _ourselves() -> str:
    """How this program was called."""
    called = sys.argv[0] if sys.argv else ""
    return called if Path(called).name == "moxmail" else "moxmail"


def connection_help(loaded: LoadedConfig) -> str:
    """How to send and to read a mail now, ready to paste."""
    listener = loaded.static.listeners.get("local")
    if listener is None:
        return f"serving as {loaded.static_path} says"
    ip = listener.ips[0]
    host = f"[{ip}]" if ":" in ip else ip
    ports = {
        name: service.port
        for name in ("smtp", "submission", "submissions", "imap", "imaps", "lmtp")
        if (service := getattr(listener, name)) is not None and service.enabled
    }
    lines = [
        f"moxmail is serving on {', '.join(listener.ips)}:  "
        + "  ".join(f"{name} {port}" for name, port in ports.items()),
        f"account {ACCOUNT}, address {ADDRESS}, password {PASSWORD}; mail for any address comes to it",
    ]
    if "smtp" in ports:
        envelope = f"--mail-from you@example.org --mail-rcpt {ADDRESS}"
        printed = "printf 'Subject: hello\\r\\n\\r\\nIt works.\\r\\n'"
        lines += [
            "send:",
            f"  swaks --server {host}:{ports['smtp']} --from you@example.org --to {ADDRESS}",
            f"  {printed} | curl --silent --show-error smtp://{host}:{ports['smtp']} {envelope} -T -",
        ]
    if "submissions" in ports:
        lines.append(
            f"  swaks --server {host}:{ports['submissions']} --tlsc --auth-user {ADDRESS} --auth-password {PASSWORD} "
            f"--from {ADDRESS} --to {ADDRESS}"
        )
    if "imaps" in ports:
        lines += [
            "read the newest:",
            f"  curl --silent --show-error --insecure --user {ADDRESS}:{PASSWORD} 'imaps://{host}:{ports['imaps']}/INBOX;MAILINDEX=*'",
        ]
    lines += [
        f"configuration: {loaded.static_path}; for other commands, in a second terminal:",
        f"  {_ourselves()} -c {loaded.static_path} account list",
        "Ctrl-C ends it; the mail stays.",
    ]
    return "\n".join(lines)
