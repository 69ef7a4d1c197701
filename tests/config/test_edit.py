"""Edits of domains.conf: the change, all of the change, nothing but the change, and the comments stay."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from moxtwisted.config.edit import ConfigurationEditor
from moxtwisted.config.load import load
from moxtwisted.config.schema import Alias, Destination, DomainsConfig
from moxtwisted.errors import ConfigurationError, MailError
from moxtwisted.server.control.interfaces import IConfigurationEditor
from tests.config.test_load import STATIC

DOMAINS = """# The domains of the family.

[domains."example.org"]  # the main one
# people may use suffixes
localpart_separators = ["+"]

# Who is who.
[accounts.alice]
domain = "example.org"   # at home

[accounts.alice.addresses]
"alice@example.org" = {}  # main
# old name
"al@example.org" = {mailbox = "Old"}
"""


class EditTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Both files, and an editor that counts."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.path = self.directory / "domains.conf"
        (self.directory / "mox.conf").write_text("# static\n" + STATIC)
        self.path.write_text(DOMAINS)
        self.changes = 0
        self.editor = ConfigurationEditor(self.directory / "mox.conf", self.count)

    def count(self) -> None:
        """One change more."""
        self.changes += 1

    def do(self, awaitable: Awaitable[Any]) -> Any:
        """The result of an operation."""
        return self.successResultOf(ensureDeferred(awaitable))  # type: ignore[arg-type]

    def refused(self, awaitable: Awaitable[Any], kind: type[MailError] = MailError) -> Any:
        """The refusal of an operation, which changed nothing."""
        before = self.path.read_text()
        error = self.failureResultOf(ensureDeferred(awaitable), kind).value  # type: ignore[arg-type]
        self.assertEqual(self.path.read_text(), before)
        return error

    @property
    def domains(self) -> DomainsConfig:
        """What the file says now."""
        return load(self.directory / "mox.conf").domains

    def kept_comments(self) -> None:
        """Every comment of the operator is there."""
        text = self.path.read_text()
        for line in DOMAINS.splitlines():
            if "#" in line:
                self.assertIn(line[line.index("#") :], text)


class AccountEditTests(EditTestCase):
    def test_interface(self) -> None:
        """The editor has all that the server asks for."""
        verifyClass(IConfigurationEditor, ConfigurationEditor)

    def test_add_and_remove(self) -> None:
        """An account comes with its address and name, and goes again without a trace."""
        before = self.domains
        self.editor.add_account("bob", "bob@example.org", "Bob B.")
        bob = self.domains.accounts["bob"]
        self.assertEqual((bob.domain, bob.full_name), ("example.org", "Bob B."))
        self.assertEqual(bob.addresses, {"bob@example.org": Destination()})
        self.assertEqual(self.domains.accounts["alice"], before.accounts["alice"])
        self.kept_comments()
        self.assertEqual(self.editor.remove_account("bob"), [])
        self.assertEqual(self.domains, before)
        self.kept_comments()
        self.assertEqual(self.changes, 2)

    def test_add_twice(self) -> None:
        """A name that is taken is refused."""
        self.assertRaises(MailError, self.editor.add_account, "alice", "a2@example.org", "")

    def test_add_with_a_bad_name_or_address(self) -> None:
        """What would not be valid is refused with the reasons, and nothing changes."""
        for name, address in (
            ("A b", "b@example.org"),
            ("bob", "bob@else.example"),
            ("bob", "al@example.org"),
            ("b", "b"),
        ):
            self.assertRaises(ConfigurationError, self.editor.add_account, name, address, "")
        self.assertEqual(self.path.read_text(), DOMAINS)
        self.assertEqual(self.changes, 0)

    def test_remove_leaves_aliases(self) -> None:
        """Who is removed leaves the aliases; one that is empty then goes, and we are told."""
        self.editor.add_account("bob", "bob@example.org", "")
        self.do(
            self.editor.alias_add("team@example.org", ["alice@example.org", "BOB@example.org"], True, False)
        )
        self.do(self.editor.alias_add("solo@example.org", ["bob@example.org"], True, False))
        notes = self.editor.remove_account("bob")
        self.assertEqual(len(notes), 3)
        aliases = self.domains.domains["example.org"].aliases
        self.assertEqual(aliases, {"team": Alias(addresses=("alice@example.org",))})

    def test_postmaster_stays(self) -> None:
        """The postmaster's account cannot be removed."""
        error = self.assertRaises(MailError, self.editor.remove_account, "alice")
        self.assertIn("alice is the postmaster's account", error.explanation)
        self.assertEqual(self.path.read_text(), DOMAINS)

    def test_disable_and_enable(self) -> None:
        """Disabling notes the message, enabling removes it."""
        self.do(self.editor.account_disable("alice", 'call "us"'))
        self.assertEqual(self.domains.accounts["alice"].disabled, 'call "us"')
        self.do(self.editor.account_disable("alice", ""))
        self.assertTrue(self.domains.accounts["alice"].disabled)
        self.do(self.editor.account_enable("alice"))
        self.do(self.editor.account_enable("alice"))
        self.assertEqual(self.path.read_text(), DOMAINS)

    def test_unknown(self) -> None:
        """What is not there cannot be changed."""
        self.refused(self.editor.account_disable("bob", "x"))
        self.refused(self.editor.account_enable("bob"))
        self.refused(self.editor.address_add("x@example.org", "bob", ""))
        self.refused(self.editor.address_remove("x@example.org"))
        self.refused(self.editor.domain_disable("else.example"))
        self.refused(self.editor.domain_remove("else.example"))
        self.refused(self.editor.alias_remove("x@example.org"))
        self.refused(self.editor.alias_add("x@else.example", ["alice@example.org"], True, False))
        self.refused(self.editor.alias_list("else.example"))

    def test_addresses(self) -> None:
        """Addresses come and go, in any spelling, with their mailbox, and with the catch-all."""
        self.do(self.editor.address_add("@example.org", "alice", "Rest"))
        self.do(self.editor.address_add("info@example.org", "alice", "INBOX"))
        addresses = self.domains.accounts["alice"].addresses
        self.assertEqual(addresses["@example.org"].mailbox, "Rest")
        self.assertEqual(addresses["info@example.org"], Destination())
        self.do(self.editor.address_remove("INFO@Example.org"))
        self.do(self.editor.address_remove("@example.org"))
        self.assertEqual(self.path.read_text(), DOMAINS)

    def test_removed_address_leaves_aliases(self) -> None:
        """An address that goes is no member of an alias any more."""
        self.do(
            self.editor.alias_add("team@example.org", ["al@example.org", "alice@example.org"], True, False)
        )
        self.assertEqual(len(self.do(self.editor.address_remove("al@example.org"))), 1)

    def test_lists(self) -> None:
        """Lists have what the tables show."""
        self.assertEqual(self.editor.accounts()[0]["addresses"], ["alice@example.org", "al@example.org"])
        self.assertEqual(self.do(self.editor.domain_list())[0]["addresses"], 2)
        self.assertEqual(
            self.do(self.editor.address_list())[0],
            {"address": "alice@example.org", "account": "alice", "mailbox": "INBOX"},
        )


