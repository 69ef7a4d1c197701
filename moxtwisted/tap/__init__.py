"""The server as a twistd plugin: ``twistd moxmail -c mox.conf``.

twistd makes ``Options`` of the command line and asks ``makeService`` for the service. The configuration is read while
the options are parsed, because the log's form and levels come from it and twistd sets up the log before it asks. When
something is wrong with it, all problems go to standard error and the exit status is 78 (EX_CONFIG of sysexits.h), with
which systemd is told not to try again.
"""

# Twisted's usage.Options has no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import IService
from twisted.python import usage

from moxtwisted import __version__
from moxtwisted.config.startup import collector_paused
from moxtwisted.errors import ConfigurationError, MailError

if TYPE_CHECKING:
    from twisted.logger import ILogObserver

    from moxtwisted.config.load import LoadedConfig
    from moxtwisted.server.logging import LevelControl

__all__ = ["EXIT_CONFIGURATION", "Options", "makeService"]

EXIT_CONFIGURATION: Final = 78


class Options(usage.Options):
    """The options of ``twistd moxmail``.

    :ivar loaded: the configuration.
    :ivar log_levels: what is logged.
    """

    synopsis = "[-c mox.conf]"
    longdesc = (
        "An all-in-one mail server. domains.conf is read from beside mox.conf. "
        "`moxmail quickstart` makes both; `moxmail config test` checks them."
    )
    loaded: LoadedConfig
    log_levels: LevelControl

    def __init__(self) -> None:
        super().__init__()
        self["config"] = None

    def opt_config(self, path: str) -> None:
        """The configuration file mox.conf (else $MOXMAIL_CONFIG, ./mox.conf, /etc/moxmail/mox.conf)."""
        self["config"] = path

    opt_c = opt_config

    def opt_version(self) -> None:
        """Print the version of moxtwisted and exit."""
        print(f"moxtwisted {__version__}")  # noqa: T201  what was asked for
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Read the configuration, and give twistd the log that it wants."""
        with collector_paused():
            from moxtwisted.config.load import default_path
            from moxtwisted.server.logging import LevelControl

        self.loaded = _load_or_exit(Path(self["config"]) if self["config"] else default_path())
        log = self.loaded.static.log
        self.log_levels = LevelControl(log.level, log.packages)
        if self.parent is not None and not self.parent.get("logger") and not self.parent.get("syslog"):
            # twistd wants the name of a function without arguments.
            self.parent["logger"] = "moxtwisted.tap.log_observer"
            _chosen.append(self)

    def observer(self) -> ILogObserver:
        """Writes where twistd would write its own log."""
        from moxtwisted.server.logging import LineObserver, LogFile

        parent: dict[str, Any] = dict(self.parent or {})
        name = parent.get("logfile")
        if not name and not parent.get("nodaemon"):
            name = "twistd.log"
        file = LogFile(None, descriptor=1) if not name or name == "-" else LogFile(str(Path(name).absolute()))
        return LineObserver(file, self.log_levels, form=self.loaded.static.log.format)


#: The options that twistd parsed: it makes the log by a name, and the name must find them.
_chosen: list[Options] = []


def log_observer() -> ILogObserver:
    """The log of the twistd process."""
    return _chosen[-1].observer()


def _load_or_exit(path: Path) -> LoadedConfig:
    from moxtwisted.config.load import load, summary

    try:
        return load(path)
    except ConfigurationError as e:
        for problem in e.problems:
            print(problem, file=sys.stderr)  # noqa: T201  there is no log yet
        print(f"cannot start: {summary(path, e.problems)}", file=sys.stderr)  # noqa: T201
        raise SystemExit(EXIT_CONFIGURATION) from None


def makeService(options: Any) -> IService:
    """The whole server as one service."""
    with collector_paused():
        from twisted.internet import reactor
        from twisted.internet.interfaces import IReactorCore

        from moxtwisted.compose.ending import Ending
        from moxtwisted.compose.server import make_service

    try:
        service: IService = make_service(options.loaded, reactor, log_levels=options.log_levels)
    except MailError as e:
        # A missing or wrong key, an unknown user, a data directory that is none: a sentence, not a traceback.
        print(e.explanation, file=sys.stderr)  # noqa: T201  there is no log yet
        raise SystemExit(EXIT_CONFIGURATION) from None
    IReactorCore(reactor).callWhenRunning(Ending(reactor).take_signals)
    return service
