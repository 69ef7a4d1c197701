"""Where the settings of a BadSMTP server come from: command line, then environment, then file, then defaults.

::

    configuration = configure({"port": "2526"}, os.environ)          # raises ConfigurationError with every problem
    configuration.settings.port                                      # 2526
    configuration.sources["port"]                                    # "--port"

A key is called the same everywhere: ``tls_port`` in the file, ``--tls-port`` on the command line, ``BADSMTP_TLS_PORT`` (or, as
BadSMTP spells it, ``BADSMTP_TLSPORT``) in the environment; the log has ``LOG_LEVEL`` and its like.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import msgspec
from attrs import define, field, frozen

from moxtwisted.badsmtp.journal import host_and_port
from moxtwisted.badsmtp.options import CHOICES, MAPPING_PREFIX, OFF, PREFIX, Option, options
from moxtwisted.badsmtp.portranges import overlaps
from moxtwisted.badsmtp.settings import LogSettings, Settings
from moxtwisted.badsmtp.stores import host_name
from moxtwisted.errors import ConfigurationError

__all__ = ["EXPORTED", "Configuration", "configure", "print_configuration", "search_paths"]

#: Variables that ``moxmail badsmtp --exec`` gives to the command besides those of settings. They are no settings.
EXPORTED: Final = frozenset(("BADSMTP_HOST", "BADSMTP_PORTS", "BADSMTP_URL", "BADSMTP_CA_FILE"))

_FILE_OCTETS: Final = 1024 * 1024
_NAMES: Final = ("badsmtp.yaml", "badsmtp.yml", "badsmtp.json")
_TRUE: Final = frozenset(("true", "yes", "on", "1"))
_FALSE: Final = frozenset(("false", "no", "off", "0"))
# What a listener that is not wanted may be called, besides "off".
_NONE: Final = frozenset(("off", "none"))
# A file with more mistakes than this is not the right file.
_PROBLEMS: Final = 200


@frozen(kw_only=True)
class Configuration:
    """What a server is told, and by whom.

    :ivar sources: for each key that was given, where: ``--port``, ``$BADSMTP_PORT``, ``badsmtp.yaml: port``.
    :ivar file: that was read.
    :ivar notes: what is no mistake, and should be known.
    """

    settings: Settings
    log: LogSettings
    sources: Mapping[str, str] = field(factory=dict)
    file: Path | None = None
    notes: tuple[str, ...] = ()


@define
class _Gathered:
    """Values as they are found, and what is wrong with them."""

    values: dict[str, Any] = field(factory=dict)
    sources: dict[str, str] = field(factory=dict)
    problems: list[str] = field(factory=list)
    spoiled: set[str] = field(factory=set)

    def problem(self, text: str) -> None:
        if len(self.problems) < _PROBLEMS:
            self.problems.append(text)

    def take(self, option: Option, value: Any, source: str) -> None:
        """A value that goes before what is there already; one that is wrong hides it all the same."""
        try:
            value = _converted(option, value)
        except ValueError as e:
            self.problem(f"{source}: {_quoted(value)} found, {_reason(e) or option.expected} expected")
            self.spoiled.add(option.name)
            return
        if option.kind == "mapping":
            value = {**self.values.get(option.name, {}), **value}
        self.values[option.name] = value
        self.sources[option.name] = source


class _WrongError(ValueError):
    """A value that is none; the text says what is expected."""


def _reason(error: ValueError) -> str:
    """What is expected, where it was said more precisely than by the kind."""
    return str(error) if isinstance(error, _WrongError) else ""


def _quoted(value: Any) -> str:
    if isinstance(value, (list, dict)):
        # It may be larger than the file: YAML can repeat what it had.
        return "a list" if isinstance(value, list) else "a table"
    text = json.dumps(value, ensure_ascii=False, default=str)
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return shown if len(shown) <= 80 else shown[:77] + "…"


def _converted(option: Option, value: Any) -> Any:
    """A value as the settings have it.

    :raises ValueError: it is none; its text may say what is expected.
    """
    if option.kind == "port":
        return _port(value)
    if option.kind == "number":
        number = _number(value)
        if number < 1:
            raise ValueError
        return number
    if option.kind == "bool":
        return _bool(value)
    if option.kind == "mapping":
        return _mapping(value)
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError
    return _checked_text(option, value)


def _number(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) <= 20:
        return int(value)
    raise ValueError


def _port(value: Any) -> int | None:
    # YAML 1.1 reads "off" as false.
    if value is None or value is False or (isinstance(value, str) and value.strip().lower() in _NONE):
        return None
    number = _number(value)
    if not 0 <= number <= 65535:
        raise ValueError
    return number


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError


def _mapping(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        name, equals, path = value.partition("=")
        if not equals:
            raise _WrongError("HOST=DIRECTORY")
        value = {name: path}
    if not isinstance(value, Mapping):
        raise ValueError  # noqa: TRY004  what a file says, not what a caller did
    mapped: dict[str, str] = {}
    for name, path in value.items():
        if not isinstance(name, str) or not host_name(name):
            raise _WrongError(f"a host name in the place of {_quoted(name)}")
        if not isinstance(path, str) or not path.isprintable():
            raise _WrongError(f"a directory for {name}")
        mapped[host_name(name)] = _expanded(path)
    return mapped


def _expanded(path: str) -> str:
    # Unlike pathlib's, it leaves a user alone that there is not.
    return os.path.expanduser(path)  # noqa: PTH111


def _checked_text(option: Option, value: str) -> str:
    if option.name in CHOICES:
        word = {"warning": "warn"}.get(value.strip().lower(), value.strip().lower())
        for choice in CHOICES[option.name]:
            if choice.lower() == word:
                return choice
        raise ValueError
    if option.name == "listen_address":
        try:
            return str(ip_address(value.strip()))
        except ValueError:
            raise _WrongError("an IP address of this machine, as 127.0.0.1,") from None
    if option.name == "log_remote_addr" and value:
        try:
            host_and_port(value)
        except ValueError:
            raise _WrongError("HOST:PORT") from None
    return _expanded(value) if option.name.endswith(("_dir", "_file")) else value


def search_paths(home: str) -> Iterator[Path]:
    """Where a file may be, the first that is there is read.

    :param home: of the user; empty when there is none.
    """
    for directory in (Path(), *([Path(home) / ".badsmtp"] if home else []), Path("/etc/badsmtp")):
        yield from (directory / name for name in _NAMES)


def _first_file(home: str) -> Path | None:
    # Unlike pathlib's, it takes a directory that is closed to us for one that has no file.
    return next((path for path in search_paths(home) if os.path.isfile(path)), None)  # noqa: PTH113


def configure(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Path | str | None = None,
    *,
    free_ports: bool = False,
) -> Configuration:
    """Bring together what is said in all places.

    :param flags: of the command line: key and value; None for what was not given. Mappings as lists of ``HOST=DIRECTORY``.
    :param environment: as ``os.environ``; its HOME says where the user's file may be.
    :param file: to be read instead of the first that is found.
    :param free_ports: whether listeners that nobody gave a port get any free one, instead of that of the documentation.
    :raises ConfigurationError: something is wrong with it; with everything that is.
    """
    gathered = _Gathered()
    known = {option.name: option for option in options()}
    path = Path(file) if file else _first_file(environment.get("HOME", ""))
    if path is not None:
        _take_file(path, known, gathered)
    notes = _take_log_variables(environment, known, gathered)
    _take_environment(environment, known, gathered)
    for name, value in flags.items():
        option = known[name]
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is not None:
                gathered.take(option, one, option.flag)
    if free_ports:
        for option in known.values():
            if option.kind == "port" and option.name not in gathered.values:
                gathered.take(option, 0, "--free-ports")
    of_log = {name: value for name, value in gathered.values.items() if known[name].log}
    settings = Settings(**{name: value for name, value in gathered.values.items() if not known[name].log})
    log = LogSettings(**of_log)
    _check(settings, log, gathered)
    if gathered.problems:
        raise ConfigurationError(tuple(gathered.problems))
    if settings.hostname_mailbox_map and not settings.enable_hostname_routing:
        where = gathered.sources["hostname_mailbox_map"]
        notes = (*notes, f"{where}: this has no effect without enable_hostname_routing")
    return Configuration(settings=settings, log=log, sources=gathered.sources, file=path, notes=notes)


def _take_file(path: Path, known: Mapping[str, Option], gathered: _Gathered) -> None:
    try:
        with path.open("rb") as opened:
            octets = opened.read(_FILE_OCTETS + 1)
    except OSError as e:
        gathered.problem(f"{path}: {e.strerror}")
        return
    if len(octets) > _FILE_OCTETS:
        gathered.problem(f"{path}: larger than {_FILE_OCTETS} octets")
        return
    try:
        table = _parsed(path, octets)
    except ValueError as e:
        gathered.problem(f"{path}: {e}")
        return
    except RecursionError:
        gathered.problem(f"{path}: lists or tables are nested too deep")
        return
    if table is None:
        # A file with nothing but comments.
        return
    if not isinstance(table, Mapping):
        gathered.problem(f"{path}: {_quoted(table)} found, keys with values expected")
        return
    for name, value in table.items():
        option = known.get(str(name))
        if option is None:
            gathered.problem(f"{path}: {_quoted(str(name))[1:-1]}: unknown key{_hint(str(name), known)}")
        else:
            gathered.take(option, value, f"{path}: {name}")


def _parsed(path: Path, octets: bytes) -> Any:
    """What the file says.

    :raises ValueError: its text says what is wrong with it.
    """
    if path.suffix == ".json":
        return msgspec.json.decode(octets)
    import yaml

    try:
        return yaml.safe_load(octets)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        raise ValueError(where + (getattr(e, "problem", None) or "this is no YAML")) from None


def _hint(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name.lower(), {one.lower(): one for one in known}, 1)
    return f", did you mean {next(one for one in known if one.lower() == near[0])}?" if near else ""


def _squeezed(name: str) -> str:
    return name.replace("_", "").upper()


def _take_environment(
    environment: Mapping[str, str], known: Mapping[str, Option], gathered: _Gathered
) -> None:
    # BadSMTP spells BADSMTP_TLSPORT what the file calls tls_port.
    squeezed = {
        _squeezed(PREFIX + name): option for name, option in known.items() if option.kind != "mapping"
    }
    for variable in sorted(environment):
        value = environment[variable]
        if variable.startswith(MAPPING_PREFIX):
            # A dot cannot stand in the name of a variable, nor can a hyphen: that is two underscores.
            name = variable.removeprefix(MAPPING_PREFIX).replace("__", "-").replace("_", ".")
            gathered.take(known["hostname_mailbox_map"], {name: value}, f"${variable}")
        elif variable.startswith(PREFIX) and variable not in EXPORTED:
            option = squeezed.get(_squeezed(variable))
            if option is not None:
                # As in BadSMTP, an empty variable says nothing; but a text that may be empty, it empties.
                if value or option.default == "":
                    gathered.take(option, value, f"${variable}")
            else:
                names = [one.variable for one in known.values() if one.kind != "mapping" and not one.log]
                gathered.problem(f"${variable}: unknown variable{_hint(variable, names)}")


def _take_log_variables(
    environment: Mapping[str, str], known: Mapping[str, Option], gathered: _Gathered
) -> tuple[str, ...]:
    """The variables of the log, which other programs have by the same names: what only they understand is ignored, and noted."""
    notes = []
    for option in known.values():
        value = environment.get(option.variable, "")
        if not option.log or not value:
            continue
        try:
            _converted(option, value)
        except ValueError as e:
            expected = _reason(e) or option.expected
            notes.append(
                f"${option.variable}: {_quoted(value)} is not for us and ignored, {expected} would be"
            )
        else:
            gathered.take(option, value, f"${option.variable}")
    return tuple(notes)


def _check(settings: Settings, log: LogSettings, gathered: _Gathered) -> None:
    """What the values of single keys cannot say."""

    def where(name: str) -> str:
        return gathered.sources.get(name, f"{name} has its default")

    for first, second, text in overlaps(settings):
        if gathered.spoiled.intersection((first, second)):
            continue
        name, other = (first, second) if first in gathered.sources else (second, first)
        also = "" if name == other else f" ({where(other)})"
        gathered.problem(f"{where(name)}: {text}{also}")
    for name, other in (("tls_cert_file", "tls_key_file"), ("tls_key_file", "tls_cert_file")):
        path = getattr(settings, name)
        if path and not getattr(settings, other):
            gathered.problem(f"{where(name)}: {other} is needed as well")
        if path and not Path(path).is_file():
            gathered.problem(f"{where(name)}: {_quoted(path)}: there is no such file")
    if log.log_output in ("tcp", "udp") and not log.log_remote_addr:
        gathered.problem(
            f"{where('log_output')}: log_remote_addr (HOST:PORT of the log server) is needed as well"
        )


def print_configuration(configuration: Configuration) -> str:
    """All settings as a file could have them, each with where it comes from."""
    lines = ["# " + (f"{configuration.file} was read" if configuration.file else "no file was read")]
    for option in options():
        holder = configuration.log if option.log else configuration.settings
        value = getattr(holder, option.name)
        shown = OFF if value is None else json.dumps(value, ensure_ascii=False)
        if option.kind == "mapping":
            shown = json.dumps(dict(value), ensure_ascii=False)
        lines.append(f"{option.name}: {shown}  # {configuration.sources.get(option.name, 'default')}")
    return "\n".join(lines)
