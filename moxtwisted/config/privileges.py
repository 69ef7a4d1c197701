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

from attrs import frozen
from twisted.application.service import Service
from twisted.logger import Logger

__all__ = ["DropPrivileges", "Identity", "UnknownUserError", "find_identity"]

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
