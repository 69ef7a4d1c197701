"""Accounts that are with a keeper come home when something opens them here, one at a time, and stay no longer than they are wanted."""

from __future__ import annotations

import base64
import gc
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from attrs import evolve
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from zope.interface import implementer
from zope.interface.interface import Method
from zope.interface.verify import verifyObject

from moxtwisted.compose.junk import learn_junk
from moxtwisted.compose.upkeep import Retirement
from moxtwisted.config.edit import ConfigurationEditor
from moxtwisted.errors import StoreUnavailableError
from moxtwisted.imap.settings import ServerSettings
from moxtwisted.message.mbox import MboxWriter
from moxtwisted.server.administration import Administered, Administration
from moxtwisted.server.control.interfaces import IAdministration
from moxtwisted.server.imapd.local import LocalIMAP
from moxtwisted.server.imapd.service import IMAPService
from moxtwisted.server.imapd.urlkeys import url_key
from moxtwisted.server.importing.work import Import
from moxtwisted.server.lending.interfaces import IPlaces
from moxtwisted.store.accounts import Account
from moxtwisted.store.interfaces import Usage
from moxtwisted.store.maintenance import retire
from tests.server.house import HOST, SECRET, House, Line, Transport
from tests.server.test_administration import LETTER, AdministrationCase, quiet
from tests.server.test_imapd import IMAPCase

ALL: Final = ["alice", "bob", "carol"]
STEP: Final = 0.01
#: How long an account is on its way; one that nobody wants any more is gone before that.
WAY: Final = 10 * STEP


@implementer(IPlaces)
class Lent:
    """All accounts are with a keeper, and go there again as soon as nobody here holds them.

    :ivar homes: who was brought home, in order.
    :ivar asked: what was asked for elsewhere.
    :ivar most: accounts that were here at the same time.
    :ivar lost: what does not come any more, and does not answer.
    """

    def __init__(self, house: House) -> None:
        self._store = house.store
        self._clock = house.clock
        self._open = house.store.account
        self.away = set(house.store.accounts())
        self.homes: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.here: set[str] = set()
        self.most = 0
        self.lost: set[str] = set()

    def account(self, name: str) -> Account:
        """Instead of that of the store."""
        if name in self.away:
            raise StoreUnavailableError(f"{name} is lent")
        return self._open(name)

    def is_away(self, account: str) -> bool:
        """See ``IPlaces``."""
        return account in self.away

    async def ask(self, account: str, operation: str, *values: Any) -> Any:
        """See ``IPlaces``."""
        self.asked.append((account, operation))
        await deferLater(self._clock, WAY)
        if account in self.lost:
            raise StoreUnavailableError(f"{account} is lost")
        done = OPERATIONS[operation](self._open(account), *values)
        return await done if operation == "retire" else done

    async def home(self, account: str) -> None:
        """See ``IPlaces``."""
        await deferLater(self._clock, WAY)
        if account in self.lost:
            raise StoreUnavailableError(f"{account} is lost")
        if account in self.away:
            self.homes.append(account)
            self.away.remove(account)
            self.here.add(account)
            self.most = max(self.most, len(self.here))
            # In the next turn: whoever waits between this and ``Store.account`` finds it gone.
            self._clock.callLater(0, self._leave, account)

    def is_held(self, account: str) -> bool:
        """Whether somebody has it."""
        self._store._kept.pop(account, None)
        return self._store.opened(account)

    def _leave(self, account: str) -> None:
        if self.is_held(account):
            self._clock.callLater(STEP, self._leave, account)
            return
        self.here.remove(account)
        if account in self._store.accounts():
            self.away.add(account)


OPERATIONS: Final[dict[str, Any]] = {"usage": Usage.of, "url_key": url_key, "retire": retire}

#: Operations that open no account.
OF_NO_ACCOUNT: Final = frozenset(
    """
    queue_list queue_remove reports_list status metrics log_levels set_log_level stop bans_list bans_add bans_lift
    account_disable account_enable address_list address_add address_remove tls_key_list tls_key_add tls_key_remove
    domain_list domain_add domain_remove domain_reports domain_records domain_disable domain_enable
    dkim_list dkim_generate dkim_state dkim_rotate dkim_remove
    alias_list alias_add alias_update alias_remove alias_add_members alias_remove_members
    """.split()
)
IMPORTED: Final = {"messages": 0, "unreadable": [], "failed": []}


