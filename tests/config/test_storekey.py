"""The key of the store: its form for people, its file, its other sources."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.config.load import LoadedConfig, parse_domains, parse_static
from moxtwisted.config.storekey import (
    create_key_file,
    key_variables,
    new_key,
    parse_key,
    read_key,
    recovery_form,
    write_key,
)
from moxtwisted.errors import KeyRefusedError
from tests.config.test_load import DOMAINS, STATIC

KEYS = st.binary(min_size=32, max_size=32)


class FormTests(SynchronousTestCase):
    @settings(max_examples=100)
    @given(KEYS)
    def test_round_trip(self, key: bytes) -> None:
        """What is printed is read again, in any case and with any spacing."""
        text = recovery_form(key)
        self.assertEqual(parse_key(text), key)
        self.assertEqual(parse_key(" " + text.lower().replace("-", " ") + "\n"), key)
        self.assertEqual(
            parse_key("# a note\n" + text.replace("O", "0").replace("I", "1").replace("B", "8")), key
        )

    @settings(max_examples=100)
    @given(KEYS, st.integers(0, 55), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
    def test_slip_of_the_pen(self, key: bytes, at: int, wrong: str) -> None:
        """One wrong character is noticed."""
        text = recovery_form(key).replace("-", "")
        if text[at] != wrong and not (at == 51 and self.same_bits(text[at], wrong)):
            self.assertRaises(KeyRefusedError, parse_key, text[:at] + wrong + text[at + 1 :])

    def same_bits(self, a: str, b: str) -> bool:
        """Whether two last characters differ only in the bits that fill up base32."""
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
        return alphabet.index(a) >> 4 == alphabet.index(b) >> 4

    def test_errors_do_not_repeat_the_text(self) -> None:
        """A refused key is not shown."""
        for text in ("", "SECRETSECRET", "!" * 56, "A" * 5000, recovery_form(b"x" * 32)[:-1] + "?"):
            error = self.assertRaises(KeyRefusedError, parse_key, text)
            self.assertNotIn(text or "\0", str(error))


class SourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A configuration in a directory."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.key = new_key()

    def loaded(self, store: str = "") -> LoadedConfig:
        """With these lines in [store]."""
        static = parse_static((STATIC + "[store]\n" + store).encode())
        domains = parse_domains(DOMAINS.encode())
        return LoadedConfig(static, domains, self.directory / "mox.conf", self.directory / "domains.conf")

    def test_file(self) -> None:
        """The key file is for its owner alone, and is read."""
        create_key_file(self.directory / "store.key", self.key)
        self.assertEqual(stat.S_IMODE((self.directory / "store.key").stat().st_mode), 0o600)
        self.assertEqual(read_key(self.loaded(), {}), self.key)

    def test_file_is_never_overwritten_by_accident(self) -> None:
        """Making a key where one is fails."""
        create_key_file(self.directory / "store.key", self.key)
        self.assertRaises(FileExistsError, create_key_file, self.directory / "store.key", new_key())
        self.assertEqual(read_key(self.loaded(), {}), self.key)

    def test_replace(self) -> None:
        """Rotation replaces the file and leaves its mode."""
        create_key_file(self.directory / "store.key", self.key)
        other = new_key()
        write_key(self.loaded(), other)
        self.assertEqual(read_key(self.loaded(), {}), other)
        self.assertEqual(stat.S_IMODE((self.directory / "store.key").stat().st_mode), 0o600)
        self.assertEqual([path.name for path in self.directory.iterdir()], ["store.key"])

    def test_missing(self) -> None:
        """A missing key is refused with the place where it was looked for."""
        error = self.assertRaises(KeyRefusedError, read_key, self.loaded(), {})
        self.assertIn(str(self.directory / "store.key"), error.detail)

    def test_environment(self) -> None:
        """The key can come from the environment, and cannot be replaced from here then."""
        loaded = self.loaded('key_environment = "K"\n')
        self.assertEqual(read_key(loaded, {"K": recovery_form(self.key)}), self.key)
        self.assertIn("K: not set", self.assertRaises(KeyRefusedError, read_key, loaded, {}).detail)
        self.assertRaises(KeyRefusedError, write_key, loaded, self.key)
        self.assertEqual(key_variables(loaded.static), ("K", "CREDENTIALS_DIRECTORY"))
        self.assertEqual(key_variables(self.loaded().static), ("CREDENTIALS_DIRECTORY",))

    def test_credential(self) -> None:
        """The key can be a systemd credential."""
        loaded = self.loaded('key_credential = "moxmail.key"\n')
        (self.directory / "moxmail.key").write_text(recovery_form(self.key))
        environ = {"CREDENTIALS_DIRECTORY": str(self.directory)}
        self.assertEqual(read_key(loaded, environ), self.key)
        self.assertIn("systemd", self.assertRaises(KeyRefusedError, read_key, loaded, {}).detail)

    def test_off(self) -> None:
        """Without encryption there is no key."""
        self.assertIsNone(read_key(self.loaded("encryption = false\n"), {}))

    def test_garbage(self) -> None:
        """A file that is no key is refused."""
        (self.directory / "store.key").write_bytes(b"\xff" * 10000)
        self.assertRaises(KeyRefusedError, read_key, self.loaded(), {})

    def test_relative_to_the_configuration(self) -> None:
        """The key lies beside mox.conf even when the data does not."""
        loaded = self.loaded()
        elsewhere = msgspec.structs.replace(loaded.static, data_directory="/srv/mail")
        create_key_file(self.directory / "store.key", self.key)
        other = LoadedConfig(elsewhere, loaded.domains, loaded.static_path, loaded.domains_path)
        self.assertEqual(read_key(other, {}), self.key)
