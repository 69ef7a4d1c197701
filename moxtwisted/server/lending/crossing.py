"""Values as octets and descriptors, for the other process, and back.

::

    octets, descriptors = write((incoming, recipient, True))       # the descriptors are the other's to close
    (incoming, recipient, told), messages = read(octets, descriptors)
    for message in messages:
        message.close()                                            # whoever read them, when they are done with

They are pickles. Who writes a pickle may do in the process that reads it whatever that process may do; these are read by another process of
the same program, with the same rights, over sockets that nobody else has. What strangers say, and receivers repeat, is in the values of
pickles, never a pickle itself.

Of a message there are the octets as its staging hands them over, small ones packed and large ones by the descriptor of their file; what is
rendered of it; its header, from which the fields are cut anew; and the structure of a large one. The structure of a small one is found
anew, if somebody asks for more of it than its header. It crosses once however often it is named. What it is stored with in the other
process is the same as here.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Sequence
from io import BytesIO
from ipaddress import IPv6Address
from typing import Any, Final

from attrs import evolve

from moxtwisted.errors import MailError
from moxtwisted.message.flags import MessageFlags
from moxtwisted.message.headers import Header
from moxtwisted.message.mime import ScannedMessage
from moxtwisted.message.products import Rendered
from moxtwisted.server.receivers.parts import FarScanned, read_tree, write_tree
from moxtwisted.store.staging import Handed, HandedOctets, Staged

__all__ = ["read", "write"]

#: The structure of a larger message crosses.
_SCANNED_AGAIN_OCTETS: Final = 64 * 1024


def write(values: Any) -> tuple[bytes, list[int]]:
    """Values that consist of ours and plain ones.

    :returns: the octets, and descriptors that are the caller's now: they belong to the octets, in this order.
    :raises StoreFullError: a message could not be written to its file.
    :raises pickle.PicklingError: or another exception, for what cannot cross.
    """
    file = BytesIO()
    writer = _Writer(file)
    try:
        writer.dump(values)
    except BaseException:
        _close(writer.descriptors)
        raise
    return file.getvalue(), writer.descriptors


def read(octets: bytes, descriptors: Sequence[int]) -> tuple[Any, list[Staged]]:
    """What ``write`` wrote.

    :param descriptors: not the caller's any more, also when this fails.
    :returns: the values, and the messages that are somewhere in them, which the caller closes.
    """
    reader = _Reader(BytesIO(octets), descriptors)
    try:
        values = reader.load()
    except BaseException:
        for message in reader.messages:
            message.close()
        raise
    finally:
        _close(reader.descriptors.values())
    return values, reader.messages


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class _Writer(pickle.Pickler):
    """Writes.

    :ivar descriptors: of the messages' files, duplicated.
    """

    def __init__(self, file: BytesIO) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.descriptors: list[int] = []
        self._numbers: dict[int, int] = {}

    def persistent_id(self, value: Any) -> Any:
        """What stands for a message: all of it where it is first, its number afterwards."""
        if type(value) is not Staged:
            return None
        number = self._numbers.get(id(value))
        if number is not None:
            return number
        self._numbers[id(value)] = len(self._numbers)
        handed, descriptor = value.hand_over(), -1
        if handed.descriptor >= 0:
            descriptor = len(self.descriptors)
            self.descriptors.append(os.dup(handed.descriptor))
        scanned = value.scanned
        tree = write_tree(scanned) if value.size > _SCANNED_AGAIN_OCTETS else None
        return (
            value.size, evolve(handed, descriptor=descriptor), value.rendered, scanned.header, scanned.header_size, tree,
        )  # fmt: skip

    def reducer_override(self, value: Any) -> Any:
        """What is made anew of what says all of it."""
        kind = type(value)
        if kind is Header:
            return _header, (value.octets,)
        if kind is MessageFlags:
            # There is one object for each combination.
            return _flags, (value.system, value.keywords)
        if kind is IPv6Address and value.scope_id is not None:
            # Python 3.11.2, Debian 12's, forgets the scope.
            return IPv6Address, (str(value),)
        if isinstance(value, MailError):
            cause = value.__cause__ if isinstance(value.__cause__, OSError) else None
            return _error, (kind, value.args, vars(value), cause)
        return NotImplemented


class _Reader(pickle.Unpickler):
    """Reads.

    :ivar messages: that came, in the order of their numbers.
    :ivar descriptors: that belong to none of them yet.
    """

    def __init__(self, file: BytesIO, descriptors: Sequence[int]) -> None:
        super().__init__(file)
        self.messages: list[Staged] = []
        self.descriptors = dict(enumerate(descriptors))

    def persistent_load(self, said: Any) -> Staged:
        """The message that this stands for."""
        if isinstance(said, int):
            return self.messages[said]
        handed: Handed
        rendered: Rendered
        header: Header
        size, handed, rendered, header, header_size, tree = said
        if handed.descriptor >= 0:
            handed = evolve(handed, descriptor=self.descriptors.pop(handed.descriptor))
        octets = HandedOctets(handed, size)
        scanned: ScannedMessage
        try:
            scanned = (
                FarScanned(size, header, header_size, octets)
                if tree is None
                else read_tree(tree, size, header)
            )
        except BaseException:
            octets.close()
            raise
        staged = Staged(size=size, octets=octets, scanned=scanned, rendered=rendered)
        self.messages.append(staged)
        return staged


# Functions: where twisted.persisted is imported, methods of classes do not cross.


def _header(octets: bytes) -> Header:
    return Header.parse_once(octets)


def _flags(system: int, keywords: tuple[str, ...]) -> MessageFlags:
    return MessageFlags.of(system, keywords)


def _error(
    kind: type[MailError], args: tuple[Any, ...], values: dict[str, Any], cause: OSError | None
) -> MailError:
    """An error as it was, whatever its class wants to be called with."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(values)
    error.__cause__ = cause
    return error
