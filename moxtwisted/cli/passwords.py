"""Passwords: made up, asked for, or read from standard input; never an argument, which everybody could see."""

from __future__ import annotations

import getpass
import os
import secrets
import sys
from pathlib import Path
from typing import Final, TextIO

from moxtwisted.errors import MailError

__all__ = ["ask_password", "generate_password", "given_password", "read_password"]

#: Without characters that look alike (0 O, 1 l I) and those that shells and configuration files treat specially.
_ALPHABET: Final = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_.+=:"
#: 16 of 63 characters are 95 bits.
_LENGTH: Final = 16
_MAX_OCTETS: Final = 1024


def generate_password() -> str:
    """A password that nobody guesses."""
    while True:
        password = "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
        # A mark at either end gets lost when it is copied by a double click.
        if password[0].isalnum() and password[-1].isalnum():
            return password


def read_password(file: TextIO, source: str = "standard input") -> str:
    """One line, without its end.

    :param source: what the file is called.
    :raise MailError: when there is none.
    """
    try:
        line = file.readline(_MAX_OCTETS + 2)
    except UnicodeDecodeError:
        raise MailError(f"{source}: a password in UTF-8 expected") from None
    password = line.rstrip("\r\n")
    if not password or len(password) > _MAX_OCTETS:
        raise MailError(f"{source}: one line with a password of 1 to {_MAX_OCTETS} characters expected")
    return _in_unicode(password, source)


def _in_unicode(password: str, source: str) -> str:
    """A password that can be said to a server: octets that are no UTF-8 came as surrogates."""
    if any("\ud800" <= c <= "\udfff" for c in password):
        raise MailError(f"{source}: a password in UTF-8 expected")
    return password


def given_password(path: str | None, variable: str, prompt: str) -> str:
    """The password for another server: from a file (``-``: standard input), the environment, a prompt, or standard input.

    :raise MailError: there is none, or it cannot be read.
    """
    if path and path != "-":
        try:
            with Path(path).open(encoding="utf-8") as file:
                return read_password(file, path)
        except OSError as e:
            raise MailError(f"{path}: cannot be read: {e.strerror}") from e
    if not path:
        if variable in os.environ:
            return _in_unicode(os.environ[variable], variable)
        if sys.stdin.isatty():
            return _asked(prompt)
    return read_password(sys.stdin)


def _asked(prompt: str) -> str:
    """At a terminal. :raise MailError: at its end (Ctrl-D)."""
    try:
        return _in_unicode(getpass.getpass(prompt), "terminal")
    except EOFError:
        print(file=sys.stderr)
        raise MailError("no password was entered; nothing was done") from None


def ask_password(account: str) -> str:
    """Ask twice at a terminal; else read one line.

    :raise MailError: when the two differ, or nothing is entered.
    """
    if not sys.stdin.isatty():
        return read_password(sys.stdin)
    password = _asked(f"New password for {account}: ")
    if _asked("Again: ") != password:
        raise MailError("the two passwords differ; nothing was changed")
    return password
