"""Maildirs, routing by host name, and nothing at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from moxtwisted.badsmtp.interfaces import CapturedMessage, IMessageStore, StorageError
from moxtwisted.badsmtp.settings import Settings
from moxtwisted.badsmtp.stores import (
    DiscardStore,
    Maildir,
    MaildirStore,
    Routing,
    envelope_header,
    file_name,
    host_name,
    make_store,
)

_MESSAGE = CapturedMessage(
    received=datetime(2026, 11, 22, 8, 30, tzinfo=UTC),
    reverse_path="alice@example.org",
    forward_paths=("bob@one.example", "carol@two.example"),
    content=b"Subject: hello\r\n\r\nIt works.\r\n",
    hello_name="three.example",
)


def _here(function: Callable[[], None]) -> Awaitable[None]:
    function()
    return succeed(None)


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


class HeaderTests(SynchronousTestCase):
    """``envelope_header``."""

    def test_joined(self) -> None:
        """What the envelope says stands in front of the message's own header, and is part of it."""
        self.assertEqual(
            envelope_header(_MESSAGE),
            b"From: alice@example.org\r\nTo: bob@one.example, carol@two.example\r\n"
            b"Received: by badsmtp.test; Sun, 22 Nov 2026 08:30:00 +0000\r\n",
        )

    def test_no_header(self) -> None:
        """When the message does not begin with a header field, an empty line keeps it a body."""
        for content in (b"", b"just a text\r\n", b"\r\nbody\r\n", b" Subject: folded from nothing\r\n"):
            self.assertTrue(
                envelope_header(attrs.evolve(_MESSAGE, content=content)).endswith(b"+0000\r\n\r\n"), content
            )

    def test_many(self) -> None:
        """Many recipients are folded into lines of no more than 78 characters."""
        paths = tuple(f"user{i}@example.org" for i in range(100))
        header = envelope_header(attrs.evolve(_MESSAGE, forward_paths=paths)).decode()
        self.assertLessEqual(max(map(len, header.split("\r\n"))), 79)
        unfolded = header.replace("\r\n ", " ")
        self.assertIn("To: " + ", ".join(paths) + "\r\n", unfolded)

    def test_injection(self) -> None:
        """No path begins another line."""
        header = envelope_header(
            attrs.evolve(_MESSAGE, reverse_path="a@x\r\nBcc: b@y", forward_paths=("c\nd@z",))
        )
        self.assertEqual(
            [line.partition(b":")[0] for line in header.splitlines()], [b"From", b"To", b"Received"]
        )


class RoutingTests(SynchronousTestCase):
    """``Routing``."""

    def setUp(self) -> None:
        self.routing = Routing(
            mailbox_dir="/all",
            enabled=True,
            mapped={"sni.example": "/sni", "two.example": "/two", "three.example": "/three"},
        )

    def test_off(self) -> None:
        """Without routing all goes to one Maildir."""
        routing = attrs.evolve(self.routing, enabled=False)
        self.assertEqual(routing.directory(_MESSAGE), "/all")
        self.assertEqual(routing.directories, ("/all",))

    def test_order(self) -> None:
        """SNI decides before the recipients, those in their order before EHLO; only mapped names count."""
        self.assertEqual(self.routing.directory(_MESSAGE), "/two")
        self.assertEqual(self.routing.directory(attrs.evolve(_MESSAGE, server_name="SNI.example.")), "/sni")
        self.assertEqual(
            self.routing.directory(attrs.evolve(_MESSAGE, forward_paths=("x@one.example",))), "/three"
        )

    def test_default(self) -> None:
        """A message without a mapped name goes to the default Maildir, and without one to that for all."""
        stranger = attrs.evolve(_MESSAGE, forward_paths=("x@elsewhere.example",), hello_name="[127.0.0.1]")
        self.assertEqual(self.routing.directory(stranger), "/all")
        routing = attrs.evolve(self.routing, default_dir="/rest")
        self.assertEqual(routing.directory(stranger), "/rest")
        self.assertEqual(routing.directories, ("/sni", "/two", "/three", "/rest"))

    def test_settings(self) -> None:
        """The settings say it all; names of the map are compared as those of clients."""
        routing = Routing.of(
            Settings(
                mailbox_dir="a",
                enable_hostname_routing=True,
                hostname_mailbox_map={"Two.Example": "b", "no host": "x"},
                default_mailbox_dir="c",
            )
        )
        self.assertEqual(
            routing, Routing(mailbox_dir="a", enabled=True, mapped={"two.example": "b"}, default_dir="c")
        )

    @given(st.one_of(st.text(max_size=40), st.text(alphabet="./\\a:\0", max_size=12)))
    @settings(max_examples=100)
    def test_no_traversal(self, name: str) -> None:
        """Whatever a client calls itself or its recipients, only Maildirs of the settings are written to."""
        message = attrs.evolve(
            _MESSAGE, server_name=name, hello_name=name, reverse_path=name, forward_paths=(f"x@{name}",)
        )
        self.assertIn(self.routing.directory(message), ("/all", "/sni", "/two", "/three"))
        self.assertNotIn("/", host_name(name))


