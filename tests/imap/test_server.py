"""The machine: limits, capabilities, APPEND, the many small rules."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import OverQuotaError
from moxtwisted.imap import memory, memorymailbox
from moxtwisted.imap.capabilities import CAPABILITIES, after_login, before_login
from moxtwisted.imap.connection import Transport
from moxtwisted.imap.memory import MemoryAuthenticator, MemoryMail
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.states import State
from moxtwisted.imap.testing import Driver, counted_entropy
from moxtwisted.message.flags import MessageFlags
from moxtwisted.sasl.client import Credentials, ScramClient
from moxtwisted.sasl.scram import SCRAM_MECHANISMS

ALL_MECHANISMS = ("EXTERNAL", *SCRAM_MECHANISMS, "CRAM-MD5", "PLAIN", "LOGIN")


def settings(**more: Any) -> ServerSettings:
    usual: dict[str, Any] = {
        "hostname": "h",
        "allow_plain_without_tls": True,
        "timeouts": Timeouts(login_failure_pause=0.0),
    }
    return ServerSettings(**(usual | more))


def logged_in(mail: MemoryMail | None = None, **more: Any) -> Driver:
    driver = Driver.of(mail, settings=settings(**more))
    driver.login()
    return driver


class CapabilityTests(SynchronousTestCase):
    def announced(self, *, tls: bool = False, client_key: bool = False, **more: Any) -> set[str]:
        names = before_login(settings(**more), ALL_MECHANISMS, tls=tls, client_key=client_key)
        return {n for n in names if n.partition("=")[0] not in {x.partition("=")[0] for x in CAPABILITIES}}

    def test_in_clear(self) -> None:
        """In clear only mechanisms that hide the password are on offer, and LOGIN is not."""
        self.assertEqual(
            self.announced(allow_plain_without_tls=False, offer_starttls=True),
            {"STARTTLS", "LOGINDISABLED", "AUTH=SCRAM-SHA-256", "AUTH=SCRAM-SHA-1", "AUTH=CRAM-MD5"},
        )

    def test_in_clear_where_allowed(self) -> None:
        """Where the operator allows it passwords may be sent in clear."""
        self.assertEqual(
            self.announced(),
            {"AUTH=SCRAM-SHA-256", "AUTH=SCRAM-SHA-1", "AUTH=CRAM-MD5", "AUTH=PLAIN", "AUTH=LOGIN"},
        )

    def test_under_tls(self) -> None:
        """Under TLS there is channel binding, and EXTERNAL for clients with a key."""
        under = self.announced(tls=True, offer_starttls=True, allow_plain_without_tls=False)
        self.assertEqual(
            under,
            {f"AUTH={m}" for m in (*SCRAM_MECHANISMS, "CRAM-MD5", "PLAIN", "LOGIN")},
        )
        self.assertEqual(self.announced(tls=True, client_key=True) - under, {"AUTH=EXTERNAL"})

    def test_the_list_itself(self) -> None:
        """What is announced before and after login, exactly."""
        rest = (
            "IMAP4rev2 IMAP4rev1 ENABLE LITERAL+ IDLE SASL-IR BINARY UNSELECT UIDPLUS ESEARCH SEARCHRES MOVE UTF8=ACCEPT "
            "LIST-EXTENDED SPECIAL-USE CREATE-SPECIAL-USE LIST-STATUS CHILDREN NAMESPACE ID STATUS=SIZE APPENDLIMIT=1000 "
            "MULTIAPPEND CONDSTORE QRESYNC WITHIN SAVEDATE OBJECTID UIDONLY MESSAGELIMIT=100000 INPROGRESS MULTISEARCH CONTEXT=SEARCH "
            "CONTEXT=SORT PREVIEW PARTIAL SORT SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES I18NLEVEL=1 LANGUAGE "
            "CATENATE URL-PARTIAL"
        )
        limited = settings(limits=Limits(append_octets=1000))
        before = before_login(limited, ("SCRAM-SHA-256-PLUS", "PLAIN"), tls=True)
        self.assertEqual(" ".join(before), rest + " AUTH=SCRAM-SHA-256-PLUS AUTH=PLAIN")
        after = after_login(limited, 1000, frozenset())
        self.assertEqual(" ".join(after), rest + " COMPRESS=DEFLATE UNAUTHENTICATE")

    def test_any_set_disabled(self) -> None:
        """A program may give the names as a set that can be changed."""
        names: Any = {"IDLE"}
        limited = settings(disabled_capabilities=names)
        for offered in (before_login(limited, (), tls=True), after_login(limited, 1000, frozenset())):
            self.assertNotIn("IDLE", offered)
        names.clear()
        self.assertIn("IDLE", before_login(limited, (), tls=True))

    def test_disabled(self) -> None:
        """What is disabled for an account is neither announced to it nor done."""
        driver = Driver.of(MemoryMail(disabled_capabilities=frozenset(["IDLE", "QRESYNC"])))
        self.assertIn(b" IDLE ", driver.received())
        self.assertNotIn(b" IDLE ", driver.command("LOGIN alice secret")[0])
        self.assertEqual(driver.command("IDLE"), [b"a2 BAD IDLE is not available now"])
        self.assertEqual(driver.command("ENABLE QRESYNC")[0], b"* ENABLED")

    def test_disabled_of_a_backend(self) -> None:
        """A backend's own set of what is disabled stays as it is, and another account's list without it."""
        server = settings(disabled_capabilities=frozenset(["IDLE"]))
        own = {"SORT"}
        self.assertTrue({"IDLE", "SORT", "SORT=DISPLAY"}.isdisjoint(after_login(server, 1000, own)))  # type: ignore[arg-type]
        self.assertEqual(own, {"SORT"})
        self.assertIn("SORT=DISPLAY", after_login(server, 1000, frozenset()))

    def test_disabled_with_what_needs_it(self) -> None:
        """With SORT, ACL, QUOTA and CONDSTORE goes what is nothing without them, from the list and from the commands."""
        mail = MemoryMail(disabled_capabilities=frozenset(["ACL", "CONDSTORE", "QUOTA", "SORT"]))
        driver = Driver.of(mail)
        driver.login()
        (listed, _) = driver.command("CAPABILITY")
        names = set(listed.decode().split())
        for gone in ("LIST-MYRIGHTS", "RIGHTS=kxte", "QRESYNC", "QUOTA=RES-STORAGE", "ESORT", "SORT=DISPLAY"):
            self.assertNotIn(gone, names)
        self.assertIn("ESEARCH", names)
        self.assertIn(b" BAD ", driver.command('LIST "" * RETURN (MYRIGHTS)')[-1])
        self.assertIn(b" BAD ", driver.command("STATUS INBOX (DELETED-STORAGE)")[-1])

    def test_login_disabled(self) -> None:
        """Without TLS LOGIN and PLAIN are refused with PRIVACYREQUIRED, and the password is not looked at."""
        driver = Driver.of(settings=settings(allow_plain_without_tls=False, offer_starttls=True))
        self.assertIn(b"NO [PRIVACYREQUIRED]", driver.command("LOGIN alice secret")[-1])
        self.assertIn(b"NO [PRIVACYREQUIRED]", driver.command("AUTHENTICATE PLAIN AGEAYg==")[-1])

    def test_starttls(self) -> None:
        """After STARTTLS the capabilities are others and what was said before counts for nothing."""
        driver = Driver.of(settings=settings(allow_plain_without_tls=False, offer_starttls=True))
        self.assertEqual(driver.command("STARTTLS"), [b"a1 OK begin TLS now"])
        self.assertTrue(driver.tls_wanted)
        driver.handshake()
        answer = driver.command("CAPABILITY")[0]
        self.assertNotIn(b"STARTTLS", answer)
        self.assertIn(b"AUTH=PLAIN", answer)
        self.assertIn(b"AUTH=SCRAM-SHA-256-PLUS", answer)
        self.assertIn(b" OK ", driver.command("LOGIN alice secret")[-1])
        self.assertIn(b" BAD ", driver.command("STARTTLS")[-1])


class LimitTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """A line over the limit is BAD, its rest is read over, and the connection goes on."""
        driver = logged_in()
        self.assertEqual(driver.command("NOOP " + "x" * 20_000), [b"a2 BAD line is too long"])
        self.assertEqual(driver.command("NOOP"), [b"a3 OK NOOP completed"])

    def test_before_login_is_little(self) -> None:
        """Before login neither long lines nor long literals are taken."""
        driver = Driver.of(settings=settings())
        driver.command("NOOP")
        self.assertIn(b"BAD", driver.command("LOGIN " + "x" * 9000)[-1])
        self.assertIn(b"BAD [TOOBIG]", driver.command("LOGIN {5000}")[-1])
        self.assertIn(b" OK ", driver.command("LOGIN {5+}\r\nalice secret")[-1])
        self.assertIn(b" NO ", driver.command(b"STATUS {5000+}\r\n" + b"x" * 5000 + b" (MESSAGES)")[-1])

    def test_too_much(self) -> None:
        """Who sends megabytes that nobody wants is sent away."""
        driver = Driver.of(settings=settings())
        driver.command("NOOP")
        driver.received()
        driver.send(b"a LOGIN {300000+}\r\n")
        for _ in range(10):
            driver.send(b"x" * 40_000)
        self.assertIn(b"* BYE", driver.received())
        self.assertTrue(driver.closed)

    def test_bad_commands(self) -> None:
        """BAD commands in a row end the connection; a good one in between begins the count anew."""
        driver = logged_in(limits=Limits(bad_commands=3))
        for _ in range(3):
            for _ in range(3):
                driver.command("NONSENSE")
            self.assertFalse(driver.closed)
            driver.command("NOOP")
        for _ in range(3):
            driver.command("NONSENSE")
        self.assertEqual(driver.command("NONSENSE")[-1], b"* BYE too many bad commands")
        self.assertTrue(driver.closed)

    def test_logins(self) -> None:
        """Failed logins end the connection, whatever the mechanism."""
        driver = Driver.of(settings=settings(limits=Limits(login_failures=3)))
        driver.command("LOGIN alice wrong")
        driver.command("AUTHENTICATE PLAIN AGFsaWNlAHdyb25n")
        driver.command("LOGIN nobody secret")
        self.assertTrue(driver.closed)

    def test_scram(self) -> None:
        """A user logs in with SCRAM; an unknown one goes through it likewise, and fails at its end."""
        for user, password, answer in (
            ("alice", "secret", b"OK [CAPABILITY"),
            ("alice", "wrong", b"NO [AUTHENTICATIONFAILED]"),
            ("nobody", "secret", b"NO [AUTHENTICATIONFAILED]"),
        ):
            driver = Driver.of(settings=settings())
            driver.received()
            client = ScramClient("SCRAM-SHA-256", Credentials(user, password), counted_entropy())
            driver.send(b"a AUTHENTICATE SCRAM-SHA-256 %b\r\n" % b64encode(client.start()))
            received = driver.received()
            steps = 0
            while received.startswith(b"+ "):
                driver.send(b64encode(client.step(b64decode(received[2:]))) + b"\r\n")
                received = driver.received()
                steps += 1
            self.assertTrue(received.startswith(b"a " + answer), (user, received))
            self.assertEqual(steps, 2 if password == "secret" and user == "alice" else 1)


class AppendTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.mail = MemoryMail()
        self.sinks: list[Any] = []
        sinks = self.sinks

        class Session(memory._Session):
            def append_sink(self, mailbox: str, size_octets: int) -> Any:
                sink = super().append_sink(mailbox, size_octets)
                sinks.append(sink)
                return sink

        self.patch(memory, "_Session", Session)

    def count(self) -> int:
        return len(self.mail.find("INBOX").uids)

    def test_refused_before_it_is_sent(self) -> None:
        """A message that is too large, for a missing mailbox or with wrong flags is refused before the client sends it."""
        driver = logged_in(self.mail)
        for arguments, answer in (
            ("INBOX {999999999}", b"NO [TOOBIG] message is too large"),
            ("Nowhere {10}", b"NO [TRYCREATE] no such mailbox"),
            ("INBOX (\\Nothing) {10}", b"BAD "),
            ('"a*b" {10}', b"NO [CANNOT] "),
            ("INBOX {0}", b"NO "),
        ):
            answers = driver.command("APPEND " + arguments)
            self.assertEqual(len(answers), 1, answers)
            self.assertIn(answer, answers[0])
        self.assertEqual(driver.command("NOOP")[-1][-17:], b"OK NOOP completed")

    def test_refused_while_it_is_sent(self) -> None:
        """A message that comes unasked and is refused is read over; the next command is understood."""
        driver = logged_in(self.mail)
        answers = driver.command("APPEND Nowhere {20+}\r\na1 LOGOUT\r\na2 NOOP\r\n")
        self.assertEqual(answers, [b"a2 NO [TRYCREATE] no such mailbox"])
        self.assertIn(b"OK", driver.command("NOOP")[-1])

    def test_multiappend_is_all_or_nothing(self) -> None:
        """When the second message of an APPEND is refused, cancelled or incomplete the first is forgotten."""
        driver = logged_in(self.mail)
        for second in ("{0}\r\n", "{999999999}", "(\\Nothing) {3+}\r\nabc", "junk"):
            driver.command("APPEND INBOX {3+}\r\nabc " + second)
            self.assertEqual(self.count(), 0, second)
            self.assertEqual(self.sinks[-1].parts, [], second)
        self.assertIn(b"[APPENDUID 1 1:2]", driver.command("APPEND INBOX {3+}\r\nabc {3+}\r\ndef")[-1])

    def test_store_refuses_in_the_middle(self) -> None:
        """A disk that fills while the message comes: the rest is read, the answer is NO, nothing is kept."""

        def write(sink: Any, data: bytes) -> None:
            raise OverQuotaError

        driver = logged_in(self.mail)
        self.patch(memorymailbox.MemorySink, "write", write)
        answers = driver.command(b"APPEND INBOX {100000+}\r\n" + b"x" * 100_000)
        self.assertEqual(answers, [b"a2 NO [OVERQUOTA] mailbox is over its quota"])
        self.assertEqual(self.count(), 0)

    def test_gone_in_the_middle(self) -> None:
        """A client that goes in the middle of a message leaves nothing."""
        driver = logged_in(self.mail)
        driver.send(b"a APPEND INBOX {100}\r\nabc")
        driver.server.lost()
        self.assertEqual(self.sinks[-1].parts, [])
        self.assertEqual(self.count(), 0)

    def test_nul(self) -> None:
        """NUL is for literal8 only (RFC 3516)."""
        driver = logged_in(self.mail)
        self.assertIn(b"BAD", driver.command(b"APPEND INBOX {3+}\r\na\0b")[-1])
        self.assertIn(b"OK", driver.command(b"APPEND INBOX ~{3+}\r\na\0b")[-1])

    def test_utf8(self) -> None:
        """APPEND with UTF8 needs UTF8=ACCEPT enabled (RFC 9755 section 4)."""
        driver = logged_in(self.mail)
        self.assertIn(b"BAD", driver.command(b"APPEND INBOX UTF8 (~{3+}\r\nabc)")[-1])
        driver.command("ENABLE UTF8=ACCEPT")
        self.assertIn(b"OK [APPENDUID 1 1]", driver.command(b"APPEND INBOX UTF8 (~{3+}\r\nabc)")[-1])

    def test_into_the_selected_mailbox(self) -> None:
        """RFC 9051 section 6.3.12: the client is told EXISTS at once, before the tagged OK."""
        driver = logged_in(self.mail)
        driver.command("SELECT INBOX")
        answers = driver.command("APPEND INBOX (\\Recent $Label) {3+}\r\nabc")
        self.assertEqual(answers[:-1], [b"* 1 EXISTS"])
        self.assertEqual(driver.command("FETCH 1 FLAGS")[0], b"* 1 FETCH (FLAGS ($Label))")


class MailboxTests(SynchronousTestCase):
    def test_removed_under_a_session(self) -> None:
        """When somebody removes the selected mailbox its messages vanish, and commands on it are NO, not a failure."""
        mail = MemoryMail()
        mail.make("Work")
        for _ in range(3):
            mail.add("Work", b"Subject: x\r\n\r\n")
        driver = logged_in(mail)
        driver.command("SELECT Work")
        mail.remove("Work")
        self.assertEqual(
            driver.command("STORE 1 +FLAGS (\\Seen)")[-1], b"a3 NO [NONEXISTENT] no such mailbox"
        )
        self.assertEqual(driver.command("NOOP")[:-1], [b"* 3 EXPUNGE", b"* 2 EXPUNGE", b"* 1 EXPUNGE"])
        self.assertEqual(driver.command("COPY 1:* INBOX")[-1][:7], b"a5 BAD ")
        self.assertEqual(driver.command("CLOSE")[-1], b"a6 OK CLOSE completed")

    def test_removed_by_the_session(self) -> None:
        """A client that deletes the mailbox it has open has none open afterwards."""
        mail = MemoryMail()
        mail.make("Work")
        driver = logged_in(mail)
        driver.command("SELECT Work")
        self.assertEqual(
            driver.command("DELETE Work"),
            [b"* OK [CLOSED] mailbox is being deleted", b"a3 OK DELETE completed"],
        )
        self.assertIs(driver.server.state, State.AUTHENTICATED)

    def test_inbox_renamed(self) -> None:
        """RFC 9051 section 6.3.6: renaming INBOX moves its messages and leaves it empty."""
        mail = MemoryMail()
        mail.add("INBOX", b"Subject: x\r\n\r\n")
        driver = logged_in(mail)
        driver.command("RENAME inbox Old")
        self.assertIn(b"(MESSAGES 0)", driver.command("STATUS INBOX (MESSAGES)")[0])
        self.assertIn(b"(MESSAGES 1)", driver.command("STATUS Old (MESSAGES)")[0])

    def test_failed_select(self) -> None:
        """RFC 9051 section 6.3.2: a SELECT that fails leaves no mailbox selected."""
        driver = logged_in()
        driver.command("SELECT INBOX")
        answers = driver.command("SELECT Nowhere")
        self.assertEqual(
            answers, [b"* OK [CLOSED] previous mailbox closed", b"a3 NO [NONEXISTENT] no such mailbox"]
        )
        self.assertEqual(driver.command("FETCH 1 FLAGS"), [b"a4 BAD FETCH needs a selected mailbox"])

    def test_names_in_utf7_and_utf8(self) -> None:
        """A name is modified UTF-7 until UTF-8 is enabled, on the way in and out."""
        driver = logged_in()
        driver.command("CREATE Entw&APw-rfe")
        self.assertIn(b'"/" Entw&APw-rfe', driver.command('LIST "" E%')[0])
        driver.command("ENABLE UTF8=ACCEPT")
        self.assertIn('"/" "Entwürfe"'.encode(), driver.command('LIST "" E%')[0])
        self.assertIn(b"OK", driver.command('STATUS "Entwürfe" (MESSAGES)')[-1])
        self.assertIn(b"BAD", driver.command(b'STATUS "\xff" (MESSAGES)')[-1])

    def test_session_is_given_back(self) -> None:
        """The backend's session ends with the connection, once, however it ends."""
        for end in ("LOGOUT", ""):
            mail = MemoryMail()
            driver = logged_in(mail)
            self.assertEqual(mail.sessions, 1)
            if end:
                driver.command(end)
            driver.server.lost()
            driver.server.lost()
            self.assertEqual(mail.sessions, 0)


