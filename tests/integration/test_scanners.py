"""ClamAV's clamd, rspamd and OpenDKIM's milter, as Debian has them, look at messages."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar

from attrs import evolve
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from moxtwisted.mailauth.dkim.sign import SigningRules, sign
from moxtwisted.mailauth.inflow import MessageHasher
from moxtwisted.message.headers import Header
from moxtwisted.server.judgement.interfaces import Incoming, Opinion
from moxtwisted.server.scanners.asking import Scanner
from moxtwisted.server.scanners.clamd import Clamd
from moxtwisted.server.scanners.milters import Milter
from moxtwisted.server.scanners.rspamd import Rspamd, RspamdSettings
from moxtwisted.store.staging import Staging
from tests.integration.live import end_with_parent, own_address
from tests.integration.peers import locate, needs
from tests.server.scanners.samples import incoming

reactor: Any = installed_reactor

START_SECONDS = 60.0
#: What the signature in the test's own database of clamd looks for.
MALWARE = b"X-MOXTWISTED-TEST-MALWARE"


class DaemonTestCase(TestCase):
    """A daemon for all tests of a case, in the foreground below a folder of its own, on an address of this process."""

    timeout = 120
    folder: ClassVar[Path]
    daemon: ClassVar[subprocess.Popen[bytes] | None] = None
    ip: ClassVar[str] = own_address(os.getpid())

    @classmethod
    def launch(cls, program: str, *arguments: str, reaches: Any) -> None:
        """Start it and wait until a connection is taken."""
        path = locate(program)
        if path is None:
            raise AssertionError(program)
        output = cls.folder / "output"
        with output.open("wb") as log:
            cls.daemon = subprocess.Popen(
                [path, *arguments],
                cwd=cls.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,  # noqa: PLW1509  # one system call, and no locks are held
            )
        deadline = time.monotonic() + START_SECONDS
        family = socket.AF_UNIX if isinstance(reaches, str) else socket.AF_INET
        while True:
            with socket.socket(family) as trying:
                if trying.connect_ex(reaches) == 0:
                    return
            if cls.daemon.poll() is not None or time.monotonic() > deadline:
                said = output.read_text("utf-8", "replace")
                cls.stop()
                raise AssertionError(f"{program} does not answer:\n{said[-2000:]}")
            time.sleep(0.05)

    @classmethod
    def stop(cls) -> None:
        """End it."""
        daemon, cls.daemon = cls.daemon, None
        if daemon is not None:
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    @classmethod
    def prepare(cls) -> None:
        """Write its configuration and launch it."""
        raise NotImplementedError

    def setUp(self) -> None:
        """The first test starts it."""
        cls = type(self)
        if cls.daemon is None:
            cls.folder = Path(self.mktemp()).absolute()
            cls.folder.mkdir(parents=True)
            cls.prepare()
            reactor.addSystemEventTrigger("before", "shutdown", cls.stop)

    def look(self, scanner: Scanner, message: Incoming) -> Deferred[Opinion | None]:
        """What it thinks."""
        return Deferred.fromCoroutine(scanner.look(message))


@needs("clamd")
class ClamdTests(DaemonTestCase):
    """clamd, with a signature of our own."""

    @classmethod
    def prepare(cls) -> None:
        """A database of one signature; messages up to two megabytes."""
        (cls.folder / "db").mkdir()
        (cls.folder / "db" / "test.ndb").write_text(f"Test.Malware:0:*:{MALWARE.hex()}\n")
        (cls.folder / "clamd.conf").write_text(
            f"TCPSocket {cls.port()}\nTCPAddr {cls.ip}\nDatabaseDirectory {cls.folder / 'db'}\n"
            "Foreground yes\nStreamMaxLength 2M\n"
        )
        cls.launch("clamd", "-c", "clamd.conf", reaches=(cls.ip, cls.port()))

    @classmethod
    def port(cls) -> int:
        """Free, for the address is this process's."""
        return 13310

    def scanner(self, when_unavailable: Any = "accept", seconds: float = 30.0) -> Scanner:
        """As the composition makes it."""
        clamd = Clamd(HostnameEndpoint(reactor, self.ip, self.port()), reactor, seconds)
        return Scanner("clamd", clamd.examine, reactor, when_unavailable)

    async def test_clean(self) -> None:
        """About a harmless message it has nothing to say."""
        self.assertIsNone(await self.look(self.scanner(), incoming(Path(self.mktemp()).parent)))

    async def test_malware(self) -> None:
        """Malware is refused for good, by its name."""
        message = incoming(Path(self.mktemp()).parent, body=b"before " + MALWARE + b" after")
        opinion = await self.look(self.scanner(), message)
        assert opinion is not None and opinion.reply is not None
        self.assertEqual((opinion.reply.code, opinion.reply.enhanced), (550, "5.7.1"))
        self.assertIn("Test.Malware", opinion.reply.text)

    async def test_malware_in_a_large_message(self) -> None:
        """It is found behind a megabyte that was streamed."""
        message = incoming(Path(self.mktemp()).parent, body=b"y" * 997, times=1200)
        tail = Staging(Path(self.mktemp()).parent, os.urandom)
        for chunk in message.staged.chunks():
            tail.write(chunk)
        tail.write(MALWARE + b"\r\n")
        opinion = await self.look(self.scanner(), evolve(message, staged=tail.finish()))
        assert opinion is not None and opinion.reply is not None
        self.assertEqual(opinion.reply.code, 550)

    async def test_too_large_for_it(self) -> None:
        """A message beyond its own limit was not looked at: the configuration says what then."""
        message = incoming(Path(self.mktemp()).parent, body=b"z" * 997, times=6000)
        opinion = await self.look(self.scanner("defer"), message)
        assert opinion is not None and opinion.reply is not None
        self.assertEqual(opinion.reply.code, 451)
        self.assertIn("did not look at it", opinion.explanation)


