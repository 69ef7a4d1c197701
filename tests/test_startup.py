"""What is not imported before it is needed: the first banner, the list of plugins and ``moxmail --help`` do not wait for it.

A module that is named here costs milliseconds at every start. Import it where it is used, in a function, and say why there; what a
running server needs soon is imported behind the open ports (``Listeners``, ``Verification.warm_up``).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.storekey import create_key_file, new_key
from tests.config.test_load import DOMAINS, STATIC

_ROOT = Path(__file__).parent.parent

#: Not in memory when the first client is greeted: the name itself, or all below it.
_AFTER_THE_BANNER = (
    # Others' libraries.
    "argon2", "caio", "dkim", "dns", "hyperlink", "jinja2", "josepy", "klein", "nh3", "precis_i18n", "prometheus_client", "spf", "tomlkit",
    "treq", "werkzeug", "yaml",
    # Python's and Twisted's own.
    "argparse", "csv", "html.parser", "http.server", "multiprocessing", "pyexpat", "sqlite3", "twisted.names", "twisted.protocols.amp",
    "twisted.web", "twisted.words", "xml", "zoneinfo",
    # Ours.
    "moxtwisted.badsmtp", "moxtwisted.cli", "moxtwisted.compose.badsmtp", "moxtwisted.compose.offline", "moxtwisted.config.describe",
    "moxtwisted.config.dnsrecords", "moxtwisted.config.document", "moxtwisted.config.edit", "moxtwisted.config.rekey",
    "moxtwisted.config.resolver", "moxtwisted.dns.agent", "moxtwisted.dns.dnssec", "moxtwisted.dns.message", "moxtwisted.http",
    "moxtwisted.imap.commands", "moxtwisted.imap.protocol", "moxtwisted.imap.server", "moxtwisted.imap.wire", "moxtwisted.load",
    "moxtwisted.mailauth.arc", "moxtwisted.mailauth.dkim", "moxtwisted.mailauth.dmarc", "moxtwisted.mailauth.reports",
    "moxtwisted.mailauth.spf", "moxtwisted.message.mbox", "moxtwisted.milter", "moxtwisted.pop3", "moxtwisted.server.administration",
    "moxtwisted.server.control.amp", "moxtwisted.server.imapd", "moxtwisted.server.importing", "moxtwisted.server.inbound.outcome",
    "moxtwisted.server.judgement.judge", "moxtwisted.server.nauthilus", "moxtwisted.server.reports", "moxtwisted.server.scanners",
    "moxtwisted.server.submission.signing", "moxtwisted.server.verification.checks", "moxtwisted.store.consistency",
    "moxtwisted.store.maintenance", "moxtwisted.store.transfer",
)  # fmt: skip

_GREETED = """
import sys
from moxtwisted import tap
options = tap.Options()
options.parseOptions(["-c", sys.argv[1]])
# A slow machine may not greet before the imports behind the ports begin.
import moxtwisted.compose.listeners as listeners, moxtwisted.compose.verification as verification
listeners._IMAP_SECONDS = verification._WARM_UP_SECONDS = 3600
from twisted.internet import reactor
from twisted.internet.protocol import ClientFactory, Protocol
bind, ports = listeners.listen_tcp, []
listeners.listen_tcp = lambda reactor, ip, port, factory: ports.append(bind(reactor, ip, 0, factory)) or ports[-1]
service = tap.makeService(options)
service.privilegedStartService()
service.startService()
class Client(Protocol):
    def dataReceived(self, data):
        if not loaded:
            loaded.extend(sys.modules)
            print(data[:4].decode(), *loaded, sep="\\n")
            reactor.stop()
class Clients(ClientFactory):
    def clientConnectionLost(self, connector, reason):
        # The port is bound before the accounts are made.
        if not loaded:
            reactor.callLater(0.05, connector.connect)
loaded = []
factory = Clients()
factory.protocol = Client
reactor.callWhenRunning(lambda: reactor.connectTCP("127.0.0.1", ports[0].getHost().port, factory))
reactor.callLater(60, reactor.stop)
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
reactor.run()
"""


class StartupTests(SynchronousTestCase):
    def loaded(self, program: str, *arguments: str) -> list[str]:
        """What a program of its own prints: the modules that it has."""
        result = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.split()

    def assert_without(self, loaded: list[str], names: tuple[str, ...]) -> None:
        """None of these is there."""
        below = tuple(f"{name}." for name in names)
        self.assertEqual([name for name in loaded if name in names or name.startswith(below)], [])

    def test_first_banner(self) -> None:
        """When the first client is greeted, nothing was imported that this needs not."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "mox.conf").write_text(
            STATIC + '[listeners.public.imap]\nrequire_starttls = false\n[log]\nlevel = "error"\n'
        )
        (directory / "domains.conf").write_text(DOMAINS)
        create_key_file(directory / "store.key", new_key())
        banner, *loaded = self.loaded(_GREETED, str(directory / "mox.conf"))
        self.assertEqual(banner, "220")
        self.assertIn("moxtwisted.smtp.server", loaded)
        self.assert_without(loaded, _AFTER_THE_BANNER)

    def test_plugins(self) -> None:
        """Twistd finds out what it can run without importing any of it."""
        program = (
            "import sys\n"
            "from twisted.application.service import IServiceMaker\n"
            "from twisted.plugin import getPlugins\n"
            "print(*sorted({plugin.tapname for plugin in getPlugins(IServiceMaker)} & {'moxmail', 'badsmtp'}), *sys.modules)"
        )
        first, second, *loaded = self.loaded(program)
        self.assertEqual((first, second), ("badsmtp", "moxmail"))
        self.assert_without(loaded, ("moxtwisted",))

    def test_help(self) -> None:
        """The commands are explained without Twisted, the configuration's classes and the settings of BadSMTP."""
        program = (
            "import contextlib, io, sys\n"
            "from moxtwisted.cli.main import main\n"
            "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    main(['--help'])\n"
            "print(*sys.modules)"
        )
        self.assert_without(
            self.loaded(program),
            (
                "attr",
                "attrs",
                "msgspec",
                "moxtwisted.badsmtp",
                "moxtwisted.config.load",
                "moxtwisted.load",
                "twisted",
                "zope",
            ),
        )

    def test_closed_files(self) -> None:
        """A command on the files of a server that is down imports no service."""
        self.assert_without(
            self.loaded("import sys, moxtwisted.compose.offline\nprint(*sys.modules)"),
            (
                "moxtwisted.compose.parts",
                "moxtwisted.imap.protocol",
                "moxtwisted.server.inbound",
                "moxtwisted.server.submission",
                "moxtwisted.smtp.protocol",
                "tomlkit",
                "twisted.internet.reactor",
            ),
        )
