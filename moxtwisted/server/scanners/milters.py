"""A milter that is asked about each message from strangers, when it has come in whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import define
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger

from moxtwisted.message.headers import Header
from moxtwisted.milter.agent import MilterBrokeOffError, ask
from moxtwisted.milter.client import Decision, MilterMessage, MilterVerdict
from moxtwisted.server.judgement.interfaces import Incoming, Opinion
from moxtwisted.server.scanners.asking import FIELD_OCTETS, NotExaminedError, safe_field
from moxtwisted.smtp.replies import Reply

__all__ = ["Milter", "opinion_of"]

_log = Logger()

# RFC 3463 section 3.8: X.7.1, delivery not authorized, message refused.
_REFUSED: Final = Reply(550, "5.7.1", "refused by a filter")
_LATER: Final = Reply(451, "4.7.1", "a filter cannot take it now, try again later")


@define(eq=False)
class Milter:
    """Asks one.

    :ivar hostname: ours, the macro ``j``.
    :ivar seconds: for one message.
    """

    name: str
    endpoint: IStreamClientEndpoint
    clock: IReactorTime
    hostname: str
    seconds: float = 30.0

    async def examine(self, incoming: Incoming) -> Opinion | None:
        """What it thinks. :raises MilterUnavailableError: , NotExaminedError."""
        try:
            verdict = await ask(self.endpoint, self._message(incoming), self.clock, self.seconds)
        except MilterBrokeOffError as e:
            raise NotExaminedError(e.detail) from e
        if verdict.refused:
            _log.info(
                "{scanner} refused {count} of the recipients and took the message for others: it is taken for all",
                scanner=self.name,
                count=len(verdict.refused),
                session=incoming.session,
            )
        opinion = opinion_of(self.name, verdict, incoming.header)
        if opinion is not None and opinion.changes:
            names = {incoming.header.fields[place][1] for place in opinion.changes}
            _log.info(
                "{scanner} changes or removes {fields}",
                scanner=self.name,
                fields=sorted(name.decode("ascii", "replace") for name in names),
                session=incoming.session,
            )
        return opinion

    def _message(self, incoming: Incoming) -> MilterMessage:
        verified = incoming.verified
        iprev = verified.iprev
        name = iprev.name if iprev is not None and iprev.name else f"[{verified.ip}]"
        fields = []
        for raw, _ in incoming.header.fields:
            field_name, _, value = raw.partition(b":")
            fields.append((field_name.strip(), value.rstrip(b"\r\n")))
        return MilterMessage(
            hostname=name,
            ip=verified.ip,
            hello=incoming.hello,
            reverse_path=incoming.reverse_path.wire(smtputf8=True),
            recipients=tuple(path.wire(smtputf8=True) for path in incoming.recipients),
            fields=tuple(fields),
            body=_body(incoming),
            macros={
                b"j": self.hostname.encode(),
                b"i": incoming.session.encode(),
                b"{daemon_name}": self.hostname.encode(),
                b"{mail_addr}": incoming.reverse_path.wire(smtputf8=True).strip(b"<>"),
                b"v": b"moxtwisted",
            },
        )


def _body(incoming: Incoming) -> Iterator[bytes]:
    """The octets behind the empty line."""
    start = incoming.staged.scanned.header_size
    for chunk in incoming.staged.chunks():
        if start < len(chunk):
            yield chunk[start:]
        start = max(0, start - len(chunk))


def opinion_of(name: str, verdict: MilterVerdict, header: Header) -> Opinion | None:
    """What a verdict means for the message."""
    fields = b"".join([safe_field(field, value) for field, value in verdict.fields])
    changes = {}
    for place, value in verdict.changes:
        changes[place] = b""
        if value is not None:
            # One whose name cannot be written stays as it is. Of what the sender wrote nothing is cut off.
            raw = header.fields[place][0]
            field = raw.partition(b":")[0].strip()
            changes[place] = safe_field(field, value, len(raw) + FIELD_OCTETS) or raw
    reply = None
    if verdict.decision in {Decision.REJECT, Decision.DISCARD, Decision.TEMPFAIL}:
        # A message is refused, never taken and thrown away: the sender is to know.
        reply = _LATER if verdict.decision is Decision.TEMPFAIL else _REFUSED
        if verdict.reply is not None:
            code, enhanced, text = verdict.reply
            reply = Reply(code, enhanced, text.encode("ascii", "replace").decode())
    junk = verdict.decision is Decision.QUARANTINE
    if reply is None and not junk and not fields and not changes:
        return None
    what = {Decision.QUARANTINE: f"wants it put aside: {verdict.why}"}.get(verdict.decision)
    explanation = f"{name} {what or ('refused it' if reply is not None else 'took it')}"
    return Opinion(
        source=name, reply=reply, junk=junk, fields=fields, changes=changes, explanation=explanation
    )
