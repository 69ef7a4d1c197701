"""Several sessions on the same mailboxes: each response is the one that the model gives, and at the end all views are the store."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Collection, Container, Sequence
from importlib import import_module
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.imap import connection, execution, lines, notifying, view
from moxtwisted.imap.commands import contexts
from moxtwisted.imap.memory import MemoryMail
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.testing import Driver, split_responses
from moxtwisted.message.flags import MessageFlags
from tests.imap.kept import Kept
from tests.imap.model import Mail, Message, Session
from tests.imap.naming import Names
from tests.imap.returning import options, partial
from tests.imap.told import compact, modified_utf7, plain, same
from tests.imap.watching import Group, Watch

# More of them by hand: MOXTWISTED_CONVERGENCE_SEEDS=20000, or =5000:20000 for those from the 5,000th on.
SEEDS = os.environ.get("MOXTWISTED_CONVERGENCE_SEEDS", "")
STEPS = 50

NAMES = ("INBOX", "INBOX", "INBOX", "INBOX", "INBOX", "Other", "Other", "Third", "Fünf")
ALL = (
    "INBOX",
    "Other",
    *(f"{top}{below}" for top in ("Third", "Fünf") for below in ("", "/A", "/B", "/A/B")),
)
#: What NOTIFY may name.
FILTERS: Sequence[tuple[str, tuple[str, ...]]] = (
    ("PERSONAL", ()),
    ("PERSONAL", ()),
    ("INBOXES", ()),
    ("SUBSCRIBED", ()),
    ("SUBSCRIBED", ()),
    ("MAILBOXES", ("INBOX", "Other")),
    ("MAILBOXES", ("Other", "Third")),
    ("MAILBOXES", ("Third/A", "Fünf")),
    ("SUBTREE", ("Fünf",)),
    ("SUBTREE", ("Third", "Fünf/A")),
    ("SUBTREE", ("INBOX", "Other", "Fünf", "Nowhere")),
)
FLAGS = ("\\Seen", "\\Deleted", "\\Deleted", "\\Flagged", "$Work")
NO_NAME = '""'
OF_NAMES = ("MailboxName", "SubscriptionChange")
NAMING = ("CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE")
KINDS = (
    (),
    (),
    ("CONDSTORE",),
    ("QRESYNC",),
    ("IMAP4rev2",),
    ("UIDONLY",),
    ("QRESYNC", "IMAP4rev2"),
    ("QRESYNC", "UIDONLY"),
    ("UIDONLY", "IMAP4rev2"),
    ("QRESYNC", "UIDONLY", "IMAP4rev2"),
    ("UTF8=ACCEPT",),
    ("UTF8=ACCEPT", "QRESYNC", "IMAP4rev2"),
)

ENABLED = ("CONDSTORE", "QRESYNC", "UIDONLY", "UIDONLY", "IMAP4rev2", "UTF8=ACCEPT", "METADATA", "METADATA")

ENTRIES = ("/private/comment", "/private/v", "/private/v/a", "/private/v/a/b", "/shared/comment")
DEPTHS = ("0", "0", "1", "infinity")
VALUES = (None, None, b"", b"x", b'a "quoted" \\ value', b"two\r\nlines", "\u00e4".encode())
# Few enough that the limit is met.
SETTINGS = ServerSettings(
    hostname="mail.example.org",
    allow_plain_without_tls=True,
    timeouts=Timeouts(login_failure_pause=0.0),
    limits=Limits(contexts=3, notifications=60),
)


def seeds(default: Sequence[int]) -> Sequence[int]:
    """Those to be tried."""
    if not SEEDS:
        return default
    first, _, last = SEEDS.rpartition(":")
    return range(int(first or 0), int(last))


def size(message: Message) -> int:
    """What SORT calls SIZE."""
    return len(message.octets)


def returning(returns: Sequence[str] | None) -> str:
    """RETURN with these options; None: without it."""
    return "" if returns is None else f"RETURN ({' '.join(returns)}) "


def subject(message: Message) -> bytes:
    """A digit."""
    return message.octets[9:10]


ORDERS: Sequence[tuple[str, Sequence[tuple[Callable[[Any], Any], bool]]]] = (
    ("SIZE", [(size, False)]),
    ("REVERSE SIZE", [(size, True)]),
    ("REVERSE SUBJECT SIZE", [(subject, True), (size, False)]),
)

Match = Callable[[Sequence[int], int, Message], bool]


def message(dice: random.Random) -> bytes:
    """Some message."""
    text = "x\r\n" if dice.random() < 0.8 else "ä\r\n"
    return f"Subject: {dice.randint(0, 9)}\r\n\r\n{text * dice.randint(0, 9)}".encode()


@define
class Place:
    """Where the mail is, with an INBOX that is empty and a mailbox "Other".

    @ivar connect: makes a client of it.
    @ivar deliver: puts a message into INBOX.
    @ivar real: the state of a mailbox by name, or None: with C{uids}, C{flags} and so on.
    @ivar subscriptions: names, however they write INBOX.
    """

    connect: Callable[[], Driver]
    deliver: Callable[[bytes], object]
    real: Callable[[str], Any]
    subscriptions: Callable[[], Collection[str]]

    def truth(self, there: Container[str]) -> dict[str, tuple[bool, bool]]:
        """By name whether there is a mailbox, and whether it is subscribed."""
        found = {"INBOX" if name.upper() == "INBOX" else name for name in self.subscriptions()}
        return {name: (name in there, name in found) for name in ALL}

    def subscribed(self, name: str) -> bool:
        """Whether it is, if there is such a mailbox or not."""
        found = self.subscriptions()
        return name in found or (name == "INBOX" and any(one.upper() == "INBOX" for one in found))


@define(eq=False)
class Client:
    """A client, and what the model knows of it.

    @ivar visits: by mailbox: UIDVALIDITY and the mod-sequence up to which it was told everything when it was there last.
    @ivar names: what it believes of the names that it watches.
    @ivar naming: how often it changes those.
    @ivar greeted: how its first log-in was answered.
    @ivar tags: of searches that it asked to be kept up to date.
    """

    driver: Driver
    place: Place
    model: Session
    dice: random.Random
    log: list[str]
    visits: dict[str, tuple[int, int]]
    names: Names | None = None
    naming: int = 5
    greeted: str = ""
    tags: list[str] = field(factory=list)
    count: int = 0

    @property
    def tag(self) -> str:
        """Of the next command."""
        return f"t{self.count + 1}"

    def say(self, line: str, predict: Callable[[], list[str]], tag: str = "") -> None:
        """Send a command; the answers are what C{predict} gives."""
        tag, self.count = tag or self.tag, self.count + 1
        line = re.sub(
            "Fünf[/AB]*", lambda name: f'"{name[0]}"' if self.utf8 else modified_utf7(name[0]), line
        )
        self.driver.send(f"{tag} {line}\r\n".encode())
        self.compare(line, tag.encode(), predict)

    def compare(self, line: str, tag: bytes, predict: Callable[[], list[str]]) -> None:
        """What was said is what is expected."""
        said = [plain(response, tag) for response in split_responses(self.driver.received())]
        self.log.append(f"{id(self.model) % 9973}: {line!r} -> {said}")
        expected, wrong = predict(), []
        if self.names is not None:
            words = line.split()
            succeeded = any(response.startswith("OK") for response in said)
            self.names.did(words if succeeded and words[0] in NAMING else ())
            said = self.names.take(said)
            wrong = self.names.wrong()
        assert same(said, expected) and not wrong, "\n".join(
            [self.log[0], *self.log[-25:], f"expected {expected}", *wrong]
        )

    def start(self, kind: Sequence[str]) -> None:
        """Log in and enable what the client knows."""
        self.greeted = plain(self.driver.command("LOGIN alice secret")[-1], b"a1")
        for name in kind:
            self.driver.command("ENABLE " + name)
            self.model.enabled |= {name.upper()} | ({"CONDSTORE"} if name == "QRESYNC" else set())
        self.model.heard = len(self.model.mail.notes.changes)
        self.driver.received()
        self.say("SELECT INBOX", lambda: self.model.select("INBOX"))
        if self.dice.random() < (0.3 if self.naming < 100 else 0.9):
            self.notify()
        if self.dice.random() < 0.3:
            self.keep()

    def flush(self) -> None:
        """What the protocol does when it is told of a change."""
        self.driver.flush()
        self.compare("(flush)", b"-", lambda: self.model.push(flushed=True))

    def wake(self) -> None:
        """An IDLE ends."""
        if self.model.idling:
            self.flush()
            self.driver.send(b"DONE\r\n")
            self.compare("DONE", b"idle", self.model.end_idle)

    @property
    def utf8(self) -> bool:
        """Whether names of mailboxes are UTF-8."""
        return bool(self.model.enabled & {"UTF8=ACCEPT", "IMAP4REV2"})

    def step(self) -> None:
        """A random command."""
        dice, model = self.dice, self.model
        if not model.logged_in:
            return self.log_in() if dice.random() < 0.7 else self.too_early()
        if dice.random() < 0.02:
            return self.unauthenticate()
        if dice.random() < 0.002:
            return self.flood()
        if self.naming >= 100 and dice.random() < 0.6:
            return self.mailboxes() if dice.random() < 0.95 else self.notify()
        if model.box is None:
            if dice.random() < 0.6:
                return self.select()
            return dice.choice(
                (self.append, self.mailboxes, self.mailboxes, self.metadata, self.idle, self.enable)
            )()
        actions = [(self.fetch, 20), (self.store, 25), (self.copy, 14), (self.expunge, 8), (self.replace, 5)]
        actions += [
            (self.search, 12),
            (self.keep, 8),
            (self.metadata, 8),
            (self.append, 6),
            (self.mailboxes, self.naming),
            (self.select, 5),
            (self.idle, 6),
        ]
        actions += [(self.noop, 5), (self.enable, 2)]
        (action,) = dice.choices([a for a, _ in actions], [w for _, w in actions])
        return action()

    # -- the connection ----------------------------------------------------------------------------------------
    def unauthenticate(self) -> None:
        """UNAUTHENTICATE, and perhaps LOGIN before its answer comes."""
        if self.model.box is not None:
            self.visits[self.model.name] = (self.model.box.uidvalidity, self.model.complete)
        self.names = None
        if self.dice.random() < 0.5:
            self.say("UNAUTHENTICATE", self.model.unauthenticate)
            return
        self.driver.send(b"un UNAUTHENTICATE\r\n" + b"in LOGIN alice secret\r\n")
        self.compare(
            "UNAUTHENTICATE",
            b"in",
            lambda: [*self.model.unauthenticate()[:-1], "un OK UNAUTHENTICATE completed", self.greeted],
        )
        self.model.logged_in = True

    def log_in(self) -> None:
        """LOGIN or AUTHENTICATE; the session that begins is as the first one was."""
        line = self.dice.choice(("LOGIN alice secret", "AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA=="))
        self.say(line, lambda: [self.greeted])
        self.model.logged_in = True

    def too_early(self) -> None:
        """What is possible only after the log-in, or always."""
        lines = (
            "SELECT INBOX",
            "ENABLE QRESYNC",
            "NOTIFY NONE",
            "IDLE",
            'CANCELUPDATE "t1"',
            "FETCH $ FLAGS",
        )
        if self.dice.random() < 0.3:
            return self.say("NOOP", lambda: ["OK"])
        return self.say(self.dice.choice((*lines, "UNAUTHENTICATE")), lambda: ["BAD"])

    # -- messages ----------------------------------------------------------------------------------------------
    def numbers(self, *, uid: bool) -> list[int]:
        """Some messages; 0 is the star."""
        dice, known = self.dice, self.model.known
        most = (known[-1] if known else 1) + 2 if uid else len(known)
        if not most or dice.random() < 0.03:
            return [most + 1]
        if dice.random() < 0.15:
            return [*range(dice.randint(1, most), most + 1), 0]
        if uid and known and dice.random() < 0.6:
            return [dice.choice(known) for _ in range(dice.randint(1, 3))]
        low, high = sorted((dice.randint(1, most), dice.randint(1, most)))
        return list(range(low, min(high, low + 4) + 1))

    def some(self) -> tuple[bool, str, list[int], str]:
        """Messages: whether by UID, the prefix of the command, numbers, and these as a set."""
        uid = self.dice.random() < (0.95 if "UIDONLY" in self.model.enabled else 0.5)
        numbers = self.numbers(uid=uid)
        if self.dice.random() < (0.1 if self.model.saved else 0.01):
            return uid, "UID " if uid else "", [-1], "$"
        if 0 in numbers:
            return uid, "UID " if uid else "", numbers, f"{min(n for n in numbers if n)}:*"
        return uid, "UID " if uid else "", numbers, compact(set(numbers))

    def modseq(self) -> int:
        """About one that the mailbox has or had."""
        assert self.model.box is not None
        return max(1, self.model.box.highest - self.dice.randint(0, 6))

    def fetch(self) -> None:
        uid, prefix, numbers, text = self.some()
        items: Sequence[str] = self.dice.choice(
            (("UID", "FLAGS"), ("FLAGS",), ("FLAGS",), ("BODY[]",), ("UID", "RFC822.SIZE"), ("MODSEQ",))
        )
        if items == ("MODSEQ",) and self.dice.random() < 0.7:
            items = ("FLAGS",)
        line = f"{prefix}FETCH {text} ({' '.join(items)})"
        since, vanished = -1, False
        if "CONDSTORE" in self.model.enabled and self.dice.random() < 0.2:
            since = self.modseq()
            vanished = uid and "QRESYNC" in self.model.enabled and min(numbers) > 0
            # Of a mailbox that is gone a backend may know what was in it, or not.
            vanished = vanished and self.model.box is not None and self.model.box.exists
        window = partial(self.dice) if uid and self.dice.random() < 0.1 else ""
        if since >= 0 or window:
            modifiers = [f"CHANGEDSINCE {since}{' VANISHED' * vanished}"] * (since >= 0) + [window] * bool(
                window
            )
            line += f" ({' '.join(modifiers)})"
        self.say(line, lambda: self.model.fetch(uid, numbers, items, since, vanished, window))

    def store(self) -> None:
        dice = self.dice
        uid, prefix, numbers, text = self.some()
        mode, silent, since = dice.choice(("+", "-", "")), dice.random() < 0.3, -1
        flags = frozenset(dice.choice(FLAGS) for _ in range(dice.randint(1, 2)))
        condition = ""
        if dice.random() < (0.3 if "CONDSTORE" in self.model.enabled else 0.02):
            since = self.modseq()
            condition = f"(UNCHANGEDSINCE {since}) "
        line = f"{prefix}STORE {text} {condition}{mode}FLAGS{'.SILENT' * silent} ({' '.join(flags)})"
        self.say(line, lambda: self.model.store(uid, numbers, mode, flags, silent, since))

    def copy(self) -> None:
        uid, prefix, numbers, text = self.some()
        name = self.dice.choice((*NAMES, "Nowhere"))
        move = self.dice.random() < 0.5
        line = f"{prefix}{'MOVE' if move else 'COPY'} {text} {name}"
        self.say(line, lambda: self.model.copy(uid, numbers, name, move=move))

    def expunge(self) -> None:
        if self.dice.random() < 0.5:
            return self.say("EXPUNGE", self.model.expunge)
        numbers = [n for n in self.numbers(uid=True) if n] or [1]
        return self.say(f"UID EXPUNGE {compact(set(numbers))}", lambda: self.model.expunge(numbers))

    def search(self) -> None:
        dice = self.dice
        uid, prefix, numbers, text = self.some()
        if dice.random() < 0.3:
            reverse = dice.random() < 0.5
            returns = options(dice) if dice.random() < 0.4 else None
            line = f"{prefix}SORT {returning(returns)}({'REVERSE ' * reverse}SIZE) UTF-8 ALL"
            return self.say(line, lambda: self.model.sort(uid, reverse=reverse, returns=returns))
        while numbers == [-1]:
            uid, prefix, numbers, text = self.some()
        key, match, by_number = self.key(uid, numbers, text)
        if by_number and dice.random() < 0.3:
            # A command by UID, with a key by sequence number.
            uid, prefix = True, "UID "
        if dice.random() < 0.02:
            # RFC 9394 section 3.1: one of them.
            line = f"{prefix}SEARCH RETURN (ALL {partial(dice)}) {key}"
            return self.say(line, lambda: self.model.at_once("BAD"))
        returns = options(dice) if dice.random() < 0.4 else None
        charset = dice.random() < 0.2
        line = f"{prefix}SEARCH {returning(returns)}{'CHARSET UTF-8 ' * charset}{key}"
        return self.say(
            line,
            lambda: self.model.search(uid, match, numbers=by_number, returns=returns, charset=charset),
        )

    def key(self, uid: bool, numbers: Sequence[int], text: str) -> tuple[str, Match, bool]:
        """A search key, what it means, and whether it has sequence numbers.

        @param uid: whether C{text}, which means C{numbers}, are UIDs.
        """
        dice, known = self.dice, list(self.model.known)
        digit = str(dice.randint(0, 9))
        low = min((n for n in numbers if n), default=0) if 0 in numbers else 1 << 32
        # RFC 5267 section 4.3: sequence numbers are what they are when the command comes, UIDs are not.
        frozen = {
            u
            for n, u in enumerate(known, 1)
            if n in numbers or n >= low or (0 in numbers and n == len(known))
        }

        def inside(known: Sequence[int], u: int) -> bool:
            return u in numbers or u >= low or (0 in numbers and u == known[-1]) if uid else u in frozen

        keys: dict[str, Match] = {
            "ALL": lambda _k, _u, _m: True,
            "UNSEEN": lambda _k, _u, m: "\\Seen" not in m.flags,
            "NOT DELETED": lambda _k, _u, m: "\\Deleted" not in m.flags,
            "OR KEYWORD $Work FLAGGED": lambda _k, _u, m: bool(m.flags & {"$Work", "\\Flagged"}),
            f"SUBJECT {digit}": lambda _k, _u, m: f"Subject: {digit}".encode() in m.octets,
            "LARGER 30": lambda _k, _u, m: len(m.octets) > 30,
            f"{'UID ' * uid}{text} NOT DELETED": lambda k, u, m: "\\Deleted" not in m.flags and inside(k, u),
        }
        key = dice.choice([*keys])
        if not uid and key.startswith(text) and (not known or max(numbers) > len(known)):
            key = "ALL"
        return key, keys[key], not uid and key.startswith(text)

    def keep(self) -> None:
        """A search that is kept up to date, or no longer."""
        dice, tag, kept = self.dice, self.tag, self.model.keeping.all
        if kept and dice.random() < 0.15:
            tags = dice.sample([*(k.tag for k in kept), "none"], dice.randint(1, len(kept)))
            line = " ".join(f'"{one}"' for one in tags)
            return self.say(f"CANCELUPDATE {line}", lambda: self.model.cancel(tags))
        uid, prefix, numbers, text = self.some()
        while numbers == [-1]:
            uid, prefix, numbers, text = self.some()
        key, match, by_number = self.key(uid, numbers, text)
        order: Sequence[tuple[Callable[[Any], Any], bool]] = ()
        word, charset = "SEARCH ", dice.random() < 0.1
        if dice.random() < 0.4:
            criteria, order = dice.choice(ORDERS)
            word, charset = f"SORT ({criteria}) UTF-8 ", False
        items = dice.choice(((), (), ("FLAGS",), ("FLAGS", "UID"), ("RFC822.SIZE",), ("BODY[]",)))
        returns = options(dice)
        update = f"UPDATE ({' '.join(items)})" if items else "UPDATE"
        command, _, rest = word.partition(" ")
        told = returning([*returns, update] if dice.random() < 0.5 else [update, *returns])
        line = f"{prefix}{command} {told}{rest}{'CHARSET UTF-8 ' * charset}{key}"
        if self.tags and dice.random() < 0.05:
            tag = dice.choice(self.tags)
        self.tags.append(tag)
        search = Kept(tag, uid, match, order, items, bool(order) or key.startswith("SUBJECT"))

        def predict() -> list[str]:
            lines = self.model.keep(search, returns, numbers=by_number, charset=charset)
            mine = f' (TAG "{tag}")'
            # Others stay what they are: in any order, perhaps.
            return [one.replace(mine, "") if mine in one else one for one in lines]

        return self.say(line, predict, tag)

    # -- mailboxes ---------------------------------------------------------------------------------------------
    def literal(self, octets: bytes) -> str:
        if self.utf8 and self.dice.random() < 0.5:
            # RFC 9755 section 4.
            return f"UTF8 (~{{{len(octets)}+}}\r\n{octets.decode()})"
        return f"{{{len(octets)}+}}\r\n{octets.decode()}"

    def append(self) -> None:
        dice = self.dice
        name = dice.choice((*NAMES, "Nowhere"))
        messages = [
            (message(dice), frozenset(dice.sample(FLAGS[1:], dice.randint(0, 2))))
            for _ in range(dice.choice((1, 1, 1, 2, 3)))
        ]
        parts = [f" ({' '.join(flags)}) {self.literal(octets)}" for octets, flags in messages]
        self.say(f"APPEND {name}{''.join(parts)}", lambda: self.model.append(name, messages))

    def replace(self) -> None:
        uid, prefix, numbers, text = self.some()
        while text == "$":
            uid, prefix, numbers, text = self.some()
        name, octets = self.dice.choice((*NAMES, "Nowhere")), message(self.dice)
        number = numbers[0]
        text = "*" if number == 0 else str(number)
        line = f"{prefix}REPLACE {text} {name} {self.literal(octets)}"
        self.say(line, lambda: self.model.replace(uid, number, name, octets))

    def select(self) -> None:
        dice, model = self.dice, self.model
        if model.box is not None:
            self.visits[model.name] = (model.box.uidvalidity, model.complete)
        how = dice.random()
        if model.box is not None and how < 0.2:
            return self.say("CLOSE", model.close)
        if model.box is not None and how < 0.3:
            return self.say("UNSELECT", model.unselect)
        name, examine = dice.choice(NAMES), dice.random() < 0.15
        line, qresync = f"{'EXAMINE' if examine else 'SELECT'} {name}", None
        if "QRESYNC" in model.enabled and name in self.visits and dice.random() < 0.7:
            qresync = self.visits[name]
            line += f" (QRESYNC ({qresync[0]} {qresync[1]}))"
        return self.say(line, lambda: model.select(name, examine=examine, qresync=qresync))

    def mailboxes(self) -> None:
        """CREATE, DELETE, RENAME, STATUS, SUBSCRIBE, UNSUBSCRIBE."""
        dice, model = self.dice, self.model
        one = dice.choice(("INBOX", "Other", "Third", *model.mail.boxes))
        other = dice.choice(("Third", "Fünf", *ALL[2:]))
        modseq = "CONDSTORE" in model.enabled
        items = "MESSAGES UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE" + " HIGHESTMODSEQ" * modseq
        lines: dict[str, Callable[[], list[str]]] = {
            f"CREATE {other}": lambda: model.create(other),
            f"DELETE {dice.choice((one, other))}": list,
            f"RENAME {one} {other}": lambda: model.rename(one, other),
            f"RENAME {other} {one}": lambda: model.rename(other, one),
            f"STATUS {one} ({items})": lambda: model.status(one, modseq=modseq),
            f"SUBSCRIBE {dice.choice((one, other))}": model.subscribe,
            f"UNSUBSCRIBE {dice.choice((one, other))}": model.subscribe,
        }
        for old, new in ((one, other), (other, one)):
            if old != "INBOX" and any(new + name[len(old) :] not in ALL for name in model.mail.below(old)):
                # Nobody watches names that nobody knows of.
                lines.pop(f"RENAME {old} {new}", None)
            elif (old not in model.mail.boxes or new in model.mail.boxes) and dice.random() < 0.8:
                lines.pop(f"RENAME {old} {new}", None)
        line = dice.choice([*lines, f"STATUS {one} ({items})"])
        predict = lines[line]
        if line.startswith(("DELETE", "RENAME")) and dice.random() < 0.4:
            # What was just noted goes with the mailbox.
            self.annotate(line.split()[1])
        if line.startswith("DELETE"):
            name = line.split()[1]
            return self.say(line, lambda: model.delete(name))
        return self.say(line, predict)

    def metadata(self) -> None:
        """SETMETADATA and GETMETADATA."""
        dice = self.dice
        name = dice.choice(("", "", *NAMES[3:], "Third", "Fünf", "Nowhere"))
        if dice.random() < 0.7:
            return self.annotate(name)
        entries = dice.sample(ENTRIES, dice.choice((1, 1, 2, 3)))
        return self.annotations(name, entries, dice.choice(DEPTHS), dice.choice((1000, 1000, 5)))

    def annotate(self, name: str) -> None:
        """SETMETADATA of a mailbox, or of the server."""
        dice = self.dice
        entries = dice.sample(ENTRIES, dice.choice((1, 1, 2, 3)))
        if dice.random() < 0.02:
            entries.append("/shared/admin")
        values = {entry: dice.choice(VALUES) for entry in entries}
        pairs = [
            f"{entry.title() if dice.random() < 0.1 else entry} {self.value(octets)}"
            for entry, octets in values.items()
        ]
        line = f"SETMETADATA {name or NO_NAME} ({' '.join(pairs)})"
        self.say(line, lambda: self.model.set_metadata(name, values))

    def annotations(self, name: str, entries: Sequence[str], depth: str, most: int) -> None:
        """GETMETADATA."""
        options = " ".join([f"DEPTH {depth}"] * (depth != "0") + [f"MAXSIZE {most}"] * (most < 1000))
        line = f"GETMETADATA {f'({options}) ' if options else ''}{name or NO_NAME} ({' '.join(entries)})"
        self.say(line, lambda: self.model.get_metadata(name, entries, depth, most))

    def flood(self) -> None:
        """So much that everybody falls behind who watches other mailboxes, but for this client, which is told of it as it happens."""
        name = self.dice.choice(("", "INBOX"))
        values = {"/private/v": b"x"}
        for _ in range(SETTINGS.limits.notifications + 1):
            line = f"SETMETADATA {name or NO_NAME} (/private/v {self.value(b'x')})"
            self.say(line, lambda: self.model.set_metadata(name, values))
        self.model.mail.floods += 1
        self.model.floods += 1

    def value(self, octets: bytes | None) -> str:
        """One of an annotation, as a client writes it."""
        return "NIL" if octets is None else f"{{{len(octets)}+}}\r\n{octets.decode()}"

    def noop(self) -> None:
        self.say(self.dice.choice(("NOOP", "CHECK")), lambda: self.model.done([], "OK"))

    def enable(self) -> None:
        """ENABLE in the middle of the session."""
        names = self.dice.choices(ENABLED, k=self.dice.choice((1, 1, 2)))
        self.say(f"ENABLE {' '.join(names)}", lambda: self.model.enable(names))

    def idle(self) -> None:
        if self.dice.random() < 0.4:
            return self.notify()
        self.driver.send(b"idle IDLE\r\n")
        return self.compare("IDLE", b"idle", self.model.idle)

    def group(self) -> Group:
        """Some events of some mailboxes."""
        dice = self.dice
        kind, names = dice.choice(FILTERS)
        events: set[str] = set(dice.sample(OF_NAMES, dice.randint(0, 2)))
        if dice.random() < 0.7 or not events:
            events |= {"MessageNew", "MessageExpunge", *["FlagChange"] * (dice.random() < 0.5)}
        events.update(
            dice.sample(("MailboxMetadataChange", "ServerMetadataChange"), dice.choice((0, 0, 1, 2)))
        )
        return Group(kind, names, frozenset(events))

    def notify(self, *, quiet: float = 0.2) -> None:
        """NOTIFY SET: of the selected mailbox, and perhaps of others; NOTIFY NONE.

        @param quiet: how probable it is that nothing of the selected mailbox is told then.
        """
        dice = self.dice
        which, flags = dice.choice(("SELECTED", "SELECTED-DELAYED")), dice.random() < 0.7
        events = "MessageNew (UID FLAGS) MessageExpunge" + " FlagChange" * flags
        groups, watch, self.names = [f"({which} ({events}))"], None, None
        if dice.random() < quiet:
            if dice.random() < 0.4:
                return self.say("NOTIFY NONE", self.model.notify_none)
            # RFC 5465 section 3.1: that is the same.
            groups, which = dice.choice(([], [f"({which} NONE)"])), "NONE"
        if dice.random() < 0.7 or not groups:
            watch = Watch([self.group() for _ in range(dice.choice((1, 1, 2, 3)))])
            if not watch.all_events.isdisjoint(OF_NAMES):
                self.names = Names(self.model.wanted, lambda: self.place.truth(self.model.mail.boxes))
            groups += [group.text for group in watch.groups]
        status = dice.random() < 0.3
        return self.say(
            f"NOTIFY SET {'STATUS ' * status}{' '.join(groups)}",
            lambda: self.model.set_notify(which, flags=flags, watch=watch, status=status),
        )


class Convergence(SynchronousTestCase):
    """For any backend: C{place} says which.

    @ivar foresees: see L{Session}.
    @ivar most_new: see L{Session}.
    """

    foresees = False
    most_new = 10_000

    def place(self, dice: random.Random) -> Place:
        """A new place for mail."""
        raise NotImplementedError

    def leave(self) -> None:
        """It is not needed any more."""

    def one(self, seed: int) -> None:
        """One seed."""
        dice = random.Random(seed)
        place = self.place(dice)
        mail = Mail(place.real, place.subscribed, place.subscriptions)
        for name in sorted(("INBOX", "Other"), key=lambda name: place.real(name).uidvalidity):
            mail.known(name)
        log = [f"seed {seed}"]

        def deliver() -> None:
            octets = message(dice)
            place.deliver(octets)
            mail.boxes["INBOX"].add(octets, frozenset())
            mail.learn()
            log.append(f"delivered {octets!r}")

        for _ in range(dice.randint(0, 8)):
            deliver()
        most = SETTINGS.limits.contexts
        clients = [
            Client(
                place.connect(),
                place,
                Session(mail, most_kept=most, most_new=self.most_new, foresees=self.foresees),
                dice,
                log,
                {},
            )
            for _ in range(dice.randint(2, 4))
        ]
        naming = dice.choice((5, 5, 5, 5, 100))
        for client in clients:
            client.naming = naming
            client.start((*dice.choice(KINDS), *["METADATA"] * (dice.random() < 0.3)))
        for _ in range(STEPS):
            client = dice.choice(clients)
            client.wake()
            client.step()
            mail.learn()
            if dice.random() < 0.05:
                deliver()
            for other in clients:
                if dice.random() < 0.5:
                    other.flush()
        for client in clients:
            client.wake()
            self.converged(client, place, seed)
        self.assertEqual({name for name in ALL if place.real(name) is not None}, {*mail.boxes} & {*ALL})
        for name in ("", "INBOX", "Other", "Third", "Fünf"):
            clients[0].annotations(name, (*ENTRIES[:2], "/shared/comment"), "infinity", 1000)
        self.leave()

    def converged(self, client: Client, place: Place, seed: int) -> None:
        """Nothing is left to be told: the client's list is the mailbox."""
        model = client.model
        if not model.logged_in:
            client.log_in()
        if model.box is None or not model.box.exists:
            client.say("SELECT INBOX", lambda: model.select("INBOX"))
        if model.notify == "NONE":
            client.notify(quiet=0)
        client.noop()
        box = client.driver.server.connection.box
        (name,) = (name for name, known in model.mail.boxes.items() if known is model.box)
        real = place.real(name)
        self.assertEqual(list(box.view.uids), list(real.uids), seed)
        self.assertEqual(model.known, list(real.uids), seed)
        client.say("UID FETCH 1:* (FLAGS)", lambda: model.fetch(True, [*model.known, 0], ["FLAGS"]))


