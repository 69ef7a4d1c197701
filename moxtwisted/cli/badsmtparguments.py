"""The arguments of ``moxmail badsmtp``: one for each setting, and those about running it."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from moxtwisted.badsmtp.options import Option
    from moxtwisted.cli.arguments import Commands

__all__ = ["add_badsmtp"]

_NOTES = """\
What goes wrong is asked for by what the client says:
  MAIL FROM:<mail550@any.example>            550 in answer to MAIL; a code behind mail, rcpt, data, dend (the final dot), rset, quit …
  RCPT TO:<rcpt451_4.7.1@any.example>        451 4.7.1 for this recipient
  MAIL FROM:<dend.cut@any.example>           a fault instead of a code: cut, close, stall, drip10, barelf, twice …
  EHLO nosize-noauth.any.example             extensions off; dlay5: each reply 5 seconds late
  AUTH as badauth@any.example                535; everybody else gets 235
or by the port. The table that is printed at the start has all of them.

Each setting has a name in the environment, too (--tls-port: BADSMTP_TLS_PORT; of the log: LOG_LEVEL, …), and in badsmtp.yaml, .yml or
.json (tls_port), which is looked for in the current directory, ~/.badsmtp and /etc/badsmtp. The command line goes before the environment,
that before the file. --print-config shows what came of it.

The command of --exec finds the ports in its environment: BADSMTP_HOST, BADSMTP_PORT, BADSMTP_TLS_PORT …, all of them as JSON in
BADSMTP_PORTS, and the page in BADSMTP_URL. The exit status is that of the command; nothing is logged unless --log-output or LOG_OUTPUT
says where to.

Nothing is ever relayed. The page, at http://127.0.0.1:25080/, shows what came in. All of this: docs/howto/badsmtp.rst"""

_GROUPS = (
    ("ports", lambda option: option.kind == "port" or option.name.startswith(("listen_", "http_"))),
    ("TLS", lambda option: option.name.startswith("tls_")),
    ("log", lambda option: option.log),
    ("messages and limits", lambda option: True),
)
_SHORT = {"port": "-p", "mailbox_dir": "-m"}


def add_badsmtp(commands: Commands, json: Callable[[Any], None]) -> None:
    """The command."""
    add = commands.command(
        "badsmtp",
        "badsmtp:badsmtp",
        "run a mail server that misbehaves on request, to test mail software with; needs no configuration and no root",
        "\n--port 2526 --mailbox ./mailbox\n--free-ports --exec pytest tests\n--ready-file ready.json --log-output off",
        notes=_NOTES,
        configured=False,
    )
    # Not the --config of the other commands, which may stand before the command's name: that is mox.conf.
    add(
        "-c",
        "--config",
        dest="badsmtp_config",
        metavar="FILE",
        help="read this instead of badsmtp.yaml, .yml or .json in ., ~/.badsmtp or /etc/badsmtp",
    )
    add(
        "--print-config",
        action="store_true",
        help="print all settings, each with where it comes from, and end",
    )
    add("--free-ports", action="store_true", help="any free port for each listener that is not given one")
    add("--each-port", action="store_true", help="a line for each port, also of those that come in ranges")
    add(
        "--ready-file",
        metavar="FILE",
        help="write the ports to it, as JSON, as soon as everything listens; it is removed at the end",
    )
    json(add)
    add(
        "--exec",
        metavar="COMMAND …",
        dest="command",
        nargs=argparse.REMAINDER,
        help="run a command while the server is up, and end with it; all that follows belongs to the command",
    )
    parser = commands.parser("badsmtp")
    parser.fill = partial(_add_settings, parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    # The settings are read off classes that no other command needs.
    from moxtwisted.badsmtp.options import options

    left = list(options())
    for title, belongs in _GROUPS:
        group = parser.add_argument_group(title)
        for option in [option for option in left if belongs(option)]:
            _add_setting(group, option)
            left.remove(option)


def _add_setting(group: argparse._ArgumentGroup, option: Option) -> None:
    from moxtwisted.badsmtp.options import CHOICES, OFF

    names = [_SHORT[option.name]] if option.name in _SHORT else []
    text = option.text.replace("``", "").replace("%", "%%")
    default = OFF if option.default is None else option.default
    if option.kind == "mapping":
        group.add_argument(
            *names,
            option.flag,
            dest=option.name,
            metavar="HOST=DIR",
            action="append",
            help=f"{text} (repeatable)",
        )
    elif option.kind == "bool":
        group.add_argument(
            *names, option.flag, dest=option.name, metavar="BOOL", nargs="?", const="true", help=text
        )
    else:
        metavar = "PORT" if option.kind == "port" else "N" if option.kind == "number" else "TEXT"
        if option.name in CHOICES:
            metavar = option.name.rpartition("_")[2].upper()
        elif option.name.endswith(("_dir", "_file", "_out")):
            metavar = "PATH"
        shown = f" (default: {default})" if default != "" else ""
        group.add_argument(*names, option.flag, dest=option.name, metavar=metavar, help=text + shown)
