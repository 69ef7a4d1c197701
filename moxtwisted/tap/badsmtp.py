"""The server that misbehaves as a twistd plugin: ``twistd --nodaemon badsmtp --port 2526``.

Options, environment and file are those of ``moxmail badsmtp``. As a daemon, twistd has no standard output: ``LOG_OUTPUT=syslog`` (or tcp,
or udp) then says where the log goes.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService
from twisted.python import usage

from moxtwisted import __version__
from moxtwisted.badsmtp.configuration import configure
from moxtwisted.badsmtp.options import options
from moxtwisted.errors import ConfigurationError
from moxtwisted.tap import EXIT_CONFIGURATION

if TYPE_CHECKING:
    from moxtwisted.badsmtp.configuration import Configuration

__all__ = ["Options", "makeService"]

_SHORT = {"port": "p", "mailbox_dir": "m"}


def _text(text: str) -> str:
    return text.replace("``", "") + "."


class Options(usage.Options):
    """The options of ``twistd badsmtp``.

    :ivar configuration: what they, the environment and the file say.
    """

    synopsis = "[--port PORT] [--mailbox DIRECTORY] …"
    longdesc = (
        "A mail server that misbehaves on request, to test mail software with. `moxmail badsmtp` is the same for "
        "a terminal and for CI; its --help says more."
    )
    # What twistd's parser is told: name, letter, default, help. A flag there is a parameter here, to be set to false as well.
    optParameters = [  # noqa: RUF012  (Twisted collects it from the class)
        [option.flag.removeprefix("--"), _SHORT.get(option.name), None, _text(option.text)]
        for option in options()
        if option.kind != "mapping"
    ]
    configuration: Configuration

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["config"] = None
        self["mappings"] = []

    def opt_config(self, path: str) -> None:
        """The file, instead of badsmtp.yaml, .yml or .json in ., ~/.badsmtp or /etc/badsmtp."""
        self["config"] = path

    opt_c = opt_config

    def opt_hostname_mapping(self, mapping: str) -> None:
        """HOST=DIR: the Maildir for the messages of a host name (repeatable)."""
        self["mappings"].append(mapping)

    def opt_version(self) -> None:
        """Print the version of moxtwisted and exit."""
        print(f"moxtwisted {__version__}")  # noqa: T201  what was asked for
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Bring together what is said in all places, or say all that is wrong with it."""
        flags = {
            option.name: self["mappings"]
            if option.kind == "mapping"
            else self[option.flag.removeprefix("--")]
            for option in options()
        }
        try:
            self.configuration = configure(flags, os.environ, self["config"])
        except ConfigurationError as e:
            for problem in e.problems:
                print(problem, file=sys.stderr)  # noqa: T201  there is no log yet
            raise SystemExit(EXIT_CONFIGURATION) from None
        for note in self.configuration.notes:
            print(note, file=sys.stderr)  # noqa: T201  there is no log yet


def makeService(options: Any) -> IService:
    """The whole server as one service."""
    from twisted.internet import reactor
    from twisted.internet.interfaces import IReactorCore

    from moxtwisted.compose.badsmtp import BadSMTP
    from moxtwisted.compose.ending import Ending

    IReactorCore(reactor).callWhenRunning(Ending(reactor).take_signals)
    return BadSMTP(reactor, options.configuration)