class PlacesCase(AdministrationCase):
    def setUp(self) -> None:
        super().setUp()
        learn_junk(self.house.store)
        self.add()
        self.told: list[tuple[str, bool, bool]] = []
        (self.folder / "letter").write_bytes(LETTER)
        with (self.folder / "mbox").open("wb") as file:
            MboxWriter(file).add([LETTER], sender="x", seconds=0)
        for name in ("cur", "new", "tmp"):
            (self.folder / "maildir" / name).mkdir(parents=True)
        self.lend()

    def lend(self) -> None:
        self.loans = Lent(self.house)
        self.patch(self.house.store, "account", self.loans.account)
        administered = Administered(
            reactor=self.house.clock,
            store=self.house.store,
            queue=self.house.queue,
            initial_mailboxes=[],
            retire_after_seconds=1,
            cram_md5=False,
            changed_account=lambda name: self.told.append(
                (name, self.loans.is_away(name), self.loans.is_held(name))
            ),
            places=self.loans,
        )
        self.administration = Administration(ConfigurationEditor(self.folder / "mox.conf"), administered)

    def do(self, work: Any) -> Any:
        done = Deferred.fromCoroutine(work)
        for _ in range(1000):
            if done.called and not done.paused:
                break
            self.house.clock.advance(STEP)
        for _ in range(3):
            self.house.clock.advance(STEP)
        return done

    def path(self, name: str) -> str:
        return str((self.folder / name).absolute())

    def operations(self) -> dict[str, tuple[tuple[Any, ...], list[str]]]:
        """(arguments, who comes home) of those that open accounts; the ones that are hard on alice are the last."""
        letter = base64.b64encode(LETTER).decode()
        url = "imaps://alice@old.example/"
        return {
            "account_list": ((), []),
            "acl_set": (("bob", "INBOX", "carol", "lr"), ["bob", "carol"]),
            "acl_list": (("bob", "INBOX"), ["bob"]),
            "acl_remove": (("bob", "INBOX", "carol"), ["bob"]),
            "import_mbox": (("alice", "Old", self.path("mbox"), quiet), ["alice"]),
            "import_maildir": (("alice", "Old", self.path("maildir"), quiet), ["alice"]),
            "import_imap": (("alice", url, "secret", {}, quiet), ["alice"]),
            "export_mbox": (("alice", "", self.path("out"), quiet), ["alice"]),
            "export_maildir": (("alice", "", self.path("out"), quiet), ["alice"]),
            "verify_data": (("", quiet), ALL),
            "reparse": (("", quiet), ALL),
            "recalculate_counts": (("", quiet), ALL),
            "retire": (("", quiet), ALL),
            "junk_status": (("",), ALL),
            "junk_check": (("alice", letter), ["alice"]),
            "junk_train": (("alice", self.path("letter"), True, "Junk", quiet), ["alice"]),
            "junk_retrain": (("", quiet), ALL),
            "set_password": (("alice", "another password"), ["alice"]),
            "account_add": (("dave", "dave@example.org", "", SECRET), []),
            "account_remove": (("bob", False), ["bob"]),
        }


