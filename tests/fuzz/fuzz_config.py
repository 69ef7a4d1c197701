"""Fuzz both configuration files, the recovery key, and edits of domains.conf.

Whatever the octets, reading ends with a configuration or with problems that can be printed; an edit leaves a valid file or
the old one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.internet.defer import ensureDeferred

from moxtwisted.config.edit import ConfigurationEditor
from moxtwisted.config.load import load, parse_domains, parse_static
from moxtwisted.config.storekey import parse_key, recovery_form
from moxtwisted.errors import ConfigurationError, KeyRefusedError, MailError
from tests.config.test_load import STATIC
from tests.fuzz.run import alone
from tests.fuzz.watching import within


def printable(error: ConfigurationError) -> None:
    """Problems are lines for a terminal."""
    if not error.problems:
        raise AssertionError(error)
    for problem in error.problems:
        if "\x1b" in problem or len(problem) > 5000:
            raise AssertionError(problem)


def key(data: bytes) -> None:
    """What is taken as a key is printed as one that is the same."""
    try:
        taken = parse_key(data.decode("ascii", "replace"))
    except KeyRefusedError:
        return
    if parse_key(recovery_form(taken)) != taken:
        raise AssertionError(data)


def edited(data: bytes) -> None:
    """A valid file that is edited is valid, and one that cannot be edited is the same as before."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "mox.conf"
        path.write_text(STATIC)
        domains = path.with_name("domains.conf")
        domains.write_bytes(data)
        try:
            before = load(path).domains
        except ConfigurationError as e:
            printable(e)
            return
        outcome: list[object] = []
        editor = ConfigurationEditor(path)
        ensureDeferred(editor.domain_add("added.example", "", False)).addBoth(outcome.append)
        error = getattr(outcome[0], "value", None)
        if error is None:
            after = load(path).domains
            if {**before.domains, "added.example": after.domains["added.example"]} != after.domains:
                raise AssertionError(data)
            if after.accounts != before.accounts:
                raise AssertionError(data)
        elif not isinstance(error, MailError) or domains.read_bytes() != data:
            raise AssertionError((data, error))


def one(data: bytes) -> None:
    """Try one input; its first octet chooses what it is taken for."""
    if not data:
        return
    choice, text = data[0] % 4, data[1:]
    within(100_000 + 2000 * len(data), data, lambda: try_as(choice, text))


def try_as(choice: int, text: bytes) -> None:
    """One kind of input."""
    if choice == 0:
        key(text)
    elif choice == 1:
        edited(text)
    else:
        try:
            if choice == 2:
                parse_static(text)
            else:
                parse_domains(text)
        except ConfigurationError as e:
            printable(e)


def main() -> None:
    """Run under atheris."""
    alone(__name__)


if __name__ == "__main__":
    main()
