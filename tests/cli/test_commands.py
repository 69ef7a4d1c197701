"""Every command asks for the right operation with the right arguments, and prints what came of it."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import Mock

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.cli import accounts, mail, passwords, running, session, upkeep
from moxtwisted.cli.arguments import build_parser
from moxtwisted.cli.main import main
from moxtwisted.cli.output import complain
from moxtwisted.config.load import parse_domains, parse_static
from moxtwisted.errors import ConfigurationError, MailboxMissingError, MailError
from moxtwisted.server.control.amp import operations
from tests.config.test_load import DOMAINS, STATIC

NOTHING = object()


class Recorder:
    """An administration that only remembers, and takes exactly the arguments that the interface declares."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[Any, ...]] = []

    def ended(self) -> Deferred[None]:
        """It goes at once."""
        return succeed(None)

    def __getattr__(self, name: str) -> Any:
        declared = operations()[name].getSignatureInfo()["positional"]

        async def operation(*positional: Any) -> Any:
            if len(positional) != len(declared):
                raise TypeError(f"{name} takes {declared}")
            if declared and declared[-1] == "progress":
                positional[-1](1, 2, "messages")
                positional = positional[:-1]
            self.calls.append((name, *positional))
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return operation


class Terminal(io.StringIO):
    """What is typed."""

    def isatty(self) -> bool:
        """Somebody sits there."""
        return True


class CommandTestCase(SynchronousTestCase):
    answer: Any = None

    def setUp(self) -> None:
        """Nothing of a real server is reached."""
        self.recorder = Recorder(None)
        self.needed_running = False

        def call(arguments: Any, operation: Any, *, running: bool = False) -> Any:
            self.needed_running = running
            return self.successOrRaise(operation(self.recorder, lambda done, total, what: None))

        self.patch(session, "call", call)
        for module in (accounts, mail, running, upkeep):
            self.patch(module, "call", call)

    def successOrRaise(self, awaitable: Any) -> Any:
        """The result of something that waits for nothing."""
        results: list[Any] = []
        ensureDeferred(awaitable).addBoth(results.append)
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]

    def run_command(
        self, *arguments: str, answer: Any = None, stdin: str = "", terminal: bool = False
    ) -> tuple[int, str, str]:
        """Run a command: exit status, standard output, standard error."""
        self.recorder.answer = answer
        self.recorder.calls.clear()
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdin", Terminal(stdin) if terminal else io.StringIO(stdin))
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(arguments)
            except SystemExit as e:
                status = int(e.code or 0)
        return status, out.getvalue(), err.getvalue()

    def asks(self, words: str, *expected: Any, answer: Any = None, stdin: str = "") -> str:
        """The command does this one operation and succeeds; what it printed."""
        status, out, err = self.run_command(*words.split(), answer=answer, stdin=stdin)
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.recorder.calls, [expected])
        return out


