"""Messages for programs that look at them."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

from moxtwisted.address import Address
from moxtwisted.address import Path as MailPath
from moxtwisted.mailauth.dmarc.author import find_author
from moxtwisted.message.headers import Header
from moxtwisted.server.judgement.interfaces import Incoming
from moxtwisted.server.verification.interfaces import Verified
from moxtwisted.store.staging import Staging

__all__ = ["incoming"]

MESSAGE = b"From: a@client.example\r\nTo: b@here.example\r\nSubject: %s\r\n\r\n%s\r\n"


def incoming(
    directory: Path, subject: bytes = b"hello", body: bytes = b"hello there", times: int = 1
) -> Incoming:
    """A message from a stranger.

    :param directory: for what is large.
    :param times: how often the body is repeated.
    """
    staging = Staging(directory, os.urandom)
    staging.write(MESSAGE % (subject, body))
    for _ in range(times - 1):
        staging.write(body + b"\r\n")
    staged = staging.finish()
    header = Header.parse(staged.read(0, staged.scanned.header_size))
    return Incoming(
        reverse_path=MailPath(Address.parse("a@client.example")),
        recipients=(MailPath(Address.parse("b@here.example")),),
        verified=Verified(ip=ip_address("192.0.2.7"), author=find_author(header)),
        header=header,
        staged=staged,
        hello="client.example",
        tls=False,
        seconds=1_790_000_000.0,
        session="abc",
    )