class EnableTests(SynchronousTestCase):
    def test_order(self) -> None:
        """ENABLED has all that the command enabled, CONDSTORE also behind QRESYNC, which includes it (RFC 7162 section 3.2.3)."""
        for order, told in (
            ("CONDSTORE QRESYNC", b"CONDSTORE QRESYNC"),
            ("QRESYNC CONDSTORE", b"QRESYNC CONDSTORE"),
            ("qresync Condstore QRESYNC CONDSTORE", b"QRESYNC CONDSTORE"),
        ):
            driver = logged_in(MemoryMail())
            self.assertEqual(driver.command(f"ENABLE {order}")[0], b"* ENABLED " + told)
            self.assertEqual(driver.command(f"ENABLE {order}")[0], b"* ENABLED")


class QResyncTests(SynchronousTestCase):
    """RFC 7162 section 3.2.5, with a history that does not reach back."""

    def answers(self, parameters: str, complete: bool) -> list[bytes]:
        mail = MemoryMail()
        for n in range(20):
            mail.add("INBOX", b"Subject: %d\r\n\r\n" % n)
        box = mail.find("INBOX")
        box.remove([3, 4, 5, 10, 20], mail.next_modseq())
        if not complete:
            self.patch(memory._Selected, "expunged_since", lambda selected, modseq: ((), False))
        driver = logged_in(mail)
        driver.command("ENABLE QRESYNC")
        return [a for a in driver.command(f"SELECT INBOX (QRESYNC ({parameters}))") if b"VANISHED" in a]

    def test_history(self) -> None:
        """What vanished since is told, of what the client knows."""
        for complete in (True, False):
            self.assertEqual(self.answers("1 21", complete), [b"* VANISHED (EARLIER) 3:5,10,20"])
            self.assertEqual(self.answers("1 21 1:9", complete), [b"* VANISHED (EARLIER) 3:5"])
            self.assertEqual(self.answers("1 21 11:15", complete), [])

    def test_beyond_history(self) -> None:
        """Without history a client that is far off is told all that is not there, in ranges, however large its set."""
        self.assertEqual(self.answers("1 1 2:4000000000", False), [b"* VANISHED (EARLIER) 3:5,10,20"])

    def test_match_data(self) -> None:
        """Section 3.2.5.2: pairs that fit tell up to where the client is in step."""
        self.assertEqual(self.answers("1 1 1:20 (1,2,3,6 1,2,6,9)", False), [b"* VANISHED (EARLIER) 10,20"])
        self.assertEqual(
            self.answers("1 1 1:20 (1,2,3,6 1,2,3,6)", False), [b"* VANISHED (EARLIER) 3:5,10,20"]
        )

    def test_fetch_to_the_end(self) -> None:
        """In UID FETCH with VANISHED the star is the last UID there has been: nothing below the set is told."""
        mail = MemoryMail()
        driver = logged_in(mail)
        driver.command("ENABLE QRESYNC")
        driver.command("SELECT INBOX")
        answers = driver.command("UID FETCH * (UID) (CHANGEDSINCE 1 VANISHED)")
        self.assertEqual(answers, [b"a4 OK FETCH completed"])
        for _ in range(6):
            mail.add("INBOX", b"Subject: x\r\n\r\n")
        mail.find("INBOX").remove([1, 2, 6], mail.next_modseq())
        driver.command("NOOP")
        for complete in (True, False):
            for numbers, told in (
                ("3:*", b" 6"),
                ("8:*", b" 6"),
                ("*", b" 6"),
                ("1:*", b" 1:2,6"),
                ("4", b""),
            ):
                answers = driver.command(f"UID FETCH {numbers} (UID) (CHANGEDSINCE 1 VANISHED)")
                self.assertEqual(
                    [a for a in answers if b"VANISHED" in a],
                    [b"* VANISHED (EARLIER)" + told] if told else [],
                    (numbers, complete),
                )
            self.patch(memory._Selected, "expunged_since", lambda selected, modseq: ((), False))

    def test_fetch_before_it_is_told(self) -> None:
        """What is gone and still has a number is told by VANISHED without EARLIER, and by nothing else (section 3.2.10)."""
        mail = MemoryMail()
        for _ in range(4):
            mail.add("INBOX", b"Subject: x\r\n\r\n")
        mail.find("INBOX").remove([1], mail.next_modseq())
        driver = logged_in(mail)
        driver.command("ENABLE QRESYNC")
        driver.command("SELECT INBOX")
        mail.find("INBOX").remove([2, 3], mail.next_modseq())
        answers = driver.command("UID FETCH 1:* (UID) (CHANGEDSINCE 1 VANISHED)")
        self.assertEqual(
            answers,
            [
                b"* VANISHED (EARLIER) 1",
                b"* 3 FETCH (UID 4 MODSEQ (5))",
                b"* VANISHED 2:3",
                b"a4 OK FETCH completed",
            ],
        )