class AdministrationTests(CommandTestCase):
    def test_accounts(self) -> None:
        """Account …"""
        out = self.asks(
            "account add bob bob@e.org --password-stdin",
            "account_add",
            "bob",
            "bob@e.org",
            "",
            "pw123456",
            stdin="pw123456\n",
        )
        self.assertNotIn("pw123456", out)
        out = self.asks(
            "account add bob bob@e.org --password-stdin",
            "account_add",
            "bob",
            "bob@e.org",
            "",
            "pw123456",
            stdin="pw123456\n",
            answer=["its mail is there"],
        )
        self.assertIn("its mail is there", out)
        self.asks("account rm bob --yes", "account_remove", "bob", False, answer=["a note"])
        self.asks("account rm bob --keep-mail --yes", "account_remove", "bob", True)
        self.asks("account disable bob", "account_disable", "bob", "")
        self.asks("account disable bob closed", "account_disable", "bob", "closed")
        self.asks("account enable bob", "account_enable", "bob")

    def test_generated_password(self) -> None:
        """Without one given, a password is made and shown once."""
        _, out, _ = self.run_command("account", "add", "bob", "bob@e.org", "--full-name", "Bob B")
        name, *arguments, password = self.recorder.calls[0]
        self.assertEqual([name, *arguments], ["account_add", "bob", "bob@e.org", "Bob B"])
        self.assertGreaterEqual(len(password), 12)
        self.assertIn(password, out)

    def test_account_list(self) -> None:
        """Lists are tables for people and JSON for programs."""
        rows = [{"name": "bob", "addresses": ["b@e.org", "c@e.org"], "disabled": "", "quota_octets": None}]
        out = self.asks("account list", "account_list", answer=rows)
        self.assertEqual(out.splitlines()[0].split(), ["name", "addresses", "disabled", "quota_octets"])
        self.assertIn("b@e.org c@e.org", out)
        self.assertEqual(json.loads(self.asks("account list --json", "account_list", answer=rows)), rows)
        self.assertEqual(self.asks("account list", "account_list", answer=[]), "no accounts\n")
        self.assertEqual(self.asks("account list --json", "account_list", answer=[]), "[]\n")

    def test_terminal_is_not_steered(self) -> None:
        """What somebody else wrote cannot send escape sequences to the terminal."""
        out = self.asks("queue list", "queue_list", answer=[{"sender": "\x1b[2J@e.org"}])
        self.assertNotIn("\x1b", out)

    def test_nowhere_to_complain(self) -> None:
        """When standard error is closed, what went wrong does not get among the results on standard output."""
        out = io.StringIO()
        self.patch(sys, "stderr", None)
        with redirect_stdout(out):
            complain("mox.conf: there is no such file")
        self.assertEqual(out.getvalue(), "")

    def test_setpassword(self) -> None:
        """Setpassword reads one line when there is no terminal."""
        self.asks("setpassword bob", "set_password", "bob", "päss word", stdin="päss word\r\nmore\n")
        status, _, err = self.run_command("setpassword", "bob", stdin="")
        self.assertEqual((status, self.recorder.calls), (1, []))
        self.assertIn("one line with a password", err)
        status, _, _ = self.run_command("setpassword", "bob", stdin="x" * 5000)
        self.assertEqual((status, self.recorder.calls), (1, []))

    def test_addresses(self) -> None:
        """Address …"""
        self.asks("address add s@e.org bob --mailbox Shop", "address_add", "s@e.org", "bob", "Shop")
        self.asks("address list", "address_list", answer=[{"address": "s@e.org", "account": "bob"}])
        self.asks("address list --json", "address_list", answer=[])
        self.asks("address add @e.org bob", "address_add", "@e.org", "bob", "")
        out = self.asks("address rm s@e.org", "address_remove", "s@e.org", answer=["it left the alias"])
        self.assertEqual(out, "it left the alias\n")

    def test_domains(self) -> None:
        """Domain …"""
        record = {"name": "e.net", "type": "MX", "value": "10 mail.e.org.", "why": "mail comes here"}
        _, out, _ = self.run_command(
            "domain", "add", "e.net", "--description", "x", "--disabled", answer=[record]
        )
        self.assertEqual(
            self.recorder.calls,
            [
                ("domain_add", "e.net", "x", True),
                ("dkim_generate", "e.net", ["rsa", "ed25519"], "active"),
                ("domain_reports", "e.net", ""),
                ("domain_records", "e.net"),
            ],
        )
        self.assertIn("; mail comes here\ne.net. IN MX 10 mail.e.org.\n", out)
        self.run_command("domain", "add", "e.net", "--no-dkim", "--no-reports", answer=[])
        self.assertEqual(
            self.recorder.calls, [("domain_add", "e.net", "", False), ("domain_records", "e.net")]
        )
        self.asks("domain records e.net", "domain_records", "e.net", answer=[record])
        out = self.asks("domain records e.net --json", "domain_records", "e.net", answer=[record])
        self.assertEqual(json.loads(out), [record])
        self.asks("domain list", "domain_list", answer=[])
        self.asks("domain rm e.net", "domain_remove", "e.net")
        self.asks("domain disable e.net", "domain_disable", "e.net")
        self.asks("domain enable e.net", "domain_enable", "e.net")

    def test_aliases(self) -> None:
        """Alias …"""
        self.asks("alias list", "alias_list", "", answer=[])
        self.asks("alias list e.org", "alias_list", "e.org", answer=[])
        self.asks(
            "alias add t@e.org a@e.org b@e.org", "alias_add", "t@e.org", ["a@e.org", "b@e.org"], True, False
        )
        self.asks(
            "alias add t@e.org a@e.org --members-only --allow-message-from",
            "alias_add",
            "t@e.org",
            ["a@e.org"],
            False,
            True,
        )
        self.asks("alias update t@e.org --post-public no", "alias_update", "t@e.org", False, None)
        self.asks("alias update t@e.org --allow-message-from yes", "alias_update", "t@e.org", None, True)
        self.asks("alias rm t@e.org", "alias_remove", "t@e.org")
        self.asks("alias addaddr t@e.org c@e.org", "alias_add_members", "t@e.org", ["c@e.org"])
        self.asks(
            "alias rmaddr t@e.org c@e.org d@e.org", "alias_remove_members", "t@e.org", ["c@e.org", "d@e.org"]
        )

    def test_mail(self) -> None:
        """import, export and queue; paths are made absolute, because the server has another directory."""
        here = str(Path("x").absolute())
        out = self.asks(
            "import mbox bob Old x",
            "import_mbox",
            "bob",
            "Old",
            here,
            answer={"messages": 1200, "skipped": 3},
        )
        self.assertEqual(out, "1,200 messages imported, 3 skipped\n")
        self.asks("import maildir bob Old x", "import_maildir", "bob", "Old", here, answer={"messages": 0})
        self.asks("export mbox bob x", "export_mbox", "bob", "", here, answer={"messages": 2})
        self.asks("export maildir bob x Old", "export_maildir", "bob", "Old", here, answer={"messages": 2})
        self.asks("queue list", "queue_list", answer=[])
        self.asks("queue remove 17 18 --yes", "queue_remove", [17, 18], answer=["removed 17", "removed 18"])
        self.assertEqual(self.run_command("queue", "remove", "x", "--yes")[0], 2)

    def test_sharing(self) -> None:
        """Acl list, set and rm."""
        rows = [{"mailbox": "Projects", "identifier": "bob", "rights": "lr"}]
        self.assertIn("Projects", self.asks("acl list alice", "acl_list", "alice", "", answer=rows))
        self.assertEqual(
            self.asks("acl list alice Old", "acl_list", "alice", "Old", answer=[]), "nothing is shared\n"
        )
        self.asks("acl set alice Old bob +lr", "acl_set", "alice", "Old", "bob", "+lr", answer=None)
        self.asks("acl rm alice Old bob", "acl_remove", "alice", "Old", "bob", answer=None)

    def test_no_delivery(self) -> None:
        """That mail to other servers does not leave is said where the queue is explained."""
        for words in (("queue",), ("queue", "list", "--help")):
            self.assertIn("does not deliver it yet", " ".join(self.run_command(*words)[1].split()))

    def test_upkeep(self) -> None:
        """verifydata, reparse, recalculate-counts, retire, of one account or all."""
        self.assertIn("in order", self.asks("verifydata", "verify_data", "", answer=[]))
        status, out, _ = self.run_command("verifydata", "bob", answer=["one", "two"])
        self.assertEqual((status, self.recorder.calls), (1, [("verify_data", "bob")]))
        self.assertIn("2 problems found", out)
        self.assertIn("1 problem found", self.run_command("verifydata", "bob", answer=["one"])[1])
        self.asks("reparse bob", "reparse", "bob", answer={"messages": 3})
        self.asks("recalculate-counts", "recalculate_counts", "", answer={"mailboxes": 3, "changed": 0})
        self.asks("retire", "retire", "", answer={"messages": 3})

    def test_running(self) -> None:
        """stop, status and loglevel need a running server."""
        self.asks("stop", "stop", answer=10.0)
        self.asks("stop", "stop", answer=None)
        self.assertTrue(self.needed_running)
        self.asks("loglevel", "log_levels", answer={"": "info"})
        self.asks("loglevel debug", "set_log_level", "debug", "")
        self.asks("loglevel debug moxtwisted.smtp", "set_log_level", "debug", "moxtwisted.smtp")
        self.assertTrue(self.needed_running)
        self.assertIn("4711", self.asks("status", "status", answer={"running": True, "pid": 4711}))
        facts = {"running": True, "pid": 1}
        self.assertEqual(json.loads(self.asks("status --json", "status", answer=facts)), facts)
        status, out, _ = self.run_command("status", "--json", answer=session.NotRunningError("down"))
        self.assertEqual((status, json.loads(out)), (1, {"running": False}))
        status, out, err = self.run_command("status", answer=session.NotRunningError("down"))
        self.assertEqual((status, out, err), (1, "", "moxmail: down\n"))

    def test_keepers(self) -> None:
        """Of each keeper there is a line in the status, with twenty of its accounts at most, and all of them in JSON."""
        row = {"keeper": 1, "pid": 4712, "ready": True, "connections": 3, "accounts": ["ann", "bob"]}
        many = [f"a{n:02}" for n in range(22)]
        rows = [
            row,
            {**row, "keeper": 2, "connections": 1, "accounts": many[:20]},
            {**row, "keeper": 3, "accounts": many},
            {**row, "keeper": 4, "ready": False, "connections": 0, "accounts": []},
            {**row, "keeper": 5, "pid": None, "ready": False, "connections": 0, "accounts": []},
        ]
        facts = {"running": True, "keepers": rows}
        names = ", ".join(many[:20])
        self.assertEqual(
            [
                line.split(maxsplit=2)[2]
                for line in self.asks("status", "status", answer=dict(facts)).splitlines()[2:]
            ],
            [
                "process 4712, ready, 3 connections, 2 accounts: ann, bob",
                f"process 4712, ready, 1 connection, 20 accounts: {names}",
                f"process 4712, ready, 3 connections, 22 accounts: {names} and 2 more",
                "process 4712, not ready, 0 connections, 0 accounts",
                "no process",
            ],
        )
        self.assertEqual(json.loads(self.asks("status --json", "status", answer=facts)), facts)

    def test_refused(self) -> None:
        """A refusal is one sentence and status 1; a configuration that is not valid is all sentences and 78. Each line says who says it."""
        status, out, err = self.run_command("domain", "rm", "x", answer=MailError("there is no domain x"))
        self.assertEqual((status, out, err), (1, "", "moxmail: there is no domain x\n"))
        status, _, err = self.run_command("domain", "rm", "x", answer=ConfigurationError(("one", "two")))
        self.assertEqual((status, err), (78, "moxmail: one\nmoxmail: two\n"))
        _, _, err = self.run_command("domain", "rm", "x", answer=MailError("one:\ntwo\x1b[2J"))
        self.assertEqual(err, "moxmail: one:\nmoxmail: two?[2J\n")
        _, _, err = self.run_command("export", "mbox", "bob", "x", "Nope", answer=MailboxMissingError("Nope"))
        self.assertEqual(err, "moxmail: no such mailbox: Nope\n")

    def test_destructive_without_terminal(self) -> None:
        """What loses mail is not done without a terminal and without --yes, whatever is piped in."""
        for words in ("account rm bob", "account rm bob --keep-mail", "queue remove 17"):
            for answer in ("n\n", "y\n", "yes\n", "bob\n", ""):
                status, _, err = self.run_command(*words.split(), stdin=answer)
                self.assertEqual((status, self.recorder.calls), (1, []))
                self.assertIn("--yes", err)

    def test_destructive_at_a_terminal(self) -> None:
        """At a terminal the name has to be typed."""
        for typed, expected in (("n\n", []), ("\n", []), ("bob\n", [("account_remove", "bob", False)])):
            status, out, err = self.run_command("account", "rm", "bob", stdin=typed, terminal=True)
            self.assertEqual((status, out, self.recorder.calls), (0 if expected else 1, "", expected))
            self.assertIn("all its mail", err)
            self.assertEqual("nothing was done" in err, not expected)

    def test_destructive_is_marked(self) -> None:
        """Every command whose help speaks of losing something has --yes."""
        parser = build_parser()
        for words in ("account rm x", "queue remove 1", "key off", "key rotate"):
            self.assertFalse(parser.parse_args(words.split()).yes)
            self.assertTrue(parser.parse_args([*words.split(), "--yes"]).yes)

    def test_options_everywhere(self) -> None:
        """-c and --socket may stand before the command, behind its first word and at the end."""
        parser = build_parser()
        for words in (
            "-c x account list",
            "account -c x list",
            "account list -c x",
            "account list --config x",
        ):
            self.assertEqual(parser.parse_args(words.split()).config, "x", words)
        self.assertEqual(parser.parse_args(["--socket", "s", "stop"]).socket, "s")
        self.assertEqual(parser.parse_args(["stop", "--socket", "s"]).socket, "s")
        self.assertIsNone(parser.parse_args(["stop"]).config)