@needs("rspamd")
class RspamdTests(DaemonTestCase):
    """rspamd with one rule of our own and its test pattern."""

    @classmethod
    def prepare(cls) -> None:
        """Two workers, no DNS, no other filters."""
        where = cls.folder
        (where / "rules.lua").write_text(
            'rspamd_config:register_symbol({name="CHEAP", type="normal", score=7.5, callback=function(task)\n'
            '  return (task:get_subject() or ""):find("cheap") ~= nil\nend})\n'
            'rspamd_config:register_symbol({name="KNOWN_CLIENT", type="normal", score=-1, callback=function(task)\n'
            '  return tostring(task:get_from_ip()) == "192.0.2.7" and task:get_helo() == "client.example"\n'
            '    and task:get_from("smtp")[1]["addr"] == "a@client.example"\n'
            '    and task:get_recipients("smtp")[1]["addr"] == "b@here.example"\nend})\n'
        )
        user = "" if os.geteuid() else "root"
        (where / "rspamd.conf").write_text(
            f'options {{ pidfile = "{where}/pid"; tempdir = "{where}"; dynamic_conf = "{where}/dynamic"; filters = "";\n'
            f'  rrd = "{where}/rrd"; history_file = "{where}/history"; dns {{ nameserver = ["{cls.ip}:1"]; timeout = 0.1; }} }}\n'
            'logging { type = "console"; level = "warning"; }\n'
            'metric { name = "default"; actions { reject = 15; add_header = 6; greylist = 4; } }\n'
            f'worker "normal" {{ bind_socket = "{cls.ip}:11333"; count = 1; }}\n'
            f'worker "controller" {{ bind_socket = "{cls.ip}:11334"; count = 1; secure_ip = "127.0.0.0/8"; }}\n'
            f'lua = "{where}/rules.lua";\n'
        )
        as_root = ("-u", user, "-g", user, "--insecure") if user else ()
        cls.launch("rspamd", "-f", "-c", str(where / "rspamd.conf"), *as_root, reaches=(cls.ip, 11333))

    def setUp(self) -> None:
        """Connections are kept for the next message; tests close them."""
        super().setUp()
        self.pool = HTTPConnectionPool(reactor)
        self.addCleanup(self.pool.closeCachedConnections)
        settings = RspamdSettings(
            url=f"http://{self.ip}:11333",
            controller_url=f"http://{self.ip}:11334",
            hostname="mx.here.example",
        )
        self.rspamd = Rspamd(settings, Agent(reactor, pool=self.pool), reactor)
        self.scanner = Scanner("rspamd", self.rspamd.examine, reactor)

    async def ask(self, subject: bytes, body: bytes = b"hello") -> Opinion:
        """What it thinks of a message."""
        opinion = await self.look(self.scanner, incoming(Path(self.mktemp()).parent, subject, body))
        assert opinion is not None
        return opinion

    async def test_harmless(self) -> None:
        """It is told client, EHLO and envelope, and what it says goes into a field."""
        opinion = await self.ask(b"hello")
        self.assertEqual((opinion.reply, opinion.junk), (None, False), opinion)
        self.assertIn("KNOWN_CLIENT -1", opinion.explanation)
        self.assertIn(b"X-Rspamd-Score: -1.00 / 15.00 (no action)\r\n", opinion.fields)

    async def test_junk(self) -> None:
        """From the score for "add header" on a message is junk, and taken."""
        opinion = await self.ask(b"cheap things")
        self.assertEqual((opinion.reply, opinion.junk), (None, True), opinion)
        self.assertIn("CHEAP 7.5", opinion.explanation)

    async def test_reject(self) -> None:
        """What it rejects is refused, with its text."""
        opinion = await self.ask(
            b"x", b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
        )
        assert opinion.reply is not None
        self.assertEqual((opinion.reply.code, opinion.reply.text), (550, "Gtube pattern"))

    async def test_learning(self) -> None:
        """Its controller takes messages to learn from."""
        await self.rspamd.learn(b"Subject: one\r\n\r\nthe text of it\r\n", "spam")
        await self.rspamd.learn(b"Subject: two\r\n\r\nthe text of that\r\n", "ham")

    async def test_not_there(self) -> None:
        """Without an answer mail is taken as if it were not there, and it is left alone after three failures."""
        gone = Rspamd(RspamdSettings(url=f"http://{self.ip}:9"), Agent(reactor, pool=self.pool), reactor)
        asked = []

        async def examine(message: Incoming) -> Opinion | None:
            asked.append(message)
            return await gone.examine(message)

        scanner = Scanner("rspamd", examine, reactor)
        for _ in range(5):
            opinion = await self.look(scanner, incoming(Path(self.mktemp()).parent))
            assert opinion is not None
            self.assertIsNone(opinion.reply)
        self.assertEqual(len(asked), 3)