class StoreTests(SynchronousTestCase):
    def run_between(self, driver: Driver, action: Callable[[], object]) -> None:
        """Have something happen right before the next change of flags is carried out."""
        real = memory._Selected.store

        async def store(selected: Any, *arguments: Any) -> Any:
            self.patch(memory._Selected, "store", real)
            action()
            return await real(selected, *arguments)

        self.patch(memory._Selected, "store", store)

    def test_somebody_was_faster(self) -> None:
        """A change of somebody else that is committed before a silent one is told nevertheless."""
        mail = MemoryMail()
        mail.add("INBOX", b"Subject: x\r\n\r\n")
        driver, other = logged_in(mail), logged_in(mail)
        for d in (driver, other):
            d.command("SELECT INBOX")
        self.run_between(driver, lambda: other.command("STORE 1 +FLAGS (\\Flagged)"))
        answers = driver.command("STORE 1 +FLAGS.SILENT (\\Seen)")
        self.assertEqual(answers[0], b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Flagged))")

    def test_some_changed_and_some_gone(self) -> None:
        """A conditional STORE of messages that are gone, beside others that changed, is a NO that has MODIFIED."""
        mail = MemoryMail()
        for _ in range(3):
            mail.add("INBOX", b"Subject: x\r\n\r\n")
        driver, other = logged_in(mail), logged_in(mail)
        for d in (driver, other):
            d.command("SELECT INBOX")
        other.command("STORE 2 +FLAGS (\\Deleted)")
        other.command("EXPUNGE")
        other.command("STORE 1 +FLAGS (\\Flagged)")
        answers = driver.command("STORE 1:3 (UNCHANGEDSINCE 4) +FLAGS (\\Seen)")
        self.assertEqual(answers[-1], b"a3 NO [MODIFIED 1] some of the messages are gone")
        answers = driver.command("UID STORE 1:3 (UNCHANGEDSINCE 4) +FLAGS (\\Seen)")
        self.assertEqual(answers[-1], b"a4 OK [MODIFIED 1,3] some messages were changed meanwhile")

    def test_conditional_and_silent(self) -> None:
        """A silent conditional STORE tells the MODSEQ of each message that passed, also when there was nothing to change."""
        mail = MemoryMail()
        for _ in range(2):
            mail.add("INBOX", b"Subject: x\r\n\r\n")
        driver = logged_in(mail)
        driver.command("SELECT INBOX (CONDSTORE)")
        driver.command("STORE 1 +FLAGS (\\Seen)")
        self.assertEqual(
            driver.command("STORE 1:2 (UNCHANGEDSINCE 4) +FLAGS.SILENT (\\Seen)"),
            [
                b"* 1 FETCH (UID 1 MODSEQ (4))",
                b"* 2 FETCH (UID 2 MODSEQ (5))",
                b"a4 OK STORE completed",
            ],
        )
        self.assertEqual(driver.command("STORE 1:2 +FLAGS.SILENT (\\Seen)"), [b"a5 OK STORE completed"])

    def test_own_changes_are_told_once(self) -> None:
        """A session is not told again what it did itself."""
        mail = MemoryMail()
        mail.add("INBOX", b"Subject: x\r\n\r\n")
        driver = logged_in(mail)
        driver.command("SELECT INBOX")
        self.assertEqual(len(driver.command("STORE 1 +FLAGS (\\Seen)")), 2)
        self.assertEqual(driver.command("STORE 1 +FLAGS.SILENT (\\Flagged)"), [b"a4 OK STORE completed"])
        self.assertEqual(driver.command("STORE 1 FLAGS.SILENT ()"), [b"a5 OK STORE completed"])
        self.assertEqual(driver.command("NOOP"), [b"a6 OK NOOP completed"])
        self.assertIs(mail.find("INBOX").flags[0], MessageFlags.of(0))


class IdentityTests(SynchronousTestCase):
    def test_version_after_login(self) -> None:
        """ID tells the version only to users."""
        driver = Driver.of(settings=settings(software=("moxtwisted", "1.2")))
        self.assertEqual(driver.command('ID ("name" "x")')[0], b'* ID ("name" "moxtwisted")')
        driver.login()
        self.assertEqual(driver.command("ID NIL")[0], b'* ID ("name" "moxtwisted" "version" "1.2")')
        self.assertEqual(driver.server.connection.client_id, (("name", "x"),))

    def test_greeting_of_tls(self) -> None:
        """With implicit TLS the greeting's capabilities are those of TLS."""
        authenticator = MemoryAuthenticator({}, counted_entropy())
        driver = Driver.of(
            authenticator=authenticator,
            settings=settings(allow_plain_without_tls=False),
            transport=Transport(tls=True),
        )
        greeting = driver.received()
        self.assertIn(b"AUTH=PLAIN", greeting)
        self.assertNotIn(b"LOGINDISABLED", greeting)