class StopTests(SynchronousTestCase):
    def wait(self, seconds: float, *, ends: bool) -> tuple[Deferred[None], str]:
        """Wait 20 seconds for a server that ends after so many, or does not; what is said."""
        clock, ended, err = Clock(), Deferred[None](), io.StringIO()
        with redirect_stderr(err):
            waited = ensureDeferred(running.until_ended(ended, 20.0, clock))
            clock.pump([0.1] * round(seconds * 10))
            if ends:
                ended.callback(None)
        self.assertEqual(clock.getDelayedCalls(), [])
        return waited, err.getvalue()

    def test_at_once(self) -> None:
        """A server that ends within a moment is not spoken of."""
        waited, err = self.wait(0.3, ends=True)
        self.assertIsNone(self.successResultOf(waited))
        self.assertEqual(err, "")

    def test_later(self) -> None:
        """What is waited for is said when it takes longer."""
        waited, err = self.wait(19, ends=True)
        self.assertIsNone(self.successResultOf(waited))
        self.assertIn("waiting for the server to end, 20 seconds at most", err)

    def test_not_at_all(self) -> None:
        """A server that does not end in time is an error."""
        waited, _ = self.wait(21, ends=False)
        self.assertIn("has not ended after 20 seconds", str(self.failureResultOf(waited, MailError).value))


