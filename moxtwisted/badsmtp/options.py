"""What settings there are, read off ``Settings`` and ``LogSettings``: names, kinds, and the sentences that explain them.

::

    for option in options():
        option.name, option.flag, option.variable     # "tls_port", "--tls-port", "BADSMTP_TLS_PORT"

Who adds a setting there, with a line of its docstring, has added flag, variable, key and help.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final, Union, get_args, get_origin

import attrs
from attrs import frozen

from moxtwisted.badsmtp.interfaces import Level
from moxtwisted.badsmtp.settings import LogSettings, Settings

__all__ = ["CHOICES", "MAPPING_PREFIX", "OFF", "PREFIX", "Option", "options"]

#: What a listener is set to that is not wanted.
OFF: Final = "off"
PREFIX: Final = "BADSMTP_"
MAPPING_PREFIX: Final = "BADSMTP_HOSTNAME_MAPPING_"
#: The words that a setting may have.
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "log_level": tuple(level.value for level in Level),
    "log_format": ("json", "text"),
    "log_output": ("stdout", "stderr", "syslog", "tcp", "udp", "off"),
    "syslog_facility": ("mail", "daemon", *(f"local{n}" for n in range(8))),
}

_IVAR: Final = re.compile(r":ivar (\w+): (.*?)(?=\n\s*:ivar |\Z)", re.DOTALL)


@frozen
class Option:
    """One setting.

    :ivar name: the key in the file.
    :ivar kind: ``port``, ``number``, ``bool``, ``text`` or ``mapping``.
    :ivar text: one phrase that explains it, without a full stop.
    :ivar log: whether it is one of ``LogSettings``.
    """

    name: str
    kind: str
    default: Any
    text: str
    log: bool = False

    @property
    def flag(self) -> str:
        """On the command line."""
        named = {"mailbox_dir": "--mailbox", "hostname_mailbox_map": "--hostname-mapping"}
        return named.get(self.name) or "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """In the environment."""
        if self.kind == "mapping":
            return MAPPING_PREFIX + "x_y"
        return self.name.upper() if self.log else PREFIX + self.name.upper()

    @property
    def expected(self) -> str:
        """What a value is, in words."""
        if self.name in CHOICES:
            return "one of " + ", ".join(CHOICES[self.name])
        return {
            "port": 'a port from 0 (any free one) to 65535, or "off"',
            "number": "a whole number, at least 1",
            "bool": "true or false",
            "text": "a text",
            "mapping": "host names with a directory each",
        }[self.kind]


def options() -> tuple[Option, ...]:
    """All settings, in the order of the documentation."""
    return (*_options_of(Settings, log=False), *_options_of(LogSettings, log=True))


def _options_of(cls: Any, *, log: bool) -> Iterator[Option]:
    hints = typing.get_type_hints(cls)
    # Without docstrings (python -OO) the help is short.
    texts = {name: " ".join(text.split()) for name, text in _IVAR.findall(cls.__doc__ or "")}
    for attribute in attrs.fields(cls):
        default = attribute.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class, at run time
            default = default.factory()
        text = texts.get(attribute.name, "").removesuffix(".")
        yield Option(attribute.name, _kind(hints[attribute.name]), default, text, log)


def _kind(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType) and set(get_args(hint)) == {int, type(None)}:
        return "port"
    return {int: "number", bool: "bool", str: "text", Mapping[str, str]: "mapping"}[hint]
