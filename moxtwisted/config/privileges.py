"""Become another user once the ports are open.

::

    identity = find_identity("moxmail:mail")      # names or numbers
    services = MultiService()
    ...                                           # services that bind in privilegedStartService
    DropPrivileges(identity).setServiceParent(services)      # the last one

Twisted calls ``privilegedStartService`` of all services in order, then (with ``--uid``) changes the user, then calls
``startService``. A service that comes last and changes the user in ``privilegedStartService`` does the same for a user
that the configuration names: whoever opens ports and key files there does it as root, all the rest runs as that user.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from attrs import frozen
from twisted.application.service import Service
from twisted.logger import Logger

__all__ = [
    "DropPrivileges",
    "Identity",
    "UnknownUserError",
    "closed_directory",
    "closed_program",
    "find_identity",
]

log = Logger()


class UnknownUserError(ValueError):
    """There is no such user or group on this machine."""


@frozen
class Identity:
    """A user and a group, as numbers.

    :ivar name: the user's name, for the supplementary groups; empty when the number has none.
    """

    uid: int
    gid: int
    name: str


def find_identity(text: str) -> Identity:
    """Look up ``user`` or ``user:group``, each a name or a number; without a group, the user's own.

    :raise UnknownUserError: when one of them does not exist (a number for the user may be unknown if a group is given).
    """
    import grp
    import pwd

    user, colon, group = text.partition(":")
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        if not (user.isdecimal() and colon):
            raise UnknownUserError(f"no user {user}") from None
        entry = None
    uid = entry.pw_uid if entry is not None else int(user)
    if not colon and entry is not None:
        return Identity(uid, entry.pw_gid, entry.pw_name)
    try:
        gid = int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise UnknownUserError(f"no group {group}") from None
    return Identity(uid, gid, entry.pw_name if entry is not None else "")


def closed_program(identity: Identity) -> str:
    """Why the user cannot read this program or its Python, in a sentence; empty when it can.

    What a server has not imported by the time it becomes the user would be missing then: root's own pyenv, for example,
    is closed to everybody else.
    """
    for file in (sys.executable, os.path.realpath(sys.executable), os.path.realpath(os.__file__), __file__):
        closed = closed_directory(identity, Path(file))
        if closed is not None:
            return (
                f"{closed} is closed to {identity.name or identity.uid}, who needs {file} to run the server: "
                "install with a Python that everybody can read, as /usr/bin/python3, and in a folder such as /opt/moxmail"
            )
    return ""


def closed_directory(identity: Identity, file: Path) -> Path | None:
    """The topmost directory above an absolute path that keeps the user out, by its mode; access lists are not looked at."""
    if identity.uid == 0:
        return None
    groups = os.getgrouplist(identity.name, identity.gid) if identity.name else [identity.gid]
    for directory in reversed(file.parents):
        status = directory.stat()
        other = 0o010 if status.st_gid in groups else 0o001
        if not status.st_mode & (0o100 if status.st_uid == identity.uid else other):
            return directory
    return None


class DropPrivileges(Service):
    """Becomes the user at the end of the privileged start; nothing when the process is that user already.

    :raise OSError: by ``privilegedStartService`` when the process may not; the start fails then.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def privilegedStartService(self) -> None:
        """Change group, supplementary groups and user, in this order, for good."""
        identity = self._identity
        if os.getuid() != 0:
            if os.getuid() != identity.uid:
                log.warn("not started as root, cannot become {detail}", detail=f"user {identity.uid}")
            return
        if identity.uid == 0:
            return
        # The groups must go first: afterwards we may not change them. setresuid also clears the saved user.
        if identity.name:
            os.initgroups(identity.name, identity.gid)
        else:
            os.setgroups([identity.gid])
        os.setresgid(identity.gid, identity.gid, identity.gid)
        os.setresuid(identity.uid, identity.uid, identity.uid)
        os.umask(0o007)
        log.info("became {detail}", detail=f"user {identity.uid}, group {identity.gid}")