class HelpTests(CommandTestCase):
    def commands(self) -> list[list[str]]:
        """All commands as words."""
        found: list[list[str]] = []

        def walk(parser: Any, path: list[str]) -> None:
            actions = [
                action
                for action in parser._actions
                if hasattr(action, "choices") and isinstance(action.choices, dict)
            ]
            if not actions and path:
                found.append(path)
            for action in actions:
                for name, inner in action.choices.items():
                    walk(inner, [*path, name])

        walk(build_parser(), [])
        return found

    def test_every_command_is_there(self) -> None:
        """Each command's function exists."""
        import importlib

        parser = build_parser()
        self.assertGreater(len(self.commands()), 35)
        for words in self.commands():
            subparser = parser
            for word in words:
                subparser = next(
                    action.choices[word]  # type: ignore[index]
                    for action in subparser._actions
                    if isinstance(action.choices, dict) and word in action.choices
                )
            module, _, name = subparser.get_default("run").partition(":")
            self.assertTrue(callable(getattr(importlib.import_module(module), name)), words)

    def test_help_teaches(self) -> None:
        """Each command's help has an example that begins with the command itself."""
        for words in self.commands():
            status, out, _ = self.run_command(*words, "--help")
            self.assertEqual(status, 0)
            self.assertIn("example:\n  moxmail " + " ".join(words), out)

    def test_examples_parse(self) -> None:
        """Each example of each help is a command that parses."""
        import shlex

        for words in self.commands():
            _, out, _ = self.run_command(*words, "--help")
            for shown in out.partition("example:\n")[2].partition("\n\n")[0].splitlines():
                line = shown.partition(" | ")[0]
                typed = [word for word in shlex.split(line) if word not in ("<", ">")][1:]
                if "<" in line:
                    typed = typed[:-1]
                if ">" in line:
                    typed = typed[:-1]
                self.assertEqual(typed[: len(words)], words)
                build_parser().parse_args(typed)

    def test_nothing_or_half(self) -> None:
        """Without a command, and with half of one, we say what there is."""
        for words in ((), ("alias",)):
            status, out, _ = self.run_command(*words)
            self.assertEqual(status, 2)
            self.assertIn("COMMAND", out)

    def test_version(self) -> None:
        """Version"""
        from moxtwisted import __version__

        for words in ("version", "--version"):
            self.assertEqual(self.run_command(words)[:2], (0, f"moxmail {__version__}\n"))