class OperationTests(PlacesCase):
    def test_listed(self) -> None:
        """Of every operation somebody has thought about whether it opens accounts."""
        verifyObject(IPlaces, self.loans)
        every = {
            name for name in IAdministration.names(all=True) if isinstance(IAdministration[name], Method)
        }
        self.assertEqual(every, OF_NO_ACCOUNT | self.operations().keys())

    def test_every(self) -> None:
        """Each works with accounts that are away, has those come home that it opens, one at a time, and keeps none."""

        async def run(work: Import, progress: Any) -> dict[str, Any]:
            for _ in range(5):
                await deferLater(self.house.clock, WAY)
                self.assertFalse(self.loans.is_away("alice"))
            await work.account.create_mailbox("Fetched")
            return dict(IMPORTED)

        self.patch(Import, "run", run)
        there = set(ALL)
        for name, (arguments, expected) in self.operations().items():
            self.assertEqual(self.loans.away, there, name)
            self.loans.homes.clear()
            self.loans.most = 0
            self.gives(getattr(self.administration, name)(*arguments))
            self.assertEqual(self.loans.homes, expected, name)
            # A list names two: who shares something, and to whom.
            self.assertLessEqual(self.loans.most, 2 if name == "acl_set" else 1, name)
            if name == "account_remove":
                there.remove("bob")
        self.assertEqual(self.loans.away, there)
        self.assertEqual(self.loans.here, set())

    def test_results(self) -> None:
        """What comes out is the same as with accounts that are here."""
        before = self.gives(self.administration.account_list())
        self.assertEqual(self.loans.asked, [(name, "usage") for name in ALL])
        self.loans.away.clear()
        self.assertEqual(self.gives(self.administration.account_list()), before)
        self.assertEqual(before[0]["messages"], 1)
        self.assertEqual(before[0]["quota_messages"], None)

    def test_held_until_told(self) -> None:
        """An account is here until all who are logged in were told that the password is another one, or that it is gone."""
        self.gives(self.administration.set_password("alice", "another password"))
        self.gives(self.administration.account_remove("bob", True))
        self.assertEqual(self.told, [("alice", False, True), ("bob", False, False)])
        self.assertEqual(self.loans.away, set(ALL))

    def test_remove_damaged(self) -> None:
        """An account whose file is no database can be taken out of the configuration."""
        path = self.house.path / "accounts" / "bob.db"
        self.loans.is_held("bob")
        path.write_bytes(b"no database" * 1000)
        self.gives(self.administration.account_remove("bob", True))
        self.assertEqual(self.told, [("bob", False, False)])
        path.unlink()

    def test_kept_mail(self) -> None:
        """Mail that was kept of an earlier account is found, also when it is away."""
        self.gives(self.administration.account_remove("bob", True))
        self.gives(self.administration.import_mbox("bob", "INBOX", self.path("mbox"), quiet))
        (note,) = self.gives(self.administration.account_add("bob", "bob@example.org", "", SECRET))
        self.assertIn("1 message", note)

    def test_remove_named(self) -> None:
        """An account that is removed is taken off the lists of others, also of one who is still on his way; one that is lost keeps his."""
        for owner in ("alice", "carol"):
            self.gives(self.administration.acl_set(owner, "INBOX", "bob", "lr"))
        self.loans.homes.clear()
        self.loans.lost.add("carol")
        self.gives(self.administration.account_remove("bob", False))
        self.assertEqual(self.loans.homes, ["alice", "bob"])
        self.assertEqual(self.gives(self.administration.acl_list("alice", "INBOX")), [])
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailableError)), 1)

    def test_there_already(self) -> None:
        """An account that cannot be added because it is there comes home for nobody."""
        self.assertIn(
            "already", self.refused(self.administration.account_add("bob", "bob@example.org", "", SECRET))
        )
        self.assertEqual((self.loans.homes, self.loans.away), ([], set(ALL)))

    def test_shared_with_anyone(self) -> None:
        """When all are named in a list, all come home: elsewhere they would not see it."""
        self.gives(self.administration.acl_set("bob", "INBOX", "anyone", "lr"))
        self.assertEqual(self.loans.homes, ["bob", "alice", "carol"])

    def test_does_not_come(self) -> None:
        """An account that does not come home is a finding; the others are checked, and what is about it alone is refused."""
        self.loans.lost.add("bob")
        (problem,) = self.gives(self.administration.verify_data("", quiet))
        self.assertIn("bob: cannot be read: bob is lost", problem)
        self.assertEqual(self.loans.homes, ["alice", "carol"])
        self.assertIn("lost", self.refused(self.administration.account_remove("bob", False)))
        self.assertIn("bob@example.org", (self.folder / "domains.conf").read_text())
        self.assertIn("bob", self.house.store.accounts())

    def test_daily(self) -> None:
        """What is done every day is done where the accounts are, and disconnects nobody; one that is lost is not the others' affair."""
        store = SimpleNamespace(retire_expunged_after_seconds=1)
        server = SimpleNamespace(
            reactor=self.house.clock,
            store=self.house.store,
            places=self.loans,
            static=SimpleNamespace(store=store),
        )
        self.loans.lost.add("alice")
        self.loans.away.remove("bob")
        self.successResultOf(self.do(Retirement(server)._work()))  # type: ignore[arg-type]
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailableError)), 1)
        self.assertEqual(self.loans.asked, [("alice", "retire"), ("carol", "retire")])
        self.assertEqual(self.loans.homes, [])


