"""The session table against RFC 9051 section 6, for the whole product of states, commands and capabilities."""

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap.commands import HANDLERS
from moxtwisted.imap.connection import Transport
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.memorysharing import SharedMemoryMail, SharingAuthenticator
from moxtwisted.imap.settings import ServerSettings, Timeouts
from moxtwisted.imap.states import TABLE, State, expunge_allowed
from moxtwisted.imap.testing import Driver, counted_entropy
from moxtwisted.imap.wire import aclcommands, commands, mailboxcommands, urlcommands
from moxtwisted.imap.wire.parser import CommandReader

# One line of each, with what RFC 9051 section 6 says of it: the states in which it may be said ("n" not authenticated,
# "a" authenticated, "s" selected) and the capability it belongs to.
LINES: dict[str, tuple[str, str]] = {
    "CAPABILITY": ("nas", ""),
    "NOOP": ("nas", ""),
    "LOGOUT": ("nas", ""),
    "ID NIL": ("nas", "ID"),
    "STARTTLS": ("n", "STARTTLS"),
    "AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==": ("n", ""),
    "LOGIN alice secret": ("n", ""),
    "ENABLE CONDSTORE": ("as", "ENABLE"),
    "RESETKEY": ("as", "URLAUTH"),
    "GENURLAUTH imap://alice@mail.example.org/INBOX/;UID=1;URLAUTH=anonymous INTERNAL": ("as", "URLAUTH"),
    "URLFETCH imap://nobody@example.com/x": ("as", "URLAUTH"),
    "COMPRESS DEFLATE": ("as", "COMPRESS=DEFLATE"),
    "UNAUTHENTICATE": ("as", "UNAUTHENTICATE"),
    "SELECT INBOX": ("as", ""),
    "EXAMINE INBOX": ("as", ""),
    "CREATE New": ("as", ""),
    "DELETE Old": ("as", ""),
    "RENAME Old Newer": ("as", ""),
    "SUBSCRIBE INBOX": ("as", ""),
    "UNSUBSCRIBE INBOX": ("as", ""),
    'LIST "" *': ("as", ""),
    'LSUB "" *': ("as", ""),
    "NAMESPACE": ("as", "NAMESPACE"),
    "STATUS INBOX (MESSAGES)": ("as", ""),
    "GETMETADATA INBOX /private/comment": ("as", "METADATA"),
    'SETMETADATA INBOX (/private/comment "x")': ("as", "METADATA"),
    'GETQUOTA ""': ("as", "QUOTA"),
    "GETQUOTAROOT INBOX": ("as", "QUOTA"),
    'SETQUOTA "" (STORAGE 1)': ("as", "QUOTA"),
    "LANGUAGE en": ("nas", "LANGUAGE"),
    "APPEND INBOX {4+}\r\na: b": ("as", ""),
    "IDLE\r\nDONE": ("as", "IDLE"),
    "NOTIFY NONE": ("as", "NOTIFY"),
    "NOTIFY SET (personal (MessageNew MessageExpunge))": ("as", "NOTIFY"),
    "CHECK": ("s", ""),
    "CLOSE": ("s", ""),
    "UNSELECT": ("s", "UNSELECT"),
    "EXPUNGE": ("s", ""),
    "UID EXPUNGE 1": ("s", "UIDPLUS"),
    "SEARCH ALL": ("s", ""),
    "ESEARCH IN (personal) ALL": ("as", "MULTISEARCH"),
    'CANCELUPDATE "b1"': ("s", "CONTEXT=SEARCH"),
    "UID SEARCH ALL": ("s", ""),
    "SORT (DATE) UTF-8 ALL": ("s", "SORT"),
    "UID SORT (DATE) UTF-8 ALL": ("s", "SORT"),
    "THREAD REFERENCES UTF-8 ALL": ("s", "THREAD=REFERENCES"),
    "UID THREAD ORDEREDSUBJECT UTF-8 ALL": ("s", "THREAD=ORDEREDSUBJECT"),
    "FETCH 1 FLAGS": ("s", ""),
    "UID FETCH 1 FLAGS": ("s", ""),
    "STORE 1 FLAGS ()": ("s", ""),
    "UID STORE 1 FLAGS ()": ("s", ""),
    "COPY 1 Old": ("s", ""),
    "UID COPY 1 Old": ("s", ""),
    "MOVE 1 Old": ("s", "MOVE"),
    "UID MOVE 1 Old": ("s", "MOVE"),
    "SETACL Old bob lr": ("as", "ACL"),
    "DELETEACL Old bob": ("as", "ACL"),
    "GETACL Old": ("as", "ACL"),
    "LISTRIGHTS Old bob": ("as", "ACL"),
    "MYRIGHTS Old": ("as", "ACL"),
    "REPLACE 1 Old {4+}\r\na: b": ("s", "REPLACE"),
    "UID REPLACE 1 INBOX {4+}\r\na: b": ("s", "REPLACE"),
}
CAPABILITIES = (
    "",
    "ID",
    "STARTTLS",
    "ENABLE",
    "NAMESPACE",
    "IDLE",
    "UNSELECT",
    "UIDPLUS",
    "MOVE",
    "MULTISEARCH",
    "CONTEXT=SEARCH",
    "REPLACE",
    "METADATA",
    "QUOTA",
    "LANGUAGE",
    "NOTIFY",
    "METADATA",
    "QUOTA",
    "LANGUAGE",
    "ACL",
    "URLAUTH",
    "COMPRESS=DEFLATE",
    "UNAUTHENTICATE",
    "SORT",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
)
STATES = {"n": State.NOT_AUTHENTICATED, "a": State.AUTHENTICATED, "s": State.SELECTED, "i": State.IDLING}


