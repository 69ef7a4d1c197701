"""The whole product of states, commands and capabilities, against the table and the RFCs."""

from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.smtp.peer import TLSInfo
from moxtwisted.smtp.settings import Limits, Mode, ServerSettings
from moxtwisted.smtp.states import ALLOWED, COMMAND_STATES, State
from moxtwisted.smtp.testing import MemoryHandlers, MemoryLink

TLS = TLSInfo(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384")

#: A well-formed line for each verb.
LINES = {
    "EHLO": b"EHLO client.example\r\n",
    "HELO": b"HELO client.example\r\n",
    "LHLO": b"LHLO client.example\r\n",
    "NOOP": b"NOOP\r\n",
    "HELP": b"HELP\r\n",
    "VRFY": b"VRFY bob\r\n",
    "EXPN": b"EXPN staff\r\n",
    "RSET": b"RSET\r\n",
    "QUIT": b"QUIT\r\n",
    "STARTTLS": b"STARTTLS\r\n",
    "AUTH": b"AUTH PLAIN AGEAYg==\r\n",
    "MAIL": b"MAIL FROM:<a@example.org>\r\n",
    "RCPT": b"RCPT TO:<b@example.net>\r\n",
    "DATA": b"DATA\r\n",
    "BDAT": b"BDAT 2\r\nxy",
    "XYZZY": b"XYZZY\r\n",
}

#: What leads into each state, from the greeting.
WAYS = {
    State.GREETED: (),
    State.READY: ("HELLO",),
    State.MAIL: ("HELLO", "MAIL"),
    State.RCPT: ("HELLO", "MAIL", "RCPT"),
    State.CHUNKS: ("HELLO", "MAIL", "RCPT", "BDAT"),
}

#: Where a positive answer leads; other verbs stay.
LEADS = {
    ("MAIL", State.READY): State.MAIL,
    ("RCPT", State.MAIL): State.RCPT,
    ("RCPT", State.RCPT): State.RCPT,
    ("DATA", State.RCPT): State.BODY,
    ("BDAT", State.RCPT): State.CHUNKS,
    ("BDAT", State.CHUNKS): State.CHUNKS,
}


def settings_for(mode: Mode, chunking: bool, auth: bool) -> ServerSettings:
    """A listener with these capabilities."""
    return ServerSettings(
        hostname="mx.example",
        mode=mode,
        chunking=chunking,
        mechanisms=("PLAIN",) if auth else (),
        auth_without_tls=True,
        auth_required=False,
        close_on_first_unknown_command=False,
        limits=Limits(bad_commands=1000),
    )


class StateTests(SynchronousTestCase):
    """Each command in each state, under each set of capabilities."""

    def reach(self, state: State, mode: Mode, tls: bool, chunking: bool, auth: bool) -> MemoryLink:
        link = MemoryLink(settings_for(mode, chunking, auth), MemoryHandlers())
        link.machine.tls_available = True
        if tls:
            link.machine.tls_started(TLS)
        link.say()
        for verb in WAYS[state]:
            link.say(LINES["LHLO" if mode is Mode.LMTP else "EHLO"] if verb == "HELLO" else LINES[verb])
        self.assertIs(link.machine.state, state)
        return link

    def expected(self, verb: str, state: State, mode: Mode, tls: bool, chunking: bool, auth: bool) -> int:
        """The reply code, straight from the RFCs."""
        lmtp = mode is Mode.LMTP
        if verb == "XYZZY" or (verb == "LHLO" and not lmtp) or (verb in {"EHLO", "HELO"} and lmtp):
            return 500
        if state not in ALLOWED[verb]:
            return 503
        if verb == "STARTTLS":
            return 503 if tls else 220
        if verb == "AUTH":
            return 535 if auth else 502  # the handler knows nobody
        if verb == "BDAT" and not chunking:
            return 502
        return {"QUIT": 221, "HELP": 214, "VRFY": 252, "EXPN": 252, "DATA": 354}.get(verb, 250)

    def test_every_command_in_every_state(self) -> None:
        """The reply is the one that the RFCs name, and the state after it is the one it leads to."""
        count = 0
        for mode, tls, chunking, auth in product(Mode, (False, True), (False, True), (False, True)):
            for state, verb in product(COMMAND_STATES, LINES):
                if state is State.CHUNKS and not chunking:
                    continue
                link = self.reach(state, mode, tls, chunking, auth)
                where = f"{verb} in {state} {mode} tls={tls} chunking={chunking} auth={auth}"
                code = self.expected(verb, state, mode, tls, chunking, auth)
                said = link.say(LINES[verb])
                self.assertEqual(said[:3], b"%d" % code, where)
                self.assertIs(link.machine.state, self.after(verb, state, code), where)
                count += 1
        self.assertEqual(count, 3 * 2 * 2 * (2 * 5 + 2 * 4) // 2 * len(LINES) // 1)

    def after(self, verb: str, state: State, code: int) -> State:
        if code == 221 or (verb == "BDAT" and code == 502):
            return State.CLOSED
        if code >= 500:
            return state
        if verb in {"EHLO", "HELO", "LHLO"}:
            return State.READY
        if verb == "RSET":
            return state if state is State.GREETED else State.READY
        if verb == "STARTTLS":
            return State.GREETED
        return LEADS.get((verb, state), state)

    def test_table_is_complete(self) -> None:
        """Each standard verb is in the table, and the table has no other."""
        self.assertEqual(set(ALLOWED), set(LINES) - {"XYZZY"})

    def test_hello_after_everything_begins_anew(self) -> None:
        """EHLO in a transaction drops it, whatever its state (RFC 5321 section 4.1.4)."""
        for state in (State.MAIL, State.RCPT, State.CHUNKS):
            link = self.reach(state, Mode.MX, False, True, False)
            link.say(LINES["EHLO"])
            self.assertIsNone(link.machine.transaction)
            self.assertEqual(link.say(LINES["RCPT"])[:3], b"503")

    def test_refused_hello_changes_nothing(self) -> None:
        """A transaction survives an EHLO that is refused (RFC 5321 section 4.1.1.1)."""
        link = self.reach(State.RCPT, Mode.MX, False, True, False)
        self.assertEqual(link.say(b"EHLO not/a/name\r\n")[:3], b"501")
        self.assertIs(link.machine.state, State.RCPT)

    def test_refusals_of_the_host_lead_nowhere(self) -> None:
        """A command that the host refuses leaves the state as it was."""
        from moxtwisted.smtp.replies import Reply

        for verb, state, method in (
            ("EHLO", State.GREETED, "hello"),
            ("MAIL", State.READY, "mail"),
            ("RCPT", State.MAIL, "rcpt"),
            ("DATA", State.RCPT, "data_started"),
        ):
            link = MemoryLink(settings_for(Mode.MX, True, False), handlers := MemoryHandlers())
            link.say()
            for step in WAYS[state]:
                link.say(LINES["EHLO" if step == "HELLO" else step])
            handlers.answers[method] = Reply(450, "4.7.1", "not now")
            self.assertEqual(link.say(LINES[verb]), b"450 4.7.1 not now\r\n")
            self.assertIs(link.machine.state, state)