class IMAPTests(IMAPCase):
    def lend(self) -> None:
        self.add()
        self.loans = Lent(self.house)
        self.patch(self.house.store, "account", self.loans.account)

    def mail(self) -> Any:
        self.house.imap()
        return evolve(self.house.imap_factory._mail, places=self.loans)

    def turns(self, count: int = 20) -> None:
        for _ in range(count):
            self.house.clock.advance(STEP)

    def test_local(self) -> None:
        """The operator's IMAP has the account come home before it begins; it stays until the end of the session."""
        self.lend()
        service = LocalIMAP(ServerSettings(hostname=HOST), self.mail(), self.house.clock)
        transport: Any = Transport(peerAddress=UNIXAddress(None), hostAddress=UNIXAddress(None))
        service.serve(transport, "alice@example.org")
        transport.protocol.dataReceived(b"a SELECT INBOX\r\n")
        self.assertEqual(transport.value(), b"")
        self.turns()
        self.assertIn(b"* PREAUTH ", transport.value())
        self.assertIn(b"* 1 EXISTS", transport.value())
        transport.protocol.dataReceived(b"b FETCH 1 BODY.PEEK[]\r\n")
        self.turns()
        self.assertIn(b"It works.", transport.value())
        self.assertEqual((self.loans.homes, self.loans.away), (["alice"], {"bob", "carol"}))
        transport.protocol.dataReceived(b"c LOGOUT\r\n")
        del transport, service
        # Connections are cycles.
        gc.collect()
        self.turns()
        self.assertEqual(self.loans.away, set(ALL))

    def test_local_lost(self) -> None:
        """When it does not come, the client reads BYE."""
        self.lend()
        self.loans.lost.add("alice")
        service = LocalIMAP(ServerSettings(hostname=HOST), self.mail(), self.house.clock)
        transport: Any = Transport(peerAddress=UNIXAddress(None), hostAddress=UNIXAddress(None))
        service.serve(transport, "alice")
        self.turns()
        self.assertTrue(transport.value().startswith(b"* BYE "), transport.value())

    def lent_url(self, access: str = "user+bob%40example.org", expire: str = "") -> str:
        """A genuine URL of a message of alice, who is away; bob is here."""
        line = self.log_in()
        url = f"imap://alice%40example.org@mx.example.org/INBOX/;UID=1{expire};URLAUTH={access}"
        answer = self.ask(line, f'GENURLAUTH "{url}" INTERNAL')
        line.drop()
        self.lend()
        self.loans.away = {"alice"}
        return answer.split('"')[1] if '"' in answer else answer.split()[2]

    def fetch(self, url: str) -> str:
        service = IMAPService(
            evolve(self.house.imap_factory.settings, hostname=HOST), self.mail(), self.house.clock, None
        )
        line = Line(service, self.house.clock, "198.51.100.9")
        said = line.say(f'a LOGIN bob@example.org "{SECRET}"', f'b URLFETCH "{url}"')
        for _ in range(50):
            self.turns(1)
            said += line.heard()
        self.assertIn("b OK", said)
        line.drop()
        return said.partition("URLFETCH")[2]

    def test_url(self) -> None:
        """A URL that its owner authorised is read, for which he comes home; not again while he is there."""
        url = self.lent_url()
        self.assertIn("It works.", self.fetch(url))
        self.assertEqual((self.loans.homes, self.loans.asked), (["alice"], [("alice", "url_key")]))

    def test_forged_urls(self) -> None:
        """Nobody is disconnected by a URL that he did not authorise."""
        url = self.lent_url()
        forged = url[:-1] + ("0" if url[-1] != "0" else "1")
        for one in (
            forged,
            url.replace("INBOX", "Sent"),
            url.replace("INBOX", "%00"),
            url.replace("bob", "Bob"),
        ):
            self.assertNotIn("It works.", self.fetch(one), one)
        self.assertEqual(self.loans.homes, [])
        self.assertEqual({operation for _, operation in self.loans.asked}, {"url_key"})

    def test_url_lends_nobody(self) -> None:
        """Whose message is read is neither lent for that nor fetched back: only who logs in is."""
        url = self.lent_url()
        lent: list[str] = []

        async def lend(account: str) -> None:
            lent.append(account)

        mail = evolve(self.mail(), lending=SimpleNamespace(lend=lend))
        with patch.object(self, "mail", return_value=mail):
            self.assertNotIn("It works.", self.fetch(url[:-1] + ("0" if url[-1] != "0" else "1")))
            self.assertEqual(self.loans.homes, [])
            self.assertIn("It works.", self.fetch(url))
        self.assertEqual(lent, ["bob", "bob"])

    def test_urls_of_no_use(self) -> None:
        """Nobody is asked for a genuine URL that is not for this reader, or is good no longer."""
        for expire, access in (
            ("", "user+alice%40example.org"),
            ("", "submit+bob"),
            (";EXPIRE=2001-01-01T00:00:00Z", "authuser"),
        ):
            url = self.lent_url(access, expire)
            self.assertIn(":internal:", url)
            self.assertIn("NIL", self.fetch(url))
            self.assertEqual((self.loans.homes, self.loans.asked), ([], []))
            self.loans.away.clear()

    def test_lost_url(self) -> None:
        """Of an owner who does not come nothing is told but NIL, and no key is made for one who has none."""
        url = self.lent_url()
        self.loans.lost.add("alice")
        self.assertIn("NIL", self.fetch(url))
        self.assertEqual(len(self.flushLoggedErrors(StoreUnavailableError)), 1)