class ConfigurationTests(CommandTestCase):
    def test_describe(self) -> None:
        """The described files are valid."""
        static = parse_static(self.run_command("config", "describe-static")[1].encode())
        parse_domains(self.run_command("config", "describe-domains")[1].encode(), static)

    def files(self) -> Path:
        """Both files in a directory."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "mox.conf").write_text(STATIC)
        (directory / "domains.conf").write_text(DOMAINS)
        return directory / "mox.conf"

    def test_test(self) -> None:
        """Config test finds what is wrong in the files, and what the machine lacks; all good is said too."""
        from moxtwisted.config.storekey import create_key_file, new_key

        path = self.files()
        status, _, err = self.run_command("-c", str(path), "config", "test")
        self.assertEqual(status, 78)
        self.assertIn("there is no key file", err)
        create_key_file(path.with_name("store.key"), new_key())
        status, out, err = self.run_command("-c", str(path), "config", "test")
        self.assertEqual(status, 0)
        unsigned = err.splitlines()
        self.assertEqual(len(unsigned), 2)
        self.assertIn("mail is not signed: moxmail dkim gen example.org makes some", unsigned[0])
        self.assertIn("are good", out)
        path.with_name("store.key").chmod(0o644)
        status, out, err = self.run_command("-c", str(path), "config", "test")
        self.assertEqual(status, 0)
        self.assertTrue(err.startswith("note: mox.conf: store.key_file:"), err)
        self.assertIn("has mode 0644", err)
        path.write_text("hostnam = 1\n")
        status, _, err = self.run_command("-c", str(path), "config", "test")
        self.assertEqual(status, 78)
        self.assertIn("did you mean hostname?", err)
        self.assertIn("problems in ", err)

    def test_other_key(self) -> None:
        """A key that is not the one of the data directory is told with both paths, by config test and by key show."""
        from moxtwisted.config.storekey import create_key_file, new_key, recovery_form
        from moxtwisted.store.keys import MasterKey, write_key_check

        path, key = self.files(), new_key()
        create_key_file(path.with_name("store.key"), key)
        (path.parent / "data").mkdir()
        check = path.parent / "data" / "key-check"
        write_key_check(check, MasterKey(key))
        self.assertEqual(self.run_command("-c", str(path), "config", "test")[0], 0)
        write_key_check(check, MasterKey(new_key()))
        for words, expected in (("config test", 78), ("key show", 1)):
            status, out, err = self.run_command("-c", str(path), *words.split())
            self.assertEqual(status, expected)
            for part in (
                str(path.with_name("store.key").absolute()),
                str(check.parent.absolute()),
                "another key",
            ):
                self.assertIn(part, err)
        self.assertEqual(out, recovery_form(key) + "\n")
        path.write_text(STATIC + "[store]\nencryption = false\n")
        self.assertIn("is encrypted", self.run_command("-c", str(path), "config", "test")[2])

    def test_machine(self) -> None:
        """Certificates that are not there, not theirs, or over; users that do not exist; data that cannot be written."""
        from moxtwisted.server.certificates.selfsigned import self_signed

        path = self.files()
        first, second = self_signed(("a.example",), now=0.0, days=1.0), self_signed(("b.example",), now=2e9)
        for name, data in (
            ("a.crt", first[0]),
            ("a.key", first[1]),
            ("b.key", second[1]),
            ("x", b"nonsense"),
        ):
            path.with_name(name).write_bytes(data)
        pairs = [("a.crt", "a.key"), ("a.crt", "b.key"), ("x", "a.key"), ("a.crt", "x"), ("no.crt", "no.key")]
        listed = ", ".join(f'{{certificate = "{c}", key = "{k}"}}' for c, k in pairs)
        path.write_text(
            'user = "nobody-of-that-name"\ndata_directory = "x"\n'
            + STATIC
            + f"[listeners.public.tls]\ncertificates = [{listed}]\n"
        )
        _, _, err = self.run_command("-c", str(path), "config", "test")
        for expected in (
            "certificates[0].certificate: a certificate that ended 1970-01-02",
            "certificates[1].key: another certificate's key",
            "certificates[2].certificate: a PEM certificate expected",
            "certificates[3].key: a PEM private key",
            "no.crt: cannot be read",
            "no.key: cannot be read",
            "no user nobody-of-that-name",
            "x is no directory",
        ):
            self.assertIn(expected, err)

    def test_no_configuration(self) -> None:
        """Where there is no mox.conf, a command says how to name it, and where that of localserve is."""
        folder = Path(self.mktemp())
        local = folder / "moxmail-localserve" / "mox.conf"
        local.parent.mkdir(parents=True)
        local.write_text("")
        self.patch(session, "default_path", lambda: folder / "mox.conf")
        self.patch(os, "environ", {**os.environ, "XDG_DATA_HOME": str(folder.absolute())})
        status, _, err = self.run_command("config", "test")
        self.assertEqual(status, 78)
        self.assertIn("-c FILE", err)
        self.assertIn(f"-c {local.absolute()}", err)

    def test_key_show(self) -> None:
        """Key show prints the recovery key, or says that there is none."""
        from moxtwisted.config.storekey import create_key_file, new_key, recovery_form

        path, key = self.files(), new_key()
        create_key_file(path.with_name("store.key"), key)
        self.assertEqual(self.run_command("-c", str(path), "key", "show"), (0, recovery_form(key) + "\n", ""))
        path.write_text(STATIC + "[store]\nencryption = false\n")
        status, _, err = self.run_command("-c", str(path), "key", "show")
        self.assertEqual((status, err), (1, "moxmail: encryption is off: there is no key\n"))

    def test_key_show_ciphers(self) -> None:
        """Beside the key, not with it, it says what the databases are encrypted with, and what new ones get."""
        from moxtwisted.config.storekey import create_key_file, new_key, recovery_form
        from moxtwisted.store import ciphers, database
        from moxtwisted.store.keys import MasterKey

        path, key = self.files(), new_key()
        create_key_file(path.with_name("store.key"), key)
        (path.parent / "data" / "accounts").mkdir(parents=True)
        names = ("accounts/ann", "accounts/bob", "bans")
        told = []
        for cipher, last in ((ciphers.Cipher.CHACHA20, 2), (ciphers.Cipher.AEGIS, 3)):
            for module in (ciphers, database):
                self.patch(module, "preferred_cipher", lambda cipher=cipher: cipher)
            for name in names[2 * (last == 3) : last]:
                schema = name.partition("/")[0].replace("accounts", "account")
                database.create_database(
                    path.parent / "data" / f"{name}.db", MasterKey(key).derive(name), schema
                )
            status, out, err = self.run_command("-c", str(path), "key", "show")
            self.assertEqual((status, out), (0, recovery_form(key) + "\n"))
            told.append(err.splitlines())
        self.assertEqual(told[0], ["2 databases encrypted with ChaCha20-Poly1305"])
        self.assertEqual(told[1][:2], [*told[0], "1 database encrypted with AEGIS-256"])
        self.assertIn("new ones here get AEGIS-256", told[1][2])


class PasswordTests(SynchronousTestCase):
    def test_generated(self) -> None:
        """Made-up passwords are long, differ, and can be copied with a double click."""
        made = {passwords.generate_password() for _ in range(200)}
        self.assertEqual(len(made), 200)
        for password in made:
            self.assertGreaterEqual(len(password), 12)
            self.assertTrue(password[0].isalnum() and password[-1].isalnum())
            self.assertTrue(password.isascii())

    def test_asked_twice(self) -> None:
        """At a terminal a password is asked for twice."""
        answers = ["one", "two", "one", "one"]
        self.patch(sys, "stdin", Terminal())
        self.patch(passwords.getpass, "getpass", lambda prompt: answers.pop(0))  # type: ignore[attr-defined]
        self.assertRaises(MailError, passwords.ask_password, "bob")
        self.assertEqual(passwords.ask_password("bob"), "one")

    def test_end_of_input(self) -> None:
        """Ctrl-D at the question is no password, and nothing is changed."""
        self.patch(sys, "stdin", Terminal())
        self.patch(sys, "stderr", io.StringIO())
        self.patch(passwords.getpass, "getpass", Mock(side_effect=EOFError))  # type: ignore[attr-defined]
        self.assertIn("nothing was done", str(self.assertRaises(MailError, passwords.ask_password, "bob")))
