"""Edits of the keys that domains sign with: the files, their owner and mode, and what domains.conf says of them."""

from __future__ import annotations

import os
import stat
import time
from itertools import islice
from pathlib import Path

from moxtwisted.config.editsigning import SigningEdits, selector_names
from moxtwisted.config.load import load
from moxtwisted.errors import ConfigurationError, MailError
from moxtwisted.mailauth.dkim.keys import SigningKey, new_private_key
from tests.config.test_edit import DOMAINS, EditTestCase

PEM = {kind: new_private_key(kind) for kind in ("rsa", "ed25519")}
YEAR = time.gmtime().tm_year
BOTH = ["rsa", "ed25519"]


class SigningEditTests(EditTestCase):
    def setUp(self) -> None:
        """Keys need not be new ones."""
        super().setUp()
        self.patch(SigningEdits, "make_key", staticmethod(PEM.__getitem__))

    def states(self) -> dict[str, str]:
        """Of the keys of example.org."""
        domain = load(self.directory / "mox.conf").domains.domains["example.org"]
        return {selector: settings.state for selector, settings in domain.dkim.items()}

    def test_names(self) -> None:
        """New selectors are the year and letters."""
        names = list(islice(selector_names(2026), 60))
        self.assertEqual(
            names[:2] + names[25:28] + names[52:53], ["2026a", "2026b", "2026z", "2026aa", "2026ab", "2026ba"]
        )
        self.assertEqual(len(set(names)), 60)

    def test_generate(self) -> None:
        """The first keys sign at once, later ones wait; files are the server's user's alone; comments stay."""
        rows = self.do(self.editor.dkim_generate("EXAMPLE.org", BOTH, ""))
        self.assertEqual(
            [(row["selector"], row["algorithm"], row["bits"], row["state"]) for row in rows],
            [(f"{YEAR}a", "rsa", 2048, "active"), (f"{YEAR}b", "ed25519", 256, "active")],
        )
        path = self.directory / "dkim" / f"example.org.{YEAR}a.pem"
        self.assertEqual(rows[0]["file"], str(path))
        self.assertEqual(path.read_bytes(), PEM["rsa"])
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(path.parent.stat().st_mode), 0o700)
        self.assertEqual(rows[0]["record"], SigningKey.from_pem("example.org", "x", PEM["rsa"]).record_text())
        self.assertEqual(rows[1]["name"], f"{YEAR}b._domainkey.example.org")
        for line in DOMAINS.splitlines():
            self.assertIn(line, self.path.read_text())
        self.do(self.editor.dkim_generate("example.org", ["ed25519"], ""))
        self.do(self.editor.dkim_generate("example.org", ["ed25519"], "active"))
        self.assertEqual(
            self.states(),
            {f"{YEAR}a": "active", f"{YEAR}b": "active", f"{YEAR}c": "standby", f"{YEAR}d": "active"},
        )
        self.assertEqual(self.changes, 3)

    def test_owner(self) -> None:
        """When root makes keys, they belong to the one whom domains.conf belongs to."""
        if os.geteuid() != 0:
            return
        os.chown(self.path, 12345, 12346)
        row = self.do(self.editor.dkim_generate("example.org", ["ed25519"], ""))[0]
        for path in (row["file"], self.directory / "dkim"):
            status = Path(path).stat()
            self.assertEqual((status.st_uid, status.st_gid), (12345, 12346))

    def test_refused(self) -> None:
        """What cannot be made leaves nothing behind; an unknown domain, kind or state is told."""
        for arguments in (
            ("example.net", BOTH, ""),
            ("example.org", [], ""),
            ("example.org", ["dsa"], ""),
            ("example.org", BOTH, "retired"),
        ):
            self.refused(self.editor.dkim_generate(*arguments))
        self.path.write_text(DOMAINS.replace('domain = "example.org"', 'domain = "no.example"'))
        self.refused(self.editor.dkim_generate("example.org", BOTH, ""), ConfigurationError)
        self.assertFalse((self.directory / "dkim").exists())
        self.path.write_text(DOMAINS + '\n[domains."x.example"]\ndkim = {}\n')
        (self.directory / "dkim").write_text("in the way")
        self.refused(self.editor.dkim_generate("example.org", BOTH, ""))
        self.assertEqual(self.states(), {})

    def test_old_files_stay(self) -> None:
        """A selector whose file is still there is not used again: its record may still be published."""
        self.do(self.editor.dkim_generate("example.org", ["rsa"], ""))
        (note,) = self.do(self.editor.dkim_remove("example.org", f"{YEAR}a"))
        self.assertIn(f"dkim/example.org.{YEAR}a.pem", note)
        self.assertEqual(self.states(), {})
        (row,) = self.do(self.editor.dkim_generate("example.org", ["rsa"], ""))
        self.assertEqual(row["selector"], f"{YEAR}b")

    def test_rotate(self) -> None:
        """Keys in standby sign, those of the same kinds that did are retired, others go on; nothing in standby is told."""
        self.do(self.editor.dkim_generate("example.org", BOTH, ""))
        self.refused(self.editor.dkim_rotate("example.org"))
        self.do(self.editor.dkim_generate("example.org", ["rsa"], ""))
        notes = self.do(self.editor.dkim_rotate("example.org"))
        self.assertEqual(self.states(), {f"{YEAR}a": "retired", f"{YEAR}b": "active", f"{YEAR}c": "active"})
        self.assertIn(f"moxmail dkim rm example.org {YEAR}a", notes[0])
        self.assertEqual(notes[1], f"{YEAR}c signs now")

    def test_state(self) -> None:
        """A key is put into a state; unknown keys and states are refused."""
        self.do(self.editor.dkim_generate("example.org", ["rsa"], ""))
        self.do(self.editor.dkim_state("example.org", f"{YEAR}a", "retired"))
        self.assertEqual(self.states(), {f"{YEAR}a": "retired"})
        self.refused(self.editor.dkim_state("example.org", "x", "active"))
        self.refused(self.editor.dkim_state("example.org", f"{YEAR}a", "asleep"), ConfigurationError)
        self.refused(self.editor.dkim_remove("example.org", "x"))

    def test_list(self) -> None:
        """A key that cannot be read is listed with the reason."""
        self.do(self.editor.dkim_generate("example.org", ["rsa"], ""))
        (self.directory / "dkim" / f"example.org.{YEAR}a.pem").unlink()
        (row,) = self.do(self.editor.dkim_list(""))
        self.assertIn("cannot be read", row["problem"])
        self.assertEqual((row["algorithm"], row["bits"], row["record"]), ("", 0, ""))
        self.refused(self.editor.dkim_list("no.example"))

    def test_bound(self) -> None:
        """A domain has a hundred keys at most."""
        selectors = "".join(f'k{n} = {{private_key_file = "x"}}\n' for n in range(100))
        self.path.write_text(
            DOMAINS.replace(
                "[accounts.alice]", f'[domains."example.org".dkim]\n{selectors}\n[accounts.alice]', 1
            )
        )
        error: MailError = self.refused(self.editor.dkim_generate("example.org", ["rsa"], ""))
        self.assertIn("100 keys", error.detail)
