"""Read ``mox.conf`` and the ``domains.conf`` beside it, and say all that is wrong with them.

::

    try:
        loaded = load(Path("/etc/moxmail/mox.conf"))
    except ConfigurationError as e:
        for line in e.problems:          # "mox.conf: listeners.public.smtp.prot: unknown key, did you mean port?"
            print(line)
    loaded.resolve(loaded.static.store.key_file)      # an absolute path

What can be judged from the two files is judged here. What depends on the machine (do the certificate
files exist, is the user known, is the key there) is ``machine_problems``, asked by ``moxmail config test``.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen
from msgspec import Struct

from moxtwisted.config.checks import check_domains, check_postmaster, check_static
from moxtwisted.config.reading import Problems, fields_of, read
from moxtwisted.config.schema import DomainsConfig, StaticConfig
from moxtwisted.errors import ConfigurationError

__all__ = [
    "DOMAINS_NAME",
    "LoadedConfig",
    "default_path",
    "find_data_directory",
    "load",
    "machine_problems",
    "parse_domains",
    "parse_static",
]

DOMAINS_NAME = "domains.conf"
#: 16 MiB: some 100,000 accounts. More than this is not a configuration file.
MAX_FILE_OCTETS = 16 * 2**20

S = TypeVar("S", bound=Struct)


@frozen
class LoadedConfig:
    """Both files, valid, and where they were.

    :ivar static_path: absolute path of ``mox.conf``.
    :ivar domains_path: absolute path of ``domains.conf``, in the same directory.
    """

    static: StaticConfig
    domains: DomainsConfig
    static_path: Path
    domains_path: Path

    @property
    def directory(self) -> Path:
        """Where the files are; relative paths in them start here."""
        return self.static_path.parent

    @property
    def data_directory(self) -> Path:
        """Absolute path."""
        return self.resolve(self.static.data_directory)

    def resolve(self, path: str) -> Path:
        """A path of the configuration as an absolute one."""
        return self.directory / path


def default_path() -> Path:
    """Where ``mox.conf`` is when nobody says: $MOXMAIL_CONFIG, else here, else in /etc/moxmail."""
    named = os.environ.get("MOXMAIL_CONFIG")
    if named:
        return Path(named)
    here = Path("mox.conf")
    return here if here.exists() else Path("/etc/moxmail/mox.conf")


def find_data_directory(static_path: Path) -> Path:
    """The data directory that a ``mox.conf`` names, whatever else is wrong with it: absolute path.

    :raise ConfigurationError: when the file cannot be read, or is no TOML.
    """
    static_path = static_path.absolute()
    noted = Problems(static_path.name)
    table = _table(read_octets(static_path), noted)
    if table is None:
        last = f"{static_path.name}: data_directory cannot be known: to reach a running server, name its --socket"
        raise ConfigurationError((*noted.lines, last))
    name = table.get("data_directory")
    default = next(info.default for info in fields_of(StaticConfig) if info.name == "data_directory")
    return static_path.parent / (name if isinstance(name, str) and name else default)


def load(static_path: Path) -> LoadedConfig:
    """Read both files.

    :raise ConfigurationError: with every problem of both.
    """
    static_path = static_path.absolute()
    domains_path = static_path.with_name(DOMAINS_NAME)
    problems: list[str] = []
    static = _parsed(static_path, StaticConfig, problems)
    domains = _parsed(domains_path, DomainsConfig, problems)
    if static is not None:
        noted = Problems(static_path.name)
        check_static(static, noted)
        problems += noted.lines
    if domains is not None:
        noted = Problems(domains_path.name)
        check_domains(domains, noted)
        problems += noted.lines
    if static is not None and domains is not None:
        noted = Problems(static_path.name)
        check_postmaster(static, domains, noted)
        problems += noted.lines
    if problems or static is None or domains is None:
        raise ConfigurationError(tuple(problems))
    return LoadedConfig(static, domains, static_path, domains_path)


def parse_static(data: bytes, name: str = "mox.conf") -> StaticConfig:
    """The octets of a ``mox.conf``.

    :param name: of the file, for the problems.
    :raise ConfigurationError: with every problem.
    """
    problems = Problems(name)
    static = _convert(data, StaticConfig, problems)
    if static is not None:
        check_static(static, problems)
    if problems.lines or static is None:
        raise ConfigurationError(tuple(problems.lines))
    return static


def parse_domains(data: bytes, static: StaticConfig | None = None, name: str = DOMAINS_NAME) -> DomainsConfig:
    """The octets of a ``domains.conf``.

    :param static: if given, what it says must fit too (the postmaster's account).
    :param name: of the file, for the problems.
    :raise ConfigurationError: with every problem.
    """
    problems = Problems(name)
    domains = _convert(data, DomainsConfig, problems)
    if domains is not None:
        check_domains(domains, problems)
    if domains is not None and static is not None:
        noted = Problems("mox.conf")
        check_postmaster(static, domains, noted)
        problems.lines += noted.lines
    if problems.lines or domains is None:
        raise ConfigurationError(tuple(problems.lines))
    return domains


def read_octets(path: Path) -> bytes:
    """The file, bounded.

    :raise ConfigurationError: when it cannot be read or is too large.
    """
    try:
        with path.open("rb") as f:
            data = f.read(MAX_FILE_OCTETS + 1)
    except OSError as e:
        raise ConfigurationError((f"{path}: cannot be read: {e.strerror}",)) from e
    if len(data) > MAX_FILE_OCTETS:
        raise ConfigurationError(
            (f"{path}: more than {MAX_FILE_OCTETS} octets found, a configuration expected",)
        )
    return data


def _parsed(path: Path, struct: type[S], problems: list[str]) -> S | None:
    noted = Problems(path.name)
    try:
        return _convert(read_octets(path), struct, noted)
    except ConfigurationError as e:
        problems += e.problems
        return None
    finally:
        problems += noted.lines


def _convert(data: bytes, struct: type[S], problems: Problems) -> S | None:
    table = _table(data, problems)
    return read(struct, table, problems) if table is not None else None


def _table(data: bytes, problems: Problems) -> dict[str, Any] | None:
    """The octets as TOML, or None after noting why not."""
    try:
        # Windows editors begin a file with a byte order mark, which TOML does not know.
        return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        problems.add((), f"octets that are no UTF-8 found in line {line}, UTF-8 text expected")
        return None
    except RecursionError:
        problems.add((), "brackets too deep within each other found, TOML expected")
        return None
    except ValueError as e:  # TOMLDecodeError, and what int() says to a number of 5,000 digits
        problems.add((), f"TOML expected: {e}")
        return None


def machine_problems(loaded: LoadedConfig) -> list[str]:
    """What this machine lacks for the configuration: files, user, key. Empty when all is there."""
    from moxtwisted.config.machine import check_machine

    problems = Problems(loaded.static_path.name)
    check_machine(loaded, problems)
    return problems.lines
