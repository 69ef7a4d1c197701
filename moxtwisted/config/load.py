"""Read ``mox.conf`` and the ``domains.conf`` beside it, and say all that is wrong with them.

::

    try:
        loaded = load(Path("/etc/moxmail/mox.conf"))
    except ConfigurationError as e:
        for line in e.problems:          # "mox.conf: listeners.public.smtp.prot: unknown key, did you mean port?"
            print(line)
    loaded.resolve(loaded.static.store.key_file)      # an absolute path

What can be judged from the two files is judged here. What depends on the machine (do the certificate
files exist, is the user known, is the key there) is told by ``examine`` besides, for ``moxmail config test``.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen
from msgspec import Struct

from moxtwisted.config.checks import check_domains, check_postmaster, check_static
from moxtwisted.config.reading import Problems, fields_of, judgeable
from moxtwisted.config.scannerchecks import check_scanners_off
from moxtwisted.config.schema import DomainsConfig, StaticConfig
from moxtwisted.errors import ConfigurationError

__all__ = [
    "DOMAINS_NAME",
    "Findings",
    "LoadedConfig",
    "default_path",
    "examine",
    "find_data_directory",
    "load",
    "parse_domains",
    "parse_static",
    "summary",
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
    loaded, static, domains = _examined(static_path.absolute())
    if loaded is None or static.lines or domains.lines:
        raise ConfigurationError((*static.lines, *domains.lines))
    return loaded


def _examined(static_path: Path) -> tuple[LoadedConfig | None, Problems, Problems]:
    """What can be judged of both files (None when ``mox.conf`` cannot be read at all), and what is wrong in each."""
    domains_path = static_path.with_name(DOMAINS_NAME)
    in_static, in_domains = Problems(static_path.name), Problems(domains_path.name)
    static = _judged(static_path, StaticConfig, in_static)
    domains = _judged(domains_path, DomainsConfig, in_domains)
    if static is not None:
        check_static(static, in_static)
    if domains is not None:
        check_domains(domains, in_domains)
    if static is not None and domains is not None:
        check_postmaster(static, domains, in_static)
        check_scanners_off(static.scanners, domains, in_domains)
    loaded = (
        LoadedConfig(static, domains or DomainsConfig(), static_path, domains_path)
        if static is not None
        else None
    )
    return loaded, in_static, in_domains


def _judged(path: Path, struct: type[S], problems: Problems) -> S | None:
    try:
        data = read_octets(path)
    except ConfigurationError as e:
        problems.lines += e.problems
        return None
    return _convert(data, struct, problems)


@frozen
class Findings:
    """What `examine` found.

    :ivar problems: because of which the server would not start, or not work.
    :ivar notes: what the operator should know.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]


def examine(static_path: Path) -> Findings:
    """Everything that is wrong with both files, and that this machine lacks for what is good in them."""
    from moxtwisted.config.machine import check_machine
    from moxtwisted.config.signingkeys import check_signing

    loaded, static, domains = _examined(static_path.absolute())
    notes, domains_notes = Problems(static_path.name), Problems(DOMAINS_NAME)
    if loaded is not None:
        check_machine(loaded, static, notes)
        check_signing(loaded.directory, loaded.domains, domains, domains_notes)
    return Findings((*static.lines, *domains.lines), (*notes.lines, *domains_notes.lines))


def summary(static_path: Path, problems: Sequence[str]) -> str:
    """One line below the problems: how many, and in which files."""
    static_path = static_path.absolute()
    files = [
        path
        for path in (static_path, static_path.with_name(DOMAINS_NAME))
        if any(problem.startswith((f"{path}:", f"{path.name}:")) for problem in problems)
    ]
    where = " and ".join(map(str, files or [static_path]))
    return f"{len(problems)} {'problem' if len(problems) == 1 else 'problems'} in {where}"


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
        check_scanners_off(static.scanners, domains, problems)
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


def _convert(data: bytes, struct: type[S], problems: Problems) -> S | None:
    """What can be judged of the octets; None when they are no TOML."""
    table = _table(data, problems)
    return judgeable(struct, table, problems) if table is not None else None


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
