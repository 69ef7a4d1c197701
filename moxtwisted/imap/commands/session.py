"""Commands about the connection itself: CAPABILITY, NOOP, LOGOUT, ID, ENABLE, STARTTLS, NAMESPACE."""

from __future__ import annotations

from typing import Final

from moxtwisted.imap.commands.contexts import without_numbers
from moxtwisted.imap.commands.metadata import start_news
from moxtwisted.imap.connection import Answer, Connection, RefusalError
from moxtwisted.imap.sharing import OTHER_USERS, sharing
from moxtwisted.imap.states import State
from moxtwisted.imap.wire.commands import (
    Capability,
    Compress,
    Enable,
    Id,
    Logout,
    Namespace,
    Noop,
    StartTLS,
    Unauthenticate,
)

__all__ = [
    "capability",
    "compress",
    "enable",
    "id_",
    "logout",
    "namespace",
    "noop",
    "starttls",
    "unauthenticate",
]

# RFC 5161 section 3.1: what changes how the server talks, so that a client must ask for it.
_ENABLE: Final = {
    "CONDSTORE": "CONDSTORE",
    "QRESYNC": "QRESYNC",
    "UTF8=ACCEPT": "UTF8=ACCEPT",
    "IMAP4REV2": "IMAP4rev2",
    "METADATA": "METADATA",
    "UIDONLY": "UIDONLY",
}


def capability(connection: Connection, command: Capability) -> Answer:
    """CAPABILITY."""
    connection.out.append(f"* CAPABILITY {' '.join(connection.capabilities)}\r\n".encode("ascii"))
    return None


def noop(connection: Connection, command: Noop) -> Answer:
    """NOOP: the updates that come before every tagged response are all it is for."""
    return None


def logout(connection: Connection, command: Logout) -> Answer:
    """LOGOUT."""
    connection.leave()
    connection.out.append(b"* BYE logging out\r\n")
    connection.logged_out = True
    connection.state = State.LOGOUT
    return None


def id_(connection: Connection, command: Id) -> Answer:
    """ID (RFC 2971). The version is told after login only, so that a scan of the network learns nothing."""
    if command.parameters is not None:
        connection.client_id = command.parameters
    name, version = connection.settings.software
    fields = [("name", name)]
    if connection.session is not None and version:
        fields.append(("version", version))
    pairs = " ".join(f'"{key}" "{value}"' for key, value in fields)
    connection.out.append(f"* ID ({pairs})\r\n".encode("ascii"))
    return None


def enable(connection: Connection, command: Enable) -> Answer:
    """ENABLE: unknown names are ignored."""
    told = []
    # RFC 7162 section 3.2.3: CONDSTORE behind QRESYNC, which includes it, is the same as before it.
    before = connection.enabled
    for name in dict.fromkeys(command.capabilities):
        announced = _ENABLE.get(name)
        if announced is None or announced not in connection.offered or name in before:
            continue
        connection.enable(name)
        told.append(announced)
        if name == "METADATA":
            start_news(connection)
        elif name == "UIDONLY":
            connection.out += without_numbers(connection)
    # RFC 9051 section 6.3.1: those that this command enabled, perhaps none.
    connection.out.append(f"* ENABLED{''.join(' ' + name for name in told)}\r\n".encode("ascii"))
    if connection.utf8:
        connection.reader.utf8 = True
    return None


def starttls(connection: Connection, command: StartTLS) -> Answer:
    """STARTTLS: the machine starts it after the tagged response."""
    if connection.reader.buffered_octets:
        # What was sent in clear must not be taken for something said under TLS (RFC 9051 section 11.1); a client that
        # does not wait is broken or attacked.
        connection.state = State.LOGOUT
        connection.out.append(b"* BYE commands after STARTTLS must wait for TLS\r\n")
        raise RefusalError("commands after STARTTLS must wait for TLS", kind="BAD")
    connection.starting_tls = True
    return b"OK begin TLS now"


def compress(connection: Connection, command: Compress) -> Answer:
    """COMPRESS: the machine starts it after the tagged response."""
    if command.algorithm != "DEFLATE":
        raise RefusalError("DEFLATE is all there is", kind="BAD")
    if connection.compressed:
        # RFC 4978 section 3
        raise RefusalError("COMPRESS is active already", "COMPRESSIONACTIVE", "BAD")
    if connection.reader.buffered_octets:
        # RFC 4978 section 3: nothing may be sent before the answer was seen. What was, was not compressed.
        raise RefusalError("commands after COMPRESS must wait for its answer", kind="BAD")
    connection.starting_compression = True
    return b"OK DEFLATE active"


def unauthenticate(connection: Connection, command: Unauthenticate) -> Answer:
    """UNAUTHENTICATE: the machine forgets everything after the tagged response."""
    connection.leave()
    connection.starting_over = True
    return None


def namespace(connection: Connection, command: Namespace) -> Answer:
    """NAMESPACE: the user's own, and that of others where they can share."""
    others = b"NIL"
    if sharing(connection.session) is not None:
        # RFC 2342 section 5
        others = b'(("%b/" "/"))' % OTHER_USERS.encode("ascii")
    connection.out.append(b'* NAMESPACE (("" "/")) %b NIL\r\n' % others)
    return None
