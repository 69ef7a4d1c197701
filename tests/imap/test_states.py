"""The session table against RFC 9051 section 6, for the whole product of states, commands and capabilities."""

import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap import capabilities
from moxtwisted.imap.commands import HANDLERS
from moxtwisted.imap.connection import Transport
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.memorysharing import SharedMemoryMail, SharingAuthenticator
from moxtwisted.imap.settings import ServerSettings, Timeouts
from moxtwisted.imap.states import TABLE, State, expunge_allowed
from moxtwisted.imap.testing import Driver, counted_entropy, split_responses
from moxtwisted.imap.wire import commands
from moxtwisted.imap.wire.parser import CommandReader

# One line of each, with what RFC 9051 section 6 says of it: the states in which it may be said ("n" not authenticated,
# "a" authenticated, "s" selected) and the capability it belongs to.
LINES: dict[str, tuple[str, str]] = {
    "CAPABILITY": ("nas", ""),
    "NOOP": ("nas", ""),
    "LOGOUT": ("nas", ""),
    "ID NIL": ("nas", "ID"),
    "STARTTLS": ("n", "STARTTLS"),
    "AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==": ("n", "SASL-IR"),
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
STATES = {
    "n": State.NOT_AUTHENTICATED,
    "a": State.AUTHENTICATED,
    "s": State.SELECTED,
    "i": State.IDLING,
    # As before login, but after UNAUTHENTICATE; as in the middle, but after CLOSE or with COMPRESS.
    "u": State.NOT_AUTHENTICATED,
    "c": State.AUTHENTICATED,
}
LIKE = {"u": "n", "c": "a"}
EVERYTHING = frozenset(
    {*capabilities.CAPABILITIES, *capabilities.AFTER_LOGIN, *capabilities.OPTIONAL, "STARTTLS"}
)


def needed(capability: str) -> frozenset[str]:
    """All that it is nothing without."""
    names = capabilities.NEEDS.get(capability, ())
    return frozenset(names).union(*map(needed, names))


def _in_state(letter: str, disabled: frozenset[str] = frozenset()) -> Driver:
    mail = SharedMemoryMail()
    mail.make("Old")
    mail.annotations.limits = (10_000_000, 1000)
    mail.add("INBOX", b"Subject: one\r\n\r\n1\r\n")
    settings = ServerSettings(
        hostname="mail.example.org",
        allow_plain_without_tls=True,
        offer_starttls=True,
        disabled_capabilities=disabled,
        timeouts=Timeouts(login_failure_pause=0.0),
    )
    users = {"alice": ("secret", mail), "bob": ("secret", SharedMemoryMail())}
    driver = Driver.of(authenticator=SharingAuthenticator(users, counted_entropy()), settings=settings)
    driver.command("NOOP")
    if letter != "n":
        driver.login()
    if letter in {"s", "i", "u", "c"}:
        driver.command("SELECT INBOX")
    if letter == "u":
        driver.command("UNAUTHENTICATE")
    if letter == "c":
        driver.command("CLOSE")
    if letter == "i":
        driver.command("IDLE")
    return driver


class ProductTests(SynchronousTestCase):
    def test_every_command_in_every_state(self) -> None:
        """A command is answered OK where the RFC allows it and its capability is there, and BAD everywhere else."""
        for line, (states, capability) in LINES.items():
            # All there is; all but its own; nothing but its own, and what that needs.
            own = frozenset({capability} - {""})
            # RFC 9208 section 7: without a resource there is no quota root.
            without = EVERYTHING - own - {"UNAUTHENTICATE", "QUOTA=RES-STORAGE", *needed(capability)}
            for letter in "nasuc":
                for disabled in (frozenset(), own, without):
                    if letter == "u" and "UNAUTHENTICATE" in disabled:
                        continue
                    driver = _in_state(letter, disabled)
                    self.assertIs(driver.server.state, STATES[letter])
                    tagged = driver.command(line)[-1].split()[1]
                    allowed = LIKE.get(letter, letter) in states and capability not in disabled
                    # SETQUOTA is not for users, whatever the state.
                    right = b"NO" if line.startswith("SETQUOTA") else b"OK"
                    self.assertEqual(tagged, right if allowed else b"BAD", (line, letter, sorted(disabled)))

    def test_only_done_while_idling(self) -> None:
        """While a client idles every line but DONE is BAD, and ends IDLE."""
        for line in LINES:
            driver = _in_state("i")
            first = driver.command(line)[0]
            self.assertIn(b" BAD expected DONE", first, line)
            self.assertIsNot(driver.server.state, State.IDLING)

    def test_between_the_messages_of_append(self) -> None:
        """Where the next message of APPEND or its end is due every command is BAD, ends the APPEND, and nothing was appended."""
        for line in LINES:
            for begun in ("APPEND INBOX {4+}\r\na: b", "REPLACE 1 INBOX {4+}\r\na: b"):
                for space in ("", " "):
                    driver = _in_state("s")
                    answers = driver.command(f"{begun}{space}{line}")
                    self.assertTrue(answers[0].split()[1] == b"BAD", (line, answers))
                    self.assertEqual(
                        {a.split()[1] for a in answers} - {b"BAD", b"go"}, set(), (line, answers)
                    )
                    self.assertIs(driver.server.state, State.SELECTED)
                    told = driver.command("STATUS INBOX (UIDNEXT)")
                    self.assertIn(b"* STATUS INBOX (UIDNEXT 2)", told, line)

    def test_in_the_middle_of_authenticate(self) -> None:
        """Where a SASL response is due every command is one, a bad one, and nobody is logged in."""
        for line in LINES:
            driver = _in_state("n")
            self.assertEqual(driver.command("AUTHENTICATE PLAIN"), [b"+ "])
            driver.send(f"x {line}\r\n".encode())
            answers = split_responses(driver.received())
            self.assertIn(answers[0].split()[1], (b"BAD", b"NO"), (line, answers))
            self.assertNotIn(b"x", [a.split()[0] for a in answers])
            self.assertIs(driver.server.state, State.NOT_AUTHENTICATED)

    def test_nothing_after_logout(self) -> None:
        """After LOGOUT nothing is answered."""
        for line in LINES:
            driver = _in_state("a")
            driver.command("LOGOUT")
            self.assertTrue(driver.closed)
            self.assertEqual(driver.command(line), [], line)

    def test_all_are_enumerated(self) -> None:
        """The table, the handlers and this test know the same commands: all that there are."""
        classes: set[type[Any]] = set()
        waiting: list[type[Any]] = [commands.Command]
        while waiting:
            waiting += (kind := waiting.pop()).__subclasses__()
            module = sys.modules[kind.__module__]
            # attrs makes a class anew, and leaves the old one to the garbage collector.
            if module.__name__.startswith("moxtwisted.imap.wire.") and getattr(module, kind.__name__) is kind:
                classes.add(kind)
        classes.discard(commands.Command)
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
        self.assertEqual({rule.capability for rule in TABLE.values()} - EVERYTHING, {""})

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

    def test_not_with_sequence_numbers_among_the_keys(self) -> None:
        """RFC 7162 section 3.2.10.2: nothing vanishes while a search by UID is answered that has sequence numbers in it."""
        for line, allowed in {
            "UID SEARCH 1:3": False,
            "UID SEARCH OR UNSEEN (NOT 2 SEEN)": False,
            "UID SORT (DATE) UTF-8 1": False,
            "UID THREAD REFERENCES UTF-8 1": False,
            "UID SEARCH UID 1:3": True,
            "UID SEARCH $": True,
        }.items():
            reader = CommandReader()
            reader.receive(b"a " + line.encode() + b"\r\n")
            event = reader.next()
            self.assertIsInstance(event, commands.Command, line)
            assert isinstance(event, commands.Command)
            self.assertIs(expunge_allowed(event), allowed, line)

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
