r"""What a client says, read into values.

::

    >>> parse(b"RETR 3")
    Retrieve(verb='RETR', number=3)
    >>> parse(b"PASS two words")
    Password(verb='PASS', password='two words')

RFC 2449 section 3 has the grammar. Keywords have no case; what a number is, is ASCII digits and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import field, frozen

__all__ = [
    "Authenticate",
    "Command",
    "ListMessages",
    "Password",
    "Retrieve",
    "SyntaxProblem",
    "Top",
    "UserName",
    "parse",
]

#: A number of a message that cannot be meant: more digits than any maildrop has messages.
_DIGITS: Final = 10


class SyntaxProblem(Exception):  # noqa: N818  (a value, nearly: what is wrong with a line)
    """A line is no command; ``text`` says why, in ASCII."""

    def __init__(self, text: str, verb: str = "") -> None:
        self.text = text
        self.verb = verb
        super().__init__(text)


@frozen
class Command:
    """A command without arguments, and what all others have: ``verb``, in upper case."""

    verb: str


@frozen
class UserName(Command):
    """USER."""

    name: str


@frozen
class Password(Command):
    """PASS."""

    password: str = field(repr=False)


@frozen
class Authenticate(Command):
    """AUTH: the mechanism in upper case and the initial response as it stands there, or None."""

    mechanism: str
    initial: bytes | None = field(repr=False)


@frozen
class ListMessages(Command):
    """LIST and UIDL; ``number`` None for all."""

    number: int | None


@frozen
class Retrieve(Command):
    """RETR and DELE."""

    number: int


@frozen
class Top(Command):
    """TOP: the header, and so many lines of the body."""

    number: int
    lines: int


def parse(line: bytes) -> Command:
    """Read one command.

    :param line: without its line end.
    :raise SyntaxProblem: it is none.
    """
    keyword, space, rest = line.partition(b" ")
    verb = keyword.upper().decode("ascii", "replace")
    make = _COMMANDS.get(verb)
    if make is None:
        raise SyntaxProblem("unknown command")
    return make(verb, rest if space else None)


def _plain(verb: str, rest: bytes | None) -> Command:
    if rest is not None and rest.strip(b" "):
        raise SyntaxProblem("no argument is allowed", verb)
    return Command(verb)


def _text(verb: str, rest: bytes | None) -> str:
    if not rest:
        raise SyntaxProblem("an argument is missing", verb)
    try:
        text = rest.decode("utf-8")
    except UnicodeDecodeError:
        raise SyntaxProblem("the argument is not UTF-8", verb) from None
    if "\0" in text:
        raise SyntaxProblem("the argument has a NUL", verb)
    return text


def _user(verb: str, rest: bytes | None) -> Command:
    return UserName(verb, _text(verb, rest))


def _password(verb: str, rest: bytes | None) -> Command:
    # RFC 1939 section 7: since PASS has one argument only, spaces in it are part of the password.
    return Password(verb, _text(verb, rest))


def _authenticate(verb: str, rest: bytes | None) -> Command:
    words = (rest or b"").split(b" ")
    if not words[0] or len(words) > 2:
        raise SyntaxProblem("a mechanism is missing" if not words[0] else "too many arguments", verb)
    initial = words[1] if len(words) == 2 else None
    return Authenticate(verb, words[0].decode("ascii", "replace").upper(), initial)


def _number(verb: str, word: bytes) -> int:
    if not word.isdigit() or len(word) > _DIGITS:
        raise SyntaxProblem("not a number", verb)
    return int(word)


def _list(verb: str, rest: bytes | None) -> Command:
    words = (rest or b"").split()
    if len(words) > 1:
        raise SyntaxProblem("too many arguments", verb)
    return ListMessages(verb, _number(verb, words[0]) if words else None)


def _retrieve(verb: str, rest: bytes | None) -> Command:
    words = (rest or b"").split()
    if len(words) != 1:
        raise SyntaxProblem("the number of a message is needed", verb)
    return Retrieve(verb, _number(verb, words[0]))


def _top(verb: str, rest: bytes | None) -> Command:
    words = (rest or b"").split()
    if len(words) != 2:
        raise SyntaxProblem("the number of a message and one of lines are needed", verb)
    return Top(verb, _number(verb, words[0]), _number(verb, words[1]))


_COMMANDS: Final[dict[str, Callable[[str, bytes | None], Command]]] = {
    "CAPA": _plain,
    "STLS": _plain,
    "STAT": _plain,
    "NOOP": _plain,
    "RSET": _plain,
    "QUIT": _plain,
    "USER": _user,
    "PASS": _password,
    "AUTH": _authenticate,
    "LIST": _list,
    "UIDL": _list,
    "RETR": _retrieve,
    "DELE": _retrieve,
    "TOP": _top,
}