class MaildirTests(SynchronousTestCase):
    """``Maildir``."""

    def setUp(self) -> None:
        self.top = Path(self.mktemp()).absolute()
        self.top.mkdir()
        self.maildir = Maildir(self.top / "deep" / "mailbox", lambda: 1795336200.25, "host.example")

    def test_name(self) -> None:
        """A file's name is made as BadSMTP makes it, and a host name cannot leave the directory."""
        self.assertEqual(
            file_name(1795336200.25, 4711, 9, "host.example"),
            "1795336200.1795336200250000_4711_9.host.example",
        )
        self.assertNotIn("/", file_name(0, 1, 1, "../../etc"))

    def test_written(self) -> None:
        """A message is a file in new, with what the envelope said in front; nothing stays in tmp."""
        name = self.maildir.write(_MESSAGE)
        self.assertRegex(name, rf"^1795336200\.1795336200250000_{os.getpid()}_\d+\.host\.example$")
        path = self.maildir.path / "new" / name
        self.assertEqual(path.read_bytes(), envelope_header(_MESSAGE) + _MESSAGE.content)
        self.assertEqual(_names(self.maildir.path / "tmp"), [])

    def test_modes(self) -> None:
        """Directories are for the user and the group to read, files for the user alone."""
        before = os.umask(0o022)
        try:
            name = self.maildir.write(_MESSAGE)
        finally:
            os.umask(before)
        modes = [
            stat.S_IMODE((self.maildir.path / part).stat().st_mode) for part in ("", "tmp", "new", "cur")
        ]
        self.assertEqual(modes, [0o750] * 4)
        self.assertEqual(stat.S_IMODE((self.maildir.path / "new" / name).stat().st_mode), 0o600)

    def test_many(self) -> None:
        """Messages of the same moment are different files."""
        self.assertEqual(len({self.maildir.write(_MESSAGE) for _ in range(20)}), 20)
        self.assertEqual(len(_names(self.maildir.path / "new")), 20)

    def test_link(self) -> None:
        """A link in the place of one of the parts is not followed, and what it points to stays empty."""
        elsewhere = self.top / "elsewhere"
        elsewhere.mkdir()
        for part in ("tmp", "new", "cur"):
            maildir = Maildir(self.top / f"mailbox-{part}")
            maildir.path.mkdir()
            (maildir.path / part).symlink_to(elsewhere)
            self.assertRaises(StorageError, maildir.write, _MESSAGE)
        self.assertEqual(_names(elsewhere), [])

    def test_operators_link(self) -> None:
        """The Maildir itself may be a link: the operator said so."""
        (self.top / "real").mkdir()
        (self.top / "link").symlink_to(self.top / "real")
        Maildir(self.top / "link").write(_MESSAGE)
        self.assertEqual(len(_names(self.top / "real" / "new")), 1)

    def test_in_the_way(self) -> None:
        """A file where the Maildir should be is an error that says where."""
        (self.top / "file").write_bytes(b"")
        e = self.assertRaises(StorageError, Maildir(self.top / "file").prepare)
        self.assertIn(str(self.top / "file"), str(e))

    def test_full(self) -> None:
        """A full disk is a matter of quota, and half a message does not stay."""
        self.maildir.prepare()
        with patch("moxtwisted.badsmtp.stores.os.rename", side_effect=OSError(errno.ENOSPC, "No space left")):
            e = self.assertRaises(StorageError, self.maildir.write, _MESSAGE)
        self.assertIn("quota", str(e))
        self.assertEqual([_names(self.maildir.path / part) for part in ("tmp", "new")], [[], []])


class StoreTests(SynchronousTestCase):
    """The stores, as sessions use them."""

    def test_discard(self) -> None:
        """Without a Maildir nothing is written, and all is well."""
        store = make_store(Settings(), _here)
        self.assertIsInstance(store, DiscardStore)
        self.assertTrue(verifyObject(IMessageStore, store))
        self.assertIsNone(store.store(_MESSAGE))

    def test_routed(self) -> None:
        """With routing each message goes to the Maildir of its host name."""
        top = Path(self.mktemp()).absolute()
        store = make_store(
            Settings(enable_hostname_routing=True, hostname_mailbox_map={"two.example": str(top / "two")}),
            _here,
        )
        self.assertTrue(verifyObject(IMessageStore, store))
        store.prepare()
        self.successResultOf(ensureDeferred(store.store(_MESSAGE)))
        # no name that is mapped, and nothing for the rest: discarded
        self.successResultOf(
            ensureDeferred(store.store(attrs.evolve(_MESSAGE, forward_paths=(), hello_name="")))
        )
        self.assertEqual(len(_names(top / "two" / "new")), 1)

    def test_decided(self) -> None:
        """A message that names its Maildir goes there."""
        top = Path(self.mktemp()).absolute()
        store = MaildirStore(Routing(mailbox_dir=str(top / "all"), mapped={}), _here)
        self.successResultOf(ensureDeferred(store.store(attrs.evolve(_MESSAGE, directory=str(top / "own")))))
        self.assertEqual(sorted(_names(top)), ["own"])

    def test_failure(self) -> None:
        """What goes wrong in writing is what storing raises."""
        top = Path(self.mktemp()).absolute()
        top.write_bytes(b"")
        store = MaildirStore(Routing(mailbox_dir=str(top), mapped={}), _here)
        self.failureResultOf(ensureDeferred(store.store(_MESSAGE)), StorageError)
