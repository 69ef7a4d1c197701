r"""What a FETCH wants, compiled once for the whole command.

Items that the backend keeps ready become one template and a list of columns, so that a message costs one formatting
operation and no call of a Python function::

    plan = compile_plan((Flags(), Envelope()), uid=True, modseq=False)
    plan.template      # b"* %d FETCH (UID %d FLAGS %b ENVELOPE %b"
    plan.columns       # ENVELOPE
    plan.bodies        # (): no octets of the messages are needed

What needs octets of the message is in ``plan.bodies``, and is written behind the template message by message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field, frozen

from moxtwisted.imap import backend as b
from moxtwisted.imap.commands.listfields import literals_of
from moxtwisted.imap.lines import render_flags
from moxtwisted.imap.wire import fetchattributes as f
from moxtwisted.imap.wire import render
from moxtwisted.message.dates import render_imap_datetime
from moxtwisted.message.flags import MessageFlags
from moxtwisted.message.structure import LIST_FIELDS, body_from_bodystructure

__all__ = ["Batch", "BodyItem", "Plan", "compile_plan", "internal_dates"]

_DAY: Final = 86400
_MOST_DAYS: Final = 10_000


@define(eq=False)
class Batch:
    """Some messages that one piece of output is about; all sequences run in parallel."""

    numbers: Sequence[int]
    uids: Sequence[int]
    flags: Sequence[MessageFlags]
    modseqs: Sequence[int]
    columns: dict[int, Sequence[Any]] = field(factory=dict)


_Values = Callable[[Batch], Sequence[Any]]


@frozen
class BodyItem:
    """Something made of the message's octets.

    :ivar label: the item's name in the response.
    :ivar section: for ``PartIndex.lookup<moxtwisted.message.partindex.PartIndex.lookup>``; ``""``, ``"HEADER"`` and
        ``"TEXT"`` are those of the whole message.
    :ivar names: field names to be chosen from the section, which is a header then; or None.
    :ivar exclude: all fields but those.
    :ivar partial: (offset, count) or None.
    :ivar binary: decode the transfer encoding.
    :ivar size_only: tell the decoded size.
    """

    label: bytes
    section: str
    names: frozenset[bytes] | None = None
    exclude: bool = False
    partial: tuple[int, int] | None = None
    binary: bool = False
    size_only: bool = False

    @property
    def needs_parts(self) -> bool:
        """Whether the part index is wanted."""
        return self.section not in {"", "HEADER", "TEXT"}

    @property
    def is_whole(self) -> bool:
        """Whether it is the message as it is."""
        return not (self.section or self.binary) and self.names is None and self.partial is None

    @property
    def needs_all(self) -> bool:
        """Whether much of the message will be read."""
        return self.section != "HEADER" and self.partial is None


@frozen
class Plan:
    """A compiled FETCH.

    :ivar template: of the beginning of a response, without its closing parenthesis.
    :ivar values: what goes into the template behind the sequence number.
    :ivar columns: for ``ISelectedMailbox.rows<moxtwisted.imap.backend.ISelectedMailbox.rows>``.
    :ivar bodies: what needs octets, in the client's order.
    :ivar needs_uid, needs_flags, needs_modseq: whether UID, FLAGS and MODSEQ are in the template.
    :ivar head: how the template begins.
    """

    template: bytes
    values: tuple[_Values, ...]
    columns: int
    bodies: tuple[BodyItem, ...]
    needs_uid: bool
    needs_flags: bool
    needs_modseq: bool
    head: bytes


# -- simple items ----------------------------------------------------------------------------------------------


def _uids(batch: Batch) -> Sequence[Any]:
    return batch.uids


def _flags(batch: Batch) -> Sequence[Any]:
    rendered = {flags: render_flags(flags) for flags in set(batch.flags)}
    return [rendered[flags] for flags in batch.flags]


def _modseqs(batch: Batch) -> Sequence[Any]:
    return batch.modseqs


def _column(column: int, render: Callable[[Sequence[Any]], Sequence[Any]] | None = None) -> _Values:
    if render is None:
        return lambda batch: batch.columns[column]
    return lambda batch: render(batch.columns[column])


def internal_dates(seconds: Sequence[int], days: dict[int, bytes]) -> list[bytes]:
    """Each as a quoted ``date-time`` in UTC.

    :param days: beginnings that were rendered already, by day; is added to.
    """
    rendered = []
    for value in seconds:
        day, rest = divmod(value, _DAY)
        text = days.get(day)
        if text is None:
            if len(days) >= _MOST_DAYS:
                days.clear()
            text = days[day] = b'"' + render_imap_datetime(day * _DAY)[:12]
        minutes, second = divmod(rest, 60)
        rendered.append(b'%b%02d:%02d:%02d +0000"' % (text, minutes // 60, minutes % 60, second))
    return rendered


def _dates(column: int) -> _Values:
    days: dict[int, bytes] = {}
    return lambda batch: internal_dates(batch.columns[column], days)


def _bodies(structures: Sequence[bytes]) -> list[bytes]:
    return [body_from_bodystructure(s) for s in structures]


def _previews(texts: Sequence[str]) -> list[bytes]:
    """As strings: quoted, if that can be; a literal needs no leave for UTF-8."""
    return [render.string(text) for text in texts]


_DATES: Final[dict[type[f.FetchAttribute], tuple[bytes, int]]] = {
    f.InternalDate: (b"INTERNALDATE %b", b.INTERNALDATE),
    f.SaveDate: (b"SAVEDATE %b", b.SAVEDATE),
}
_SIMPLE: Final[dict[type[f.FetchAttribute], tuple[bytes, int, _Values]]] = {
    f.Rfc822Size: (b"RFC822.SIZE %d", b.SIZE, _column(b.SIZE)),
    # RFC 8474 sections 5.1 and 5.2
    f.EmailId: (b"EMAILID (M%d)", b.EMAIL, _column(b.EMAIL)),
    f.ThreadId: (b"THREADID (T%d)", b.THREAD, _column(b.THREAD)),
    f.Envelope: (b"ENVELOPE %b", b.ENVELOPE, _column(b.ENVELOPE)),
    f.BodyStructure: (b"BODYSTRUCTURE %b", b.BODYSTRUCTURE, _column(b.BODYSTRUCTURE)),
    f.Body: (b"BODY %b", b.BODYSTRUCTURE, _column(b.BODYSTRUCTURE, _bodies)),
    # RFC 8970 section 4.1: kept since delivery, so it is never NIL, LAZY or not; empty where there are no words.
    f.Preview: (b"PREVIEW %b", b.PREVIEW, _column(b.PREVIEW, _previews)),
}


# -- compiling -------------------------------------------------------------------------------------------------


def _section(part: tuple[int, ...], text: f.SectionText | None) -> str:
    words = [str(n) for n in part]
    if text is not None:
        fields = (f.SectionText.HEADER_FIELDS, f.SectionText.HEADER_FIELDS_NOT)
        words.append("HEADER" if text in fields else text.value)
    return ".".join(words)


def _body_item(attribute: f.FetchAttribute) -> BodyItem:
    label = attribute.response_label()
    match attribute:
        case f.BodySection(part, text, fields, partial):
            names = None
            if text in {f.SectionText.HEADER_FIELDS, f.SectionText.HEADER_FIELDS_NOT}:
                names = frozenset(name.lower().encode("utf-8") for name in fields)
            return BodyItem(
                label,
                _section(part, text),
                names,
                text is f.SectionText.HEADER_FIELDS_NOT,
                partial,
            )
        case f.BinarySection(part, partial):
            return BodyItem(label, _section(part, None), partial=partial, binary=True)
        case f.BinarySize(part):
            return BodyItem(label, _section(part, None), binary=True, size_only=True)
        case f.Rfc822Header():
            return BodyItem(label, "HEADER")
        case f.Rfc822Text():
            return BodyItem(label, "TEXT")
        case f.Rfc822():
            return BodyItem(label, "")
        case _:
            raise NotImplementedError(type(attribute).__name__)


def _is_kept(item: BodyItem) -> bool:
    return (
        item.names is not None
        and not item.exclude
        and item.section == "HEADER"
        and item.partial is None
        and item.names <= LIST_FIELDS
    )


def compile_plan(
    attributes: Sequence[f.FetchAttribute],
    *,
    uid: bool,
    modseq: bool,
    flags: bool = False,
    head: bytes = b"* %d FETCH (",
) -> Plan:
    """Compile the data items of a FETCH.

    :param uid: tell the UID whether or not it was asked for (UID FETCH).
    :param modseq: tell MODSEQ likewise.
    :param flags: tell FLAGS likewise.
    :param head: how a response begins (``SessionView.head<moxtwisted.imap.view.SessionView.head>``).
    """
    kinds = {type(a) for a in attributes}
    parts: list[bytes] = []
    values: list[_Values] = []
    columns = 0
    bodies: list[BodyItem] = []
    flags = flags or f.Flags in kinds
    modseq = modseq or f.ModSeq in kinds
    uid = uid or f.Uid in kinds
    of: _Values
    for wanted, template, of in (
        (uid, b"UID %d", _uids),
        (flags, b"FLAGS %b", _flags),
        (modseq, b"MODSEQ (%d)", _modseqs),
    ):
        if wanted:
            parts.append(template)
            values.append(of)
    # PREVIEW is one item, LAZY or not.
    alike = (f.Preview() if isinstance(a, f.Preview) else a for a in attributes)
    for attribute in dict.fromkeys(alike):
        if isinstance(attribute, f.Uid | f.Flags | f.ModSeq):
            continue
        simple = _SIMPLE.get(type(attribute))
        date = _DATES.get(type(attribute))
        if date is not None:
            template, column = date
            of = _dates(column)
        elif simple is not None:
            template, column, of = simple
        else:
            item = _body_item(attribute)
            if not _is_kept(item):
                bodies.append(item)
                columns |= b.SIZE | b.HEADER_SIZE | b.PREFIX_SIZE | (b.PARTS if item.needs_parts else 0)
                continue
            template, column, of = (
                item.label.replace(b"%", b"%%") + b" %b",
                b.FIELDS,
                _column(b.FIELDS, literals_of(item.names or frozenset())),
            )
        parts.append(template)
        values.append(of)
        columns |= column
    return Plan(head + b" ".join(parts), tuple(values), columns, tuple(bodies), uid, flags, modseq, head)
