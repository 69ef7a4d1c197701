"""Passwords: made up, asked for, or read from standard input; never an argument, which everybody could see."""

from __future__ import annotations

import getpass
import secrets
import sys
from typing import Final, TextIO

from moxtwisted.errors import MailError

__all__ = ["ask_password", "generate_password", "read_password"]

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


def read_password(file: TextIO) -> str:
    """One line, without its end.

    :raise MailError: when there is none.
    """
    line = file.readline(_MAX_OCTETS + 2)
    password = line.rstrip("\r\n")
    if not password or len(password) > _MAX_OCTETS:
        raise MailError(
            f"one line with a password of 1 to {_MAX_OCTETS} characters expected on standard input"
        )
    return password


def ask_password(account: str) -> str:
    """Ask twice at a terminal; else read one line.

    :raise MailError: when the two differ.
    """
    if not sys.stdin.isatty():
        return read_password(sys.stdin)
    password = getpass.getpass(f"New password for {account}: ")
    if getpass.getpass("Again: ") != password:
        raise MailError("the two passwords differ; nothing was changed")
    return password
