"""What a receiver may still do once it has begun, by the configuration and by where the program is.

::

    confine_receiver(loaded, staging, servers)       # and says in the log what came of it
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from twisted.logger import Logger

import moxtwisted
from moxtwisted.config.load import LoadedConfig
from moxtwisted.dns.servers import ServerAddress
from moxtwisted.server.receivers.confinement import Confinement, Limits, confine

__all__ = ["confine_receiver", "limits"]

_log = Logger()

#: Shared libraries, which modules that are imported later may want; and what the C library reads of its own accord.
_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/nix/store", "/gnu/store")
_FILES: Final = ("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo")
#: Where Python has its modules.
_KINDS: Final = ("stdlib", "platstdlib", "purelib", "platlib")


def limits(loaded: LoadedConfig, staging: Path, servers: Iterable[ServerAddress]) -> Limits:
    """What is left to it.

    :param staging: directory for large messages.
    :param servers: of the DNS, for answers too long for UDP.
    """
    modules = [Path(sysconfig.get_path(kind)) for kind in _KINDS]
    package = Path(moxtwisted.__file__).parent
    # Directories and archives. That which holds the package may be a checkout, with anything beside it; or the libraries as well.
    paths = [Path(entry) for entry in sys.path if entry and Path(entry) not in package.parents]
    if next(package.parent.glob("*.dist-info"), None) is not None:
        paths.append(package.parent)
    static = loaded.static
    keys = [
        pair.key
        for listener in static.listeners.values()
        if listener.tls is not None
        for pair in listener.tls.certificates
    ]
    return Limits(
        readable=[*map(Path, (*_LIBRARIES, *_FILES)), *modules, package, *paths],
        writable=[staging],
        secret=[
            loaded.static_path.parent,
            loaded.domains_path.parent,
            loaded.data_directory,
            *(loaded.resolve(name) for name in (static.store.key_file, *keys)),
        ],
        ports=sorted({server.port for server in servers}),
    )


def confine_receiver(loaded: LoadedConfig, staging: Path, servers: Iterable[ServerAddress]) -> Confinement:
    """Confine this process, and say so in the log."""
    achieved = confine(limits(loaded, staging, servers))
    if not achieved.version and not achieved.holes:
        _log.info(
            "this kernel has no Landlock: a receiver may open what its user may open",
            confined=", ".join(achieved.parts),
        )
    else:
        _log.info(
            "receiver is confined: {confined}", confined=", ".join(achieved.parts), landlock=achieved.version
        )
    for hole in achieved.holes:
        _log.warn("the confinement of a receiver has a hole: {hole}", hole=hole)
    return achieved