def _in_state(letter: str, disabled: str) -> Driver:
    mail = SharedMemoryMail()
    mail.make("Old")
    mail.annotations.limits = (10_000_000, 1000)
    mail.add("INBOX", b"Subject: one\r\n\r\n1\r\n")
    settings = ServerSettings(
        hostname="mail.example.org",
        allow_plain_without_tls=True,
        offer_starttls=True,
        disabled_capabilities=frozenset([disabled] if disabled else []),
        timeouts=Timeouts(login_failure_pause=0.0),
    )
    users = {"alice": ("secret", mail), "bob": ("secret", SharedMemoryMail())}
    driver = Driver.of(authenticator=SharingAuthenticator(users, counted_entropy()), settings=settings)
    driver.command("NOOP")
    if letter != "n":
        driver.login()
    if letter in {"s", "i"}:
        driver.command("SELECT INBOX")
    if letter == "i":
        driver.command("IDLE")
    return driver


class ProductTests(SynchronousTestCase):
    def test_every_command_in_every_state(self) -> None:
        """A command is answered OK where the RFC allows it and its capability is there, and BAD everywhere else."""
        for line, (states, capability) in LINES.items():
            for letter in "nas":
                for disabled in CAPABILITIES:
                    driver = _in_state(letter, disabled)
                    self.assertIs(driver.server.state, STATES[letter])
                    tagged = driver.command(line)[-1].split()[1]
                    allowed = letter in states and not (capability and capability == disabled)
                    # SETQUOTA is not for users, whatever the state.
                    right = b"NO" if line.startswith("SETQUOTA") else b"OK"
                    self.assertEqual(tagged, right if allowed else b"BAD", (line, letter, disabled))

    def test_only_done_while_idling(self) -> None:
        """While a client idles every line but DONE is BAD, and ends IDLE."""
        for line in LINES:
            driver = _in_state("i", "")
            first = driver.command(line)[0]
            self.assertIn(b" BAD expected DONE", first, line)
            self.assertIsNot(driver.server.state, State.IDLING)

    def test_nothing_after_logout(self) -> None:
        """After LOGOUT nothing is answered."""
        for line in LINES:
            driver = _in_state("a", "")
            driver.command("LOGOUT")
            self.assertTrue(driver.closed)
            self.assertEqual(driver.command(line), [], line)

    def test_all_are_enumerated(self) -> None:
        """The table, the handlers and this test know the same commands: all that there are."""
        classes = {
            c
            for module in (commands, aclcommands, mailboxcommands, urlcommands)
            for name in module.__all__
            if isinstance(c := getattr(module, name), type)
            and issubclass(c, commands.Command)
            and c is not commands.Command
        }
        self.assertEqual(set(TABLE), classes)
        self.assertEqual(set(HANDLERS), classes)
        told = set()
        for line in LINES:
            reader = CommandReader()
            reader.receive(b"a " + line.encode() + b"\r\n")
            while (event := reader.next()) is not None:
                if isinstance(event, commands.AppendMessage):
                    reader.accept_message()
                if isinstance(event, commands.Idle):
                    reader.expect_done(b"a")
                told.add(type(event))
        self.assertEqual(classes - told, set())

    def test_capabilities_of_the_table_exist(self) -> None:
        """No rule names a capability that is never announced."""
        users = {"alice": ("secret", SharedMemoryMail())}
        authenticator = SharingAuthenticator(users, counted_entropy())
        driver = Driver.of(authenticator=authenticator, transport=Transport(tls=False))
        announced = driver.received().decode() + driver.command("LOGIN alice secret")[-1].decode().replace(
            "]", " "
        )
        for rule in TABLE.values():
            if rule.capability and rule.capability != "STARTTLS":
                self.assertIn(f" {rule.capability} ", announced)


class ExpungeTests(SynchronousTestCase):
    def test_not_with_sequence_numbers(self) -> None:
        """RFC 9051 section 7.5.1: no EXPUNGE while FETCH, STORE or SEARCH is answered, but with their UID forms."""
        for line in LINES:
            reader = CommandReader()
            reader.receive(b"a " + line.encode() + b"\r\n")
            event = reader.next()
            if isinstance(event, commands.Command):
                self.assertEqual(
                    expunge_allowed(event),
                    line.split()[0] not in {"FETCH", "STORE", "SEARCH", "SORT", "THREAD"},
                    line,
                )

    def test_is_held_back(self) -> None:
        """What another session expunged is told by the next command that may tell it, and numbers stay until then."""
        for line in (
            "FETCH 3 FLAGS",
            "STORE 3 +FLAGS (x)",
            "SEARCH ALL",
            "SORT (DATE) UTF-8 ALL",
            "THREAD REFERENCES UTF-8 ALL",
        ):
            mail = MemoryMail()
            for n in range(3):
                mail.add("INBOX", b"Subject: %d\r\n\r\n" % n)
            driver, other = Driver.of(mail), Driver.of(mail)
            for d in (driver, other):
                d.login()
                d.command("SELECT INBOX")
            other.command("STORE 2 +FLAGS (\\Deleted)")
            driver.command("NOOP")
            other.command("EXPUNGE")
            mail.add("INBOX", b"Subject: new\r\n\r\n")
            answers = driver.command(line)
            self.assertFalse([a for a in answers if b"EXPUNGE" in a], line)
            self.assertIn(b"* 4 EXISTS", answers, line)
            self.assertIn(b"* 2 EXPUNGE", driver.command("UID " + line.replace("3 ", "99 ")), line)
            self.assertEqual(list(driver.server.connection.box.view.uids), [1, 3, 4])