class DomainEditTests(EditTestCase):
    def test_domain(self) -> None:
        """A domain comes, is disabled, enabled, and goes."""
        self.do(self.editor.domain_add("münchen.example", "a note", True))
        domain = self.domains.domains["münchen.example"]
        self.assertEqual((domain.disabled, domain.description), (True, "a note"))
        self.do(self.editor.domain_enable("xn--mnchen-3ya.example"))
        self.assertFalse(self.domains.domains["münchen.example"].disabled)
        self.do(self.editor.domain_disable("MÜNCHEN.example"))
        self.kept_comments()
        self.do(self.editor.domain_remove("münchen.example"))
        self.assertEqual(list(self.domains.domains), ["example.org"])
        self.kept_comments()

    def test_domain_in_use(self) -> None:
        """A domain with accounts stays, and the refusal is one sentence that names them."""
        self.do(self.editor.domain_add("other.example", "", False))
        self.editor.add_account("bob", "bob@other.example", "")
        self.do(self.editor.address_add("info@EXAMPLE.org", "bob", ""))
        self.editor.add_account("carol", "carol@other.example", "")
        error = self.refused(self.editor.domain_remove("Example.ORG"))
        self.assertIn("domain example.org is in use by alice, bob:", error.explanation)
        self.assertNotIn("\n", error.explanation)

    def test_domain_with_aliases(self) -> None:
        """What goes with a domain is told, so that it can be entered again."""
        self.do(self.editor.domain_add("other.example", "", False))
        self.do(self.editor.alias_add("team@other.example", ["alice@example.org"], True, False))
        notes = self.do(self.editor.domain_remove("other.example"))
        self.assertEqual(notes, ["the alias team@other.example was removed with it: alice@example.org"])

    def test_alias(self) -> None:
        """An alias comes, changes, gains and loses members, and goes."""
        self.editor.add_account("bob", "bob@example.org", "")
        self.do(self.editor.alias_add("team@example.org", ["alice@example.org"], False, True))
        self.assertEqual(
            self.do(self.editor.alias_list("Example.org")),
            [
                {
                    "address": "team@example.org",
                    "members": ["alice@example.org"],
                    "post_public": False,
                    "allow_message_from": True,
                }
            ],
        )
        self.do(self.editor.alias_update("TEAM@example.org", True, None))
        self.do(self.editor.alias_add_members("team@example.org", ["Alice@example.org", "bob@example.org"]))
        alias = self.domains.domains["example.org"].aliases["team"]
        self.assertEqual(
            alias,
            Alias(
                addresses=("alice@example.org", "bob@example.org"), post_public=True, allow_message_from=True
            ),
        )
        self.do(self.editor.alias_remove_members("team@example.org", ["ALICE@example.org"]))
        self.refused(self.editor.alias_remove_members("team@example.org", ["alice@example.org"]))
        self.refused(
            self.editor.alias_remove_members("team@example.org", ["bob@example.org"]), ConfigurationError
        )
        self.refused(
            self.editor.alias_add_members("team@example.org", ["x@else.example"]), ConfigurationError
        )
        self.do(self.editor.alias_remove("team@example.org"))
        self.assertEqual(self.domains.domains["example.org"].aliases, {})
        self.kept_comments()

    @settings(max_examples=60)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    ["account", "drop", "address", "undo", "domain", "alias", "disable", "enable", "unalias"]
                ),
                st.sampled_from(["bob", "carol", "dave"]),
            ),
            max_size=12,
        )
    )
    def test_any_order(self, steps: list[tuple[str, str]]) -> None:
        """After any edits the file is valid, has every comment, and says what a plain model of the edits says."""
        self.path.write_text(DOMAINS)
        model: dict[str, tuple[set[str], str]] = {"alice": ({"alice@example.org", "al@example.org"}, "")}
        aliases: set[str] = set()
        for step, name in steps:
            try:
                if step == "account":
                    self.editor.add_account(name, f"{name}@example.org", "")
                    model[name] = ({f"{name}@example.org"}, "")
                elif step == "drop":
                    self.editor.remove_account(name)
                    del model[name]
                elif step == "address":
                    self.run_now(self.editor.address_add(f"x{name}@example.org", name, ""))
                    model[name][0].add(f"x{name}@example.org")
                elif step == "undo":
                    self.run_now(self.editor.address_remove(f"x{name}@example.org"))
                    model[name][0].discard(f"x{name}@example.org")
                elif step == "domain":
                    self.run_now(self.editor.domain_add(f"{name}.example", "", False))
                elif step == "alias":
                    self.run_now(
                        self.editor.alias_add(f"a{name}@example.org", ["alice@example.org"], True, False)
                    )
                    aliases.add(f"a{name}")
                elif step == "unalias":
                    self.run_now(self.editor.alias_remove(f"a{name}@example.org"))
                    aliases.discard(f"a{name}")
                else:
                    text = "off" if step == "disable" else ""
                    operation = (
                        self.editor.account_disable(name, "off") if text else self.editor.account_enable(name)
                    )
                    self.run_now(operation)
                    model[name] = (model[name][0], text)
            except MailError:
                pass
        accounts = self.domains.accounts
        self.assertEqual({n: (set(a.addresses), a.disabled) for n, a in accounts.items()}, model)
        self.assertEqual(set(self.domains.domains["example.org"].aliases), aliases)
        self.kept_comments()

    def run_now(self, awaitable: Awaitable[Any]) -> None:
        """Do it, or raise."""
        results: list[Any] = []
        ensureDeferred(awaitable).addBoth(results.append)  # type: ignore[arg-type]
        if isinstance(results[0], Exception) or hasattr(results[0], "raiseException"):
            results[0].raiseException()