class ConvergenceTests(Convergence):
    def place(self, dice: random.Random) -> Place:
        mail = MemoryMail()
        mail.make("Other")
        mail.find("INBOX").log_limit = dice.choice((0, 2, 1000))

        def real(name: str) -> Any:
            # As C{find}, for which each name is a new one to be looked at.
            return mail._boxes.get("Inbox" if name == "INBOX" else name)

        return Place(
            lambda: Driver.of(mail, settings=SETTINGS),
            lambda octets: mail.add("INBOX", octets),
            real,
            mail.subscribed,
        )

    def test_all_views_equal_the_store(self) -> None:
        """Every response to random commands in two to four sessions is the one of the model, and all end with the same view."""
        for seed in seeds(range(850)):
            self.one(seed)

    def test_told_together(self) -> None:
        """So it is where messages are told of together, as those of large mailboxes are, and results get shorter before that."""
        # The package has the command by this name.
        fetch = import_module("moxtwisted.imap.commands.fetch")
        for module, name, value in (
            (fetch, "MANY", 2),
            (fetch, "_FLAGS_A_PIECE", 3),
            (view, "MANY", 2),
            (lines, "_MESSAGES_A_PIECE", 3),
            (connection, "_MANY", 2),
            # What is longer waits for its turn.
            (execution, "_AT_ONCE_OCTETS", 100),
            (contexts, "_RESULTS_AT_ONCE", -1),
            (notifying, "_MOST_NEW", 2),
        ):
            self.patch(module, name, value)
        self.foresees = True
        self.most_new = 2
        for seed in seeds(range(850, 1000)):
            self.one(seed)

    def test_flags_are_interned(self) -> None:
        """The test compares by names what the store compares by identity."""
        self.assertIs(MessageFlags.parse(["\\Seen"]), MessageFlags.of(1))