@needs("opendkim")
class OpenDKIMTests(DaemonTestCase):
    """OpenDKIM's milter verifies what we sign."""

    key: ClassVar[SigningKey]

    @classmethod
    def prepare(cls) -> None:
        """It reads the key's record from a file."""
        cls.key = SigningKey.from_pem("client.example", "s1", new_private_key("rsa"))
        (cls.folder / "records").write_text(f"s1._domainkey.client.example {cls.key.record_text()}\n")
        (cls.folder / "opendkim.conf").write_text(
            f"Mode v\nSocket inet:18891@{cls.ip}\nTestDNSData file:{cls.folder / 'records'}\n"
            "AuthservID mx.here.example\nRemoveARAll yes\nAlwaysAddARHeader yes\nOn-BadSignature reject\nSyslog no\nBackground no\n"
        )
        cls.launch("opendkim", "-f", "-x", "opendkim.conf", reaches=(cls.ip, 18891))

    async def ask(self, message: Incoming) -> Opinion:
        """What it thinks."""
        milter = Milter(
            "milter opendkim", HostnameEndpoint(reactor, self.ip, 18891), reactor, "mx.here.example"
        )
        opinion = await self.look(Scanner("milter opendkim", milter.examine, reactor), message)
        assert opinion is not None
        return opinion

    def signed(self, change: bytes = b"") -> Incoming:
        """A message that we signed; what is changed after that stands at its end."""
        plain = incoming(Path(self.mktemp()).parent)
        octets = plain.staged.read(0, plain.staged.size)
        hasher = MessageHasher(also=[SigningRules().body_form])
        hasher.feed(octets)
        field = sign(hasher.finish(), self.key, now=time.time() - 10)
        staging = Staging(Path(self.mktemp()).parent, os.urandom)
        staging.write(field + octets + change)
        staged = staging.finish()
        return evolve(plain, staged=staged, header=Header.parse(staged.read(0, staged.scanned.header_size)))

    async def test_valid(self) -> None:
        """It finds our signature valid, so header and body reached it as they are, and adds its field."""
        opinion = await self.ask(self.signed())
        self.assertIsNone(opinion.reply, opinion)
        self.assertIn(b"Authentication-Results: mx.here.example;", opinion.fields)
        self.assertIn(b"dkim=pass", opinion.fields)

    async def test_forged_results(self) -> None:
        """It removes results of others, which is done."""
        message = self.signed()
        forged = b"Authentication-Results: mx.here.example; dkim=pass header.d=bank.example\r\n"
        octets = b"X-A: b\r\n" + forged + message.staged.read(0, message.staged.size)
        staging = Staging(Path(self.mktemp()).parent, os.urandom)
        staging.write(octets)
        staged = staging.finish()
        header = Header.parse(staged.read(0, staged.scanned.header_size))
        opinion = await self.ask(evolve(message, staged=staged, header=header))
        self.assertEqual(opinion.changes, {1: b""})

    async def test_altered(self) -> None:
        """It refuses a message that was altered, and so do we."""
        opinion = await self.ask(self.signed(b"more\r\n"))
        assert opinion.reply is not None
        self.assertEqual(opinion.reply.code // 100, 5, opinion)