class FileTests(EditTestCase):
    def test_operator_left_it_invalid(self) -> None:
        """A file with mistakes of the operator is not touched."""
        self.path.write_text(DOMAINS + "nonsense = 1\n")
        error = self.refused(self.editor.domain_add("x.example", "", False), ConfigurationError)
        self.assertIn("nonsense", error.problems[0])

    def test_mode_and_link(self) -> None:
        """The file keeps its mode, and a symbolic link stays one."""
        real = self.directory / "real.conf"
        self.path.rename(real)
        self.path.symlink_to(real)
        real.chmod(0o604)
        self.do(self.editor.domain_add("x.example", "", False))
        self.assertTrue(self.path.is_symlink())
        self.assertEqual(stat.S_IMODE(real.stat().st_mode), 0o604)
        self.assertIn("x.example", real.read_text())

    def test_crash_before_the_rename(self) -> None:
        """When the disk refuses, the old file is whole and no temporary file stays."""

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        self.assertRaises(OSError, self.editor.add_account, "bob", "bob@example.org", "")
        self.assertEqual(self.path.read_text(), DOMAINS)
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), ["domains.conf", "mox.conf"])

    def test_synced_before_renamed(self) -> None:
        """The octets are on disk before the name points to them, and the name before we say so."""
        events: list[str] = []
        real_fsync, real_replace = os.fsync, Path.replace

        def fsync(descriptor: int) -> None:
            events.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
            real_fsync(descriptor)

        def replace(path: Path, target: Path) -> Path:
            events.append("rename")
            return real_replace(path, target)

        self.patch(os, "fsync", fsync)
        self.patch(Path, "replace", replace)
        self.do(self.editor.domain_add("x.example", "", False))
        self.assertEqual(events, ["file", "rename", "directory"])

    def test_encryption(self) -> None:
        """Switching encryption is noted in mox.conf, whose comments stay."""
        self.editor.set_encryption(False)
        text = (self.directory / "mox.conf").read_text()
        self.assertIn("# static", text)
        self.assertFalse(load(self.directory / "mox.conf").static.store.encryption)
        self.editor.set_encryption(True)
        self.assertTrue(load(self.directory / "mox.conf").static.store.encryption)

    def test_inline_accounts(self) -> None:
        """A file that somebody wrote with everything on one line is edited as well, or left alone with the reason."""
        self.path.write_text(
            'domains = {"example.org" = {}}\n'
            'accounts = {alice = {domain = "example.org", addresses = {"alice@example.org" = {}}}}\n'
        )
        before = self.path.read_text()
        try:
            self.editor.add_account("bob", "bob@example.org", "")
        except ConfigurationError:
            self.assertEqual(self.path.read_text(), before)
        else:
            self.assertEqual(set(self.domains.accounts), {"alice", "bob"})

    def test_dotted_keys(self) -> None:
        """So is a file with dotted keys."""
        self.path.write_text(
            'domains."example.org" = {}\naccounts.alice.domain = "example.org"\n'
            'accounts.alice.addresses."alice@example.org" = {}\n'
        )
        before = self.path.read_text()
        try:
            self.editor.add_account("bob", "bob@example.org", "")
        except ConfigurationError:
            self.assertEqual(self.path.read_text(), before)
        else:
            self.assertEqual(set(self.domains.accounts), {"alice", "bob"})


