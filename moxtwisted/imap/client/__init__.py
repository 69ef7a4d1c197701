"""The client's side of IMAP, without I/O: the machine, what its commands are, and what their answers mean.

``moxtwisted.imap.client.machine`` turns octets into events; ``moxtwisted.imap.agent`` puts it on a Twisted connection.
"""

from moxtwisted.imap.client.machine import (
    BodyData,
    BodyEnded,
    BodyStarted,
    Challenge,
    Client,
    ClientEvent,
    Completed,
    Data,
    Failed,
    Greeting,
    Idling,
    NotWritten,
    Outgoing,
    Unsolicited,
    Upload,
)

__all__ = [
    "BodyData",
    "BodyEnded",
    "BodyStarted",
    "Challenge",
    "Client",
    "ClientEvent",
    "Completed",
    "Data",
    "Failed",
    "Greeting",
    "Idling",
    "NotWritten",
    "Outgoing",
    "Unsolicited",
    "Upload",
]