class KeyEditTests(EditTestCase):
    def test_keys_come_and_go(self) -> None:
        """The key of a TLS client is noted with the account that has the address, once, and is removed."""
        self.do(self.editor.tls_key_add("al@example.org", "ab" * 32, "laptop", True))
        self.do(self.editor.tls_key_add("alice@example.org", "cd" * 32, "", False))
        keys = self.domains.accounts["alice"].tls_public_keys
        self.assertEqual([(key.login, key.name, key.imap_preauth) for key in keys.values()], [
            ("al@example.org", "laptop", True), ("alice@example.org", "", False)
        ])  # fmt: skip
        self.refused(self.editor.tls_key_add("alice@example.org", "ab" * 32, "", True))
        self.refused(self.editor.tls_key_add("eve@example.org", "ef" * 32, "", True))
        self.refused(self.editor.tls_key_add("alice@example.org", "short", "", True), ConfigurationError)
        [row] = [r for r in self.do(self.editor.tls_key_list("alice")) if r["fingerprint"] == "cd" * 32]
        self.assertEqual(row["login"], "alice@example.org")
        self.refused(self.editor.tls_key_list("eve"))
        self.do(self.editor.tls_key_remove("ab" * 32))
        self.refused(self.editor.tls_key_remove("ab" * 32))
        self.assertEqual(list(self.domains.accounts["alice"].tls_public_keys), ["cd" * 32])
        self.kept_comments()
