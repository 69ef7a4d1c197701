"""HTML of strangers, made fit to be looked at.

::

    clean('<p onclick="…">Hi <img src="https://tracker.example/1.gif"></p>', {})
    # Cleaned(document='<!DOCTYPE html>…<p>Hi <img></p>…', left_out=1)

What is left has no scripts, no forms, no styles but harmless ones, and loads nothing from anywhere: pictures that the message itself
brought are put in. What is more intricate than people write is cut off. ``POLICY`` is the content security policy that the document
is sent with, which forbids the same once more.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping

import nh3
from attrs import frozen

__all__ = ["POLICY", "Cleaned", "clean"]

#: No script, no form, no request: a sandbox without an origin, with styles and pictures that are in the document itself. A link opens in
#: a window of its own, when a person follows it.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)

#: Octets of pictures that are put into one document.
PICTURES_OCTETS = 8 * 1024 * 1024

#: Tags of one document. To take nested elements apart costs time as the square of their number.
TAGS = 20_000
#: Copies that a parser may have to make: it repeats what ``<font …>`` and its kin began in each paragraph that follows, and 80 kB of
#: HTML become a gigabyte.
COPIES = 1_000_000

_TAG = re.compile(r"<(?:/|([a-zA-Z][^\s/>]*)([\s/]?))")
# Of <a> and <nobr> only one is ever open; of those without attributes, three that are the same.
_REPEATED = frozenset(("b", "big", "code", "em", "font", "i", "s", "small", "strike", "strong", "tt", "u"))
_REST = "<p><em>There is more, but it is too intricate to be shown.</em></p>"

#: SVG is not among them: it is a document, not only a picture.
_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"})

_STAND_IN = re.compile(r'src="(cid:\d+)"')

#: What a link may lead to.
_SCHEMES = {"http", "https", "mailto", "tel"}
#: What browsers leave out at both ends of an address.
_IGNORED = "".join(map(chr, range(33)))

_STYLES = frozenset(
    """background-color border border-bottom border-bottom-color border-bottom-left-radius border-bottom-right-radius
    border-bottom-style border-bottom-width border-collapse border-color border-left border-left-color border-left-style
    border-left-width border-radius border-right border-right-color border-right-style border-right-width border-spacing
    border-style border-top border-top-color border-top-left-radius border-top-right-radius border-top-style border-top-width
    border-width box-sizing caption-side clear color direction display float font font-family font-size font-style font-variant
    font-weight height letter-spacing line-height list-style-type margin margin-bottom margin-left margin-right margin-top
    max-height max-width min-height min-width opacity overflow overflow-wrap padding padding-bottom padding-left padding-right
    padding-top table-layout text-align text-decoration text-indent text-overflow text-transform unicode-bidi vertical-align
    visibility white-space width word-break word-spacing word-wrap""".split()  # noqa: SIM905  (a list to read)
)

_LAYOUT = {"align", "valign", "width", "height", "bgcolor", "border"}
_ATTRIBUTES = {
    **{name: set(values) for name, values in nh3.ALLOWED_ATTRIBUTES.items()},
    "*": {"style", "title", "lang", "dir"},
    "font": {"color", "face", "size"},
}
for _name in ("table", "tbody", "thead", "tfoot", "tr", "td", "th", "img", "div", "p", "h1", "h2", "h3"):
    _ATTRIBUTES[_name] = _ATTRIBUTES.get(_name, set()) | _LAYOUT
_ATTRIBUTES["table"] |= {"cellpadding", "cellspacing"}
_ATTRIBUTES["img"] |= {"src", "alt"}
_TAGS = nh3.ALLOWED_TAGS | {"font", "tfoot", "big"}

_HEAD = (
    '<!DOCTYPE html><html><head><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>Message</title>'
    "<style>html{background:#fff;color:#1b1b1f;font:16px/1.5 system-ui,sans-serif}body{margin:1rem;overflow-wrap:anywhere}"
    "img{max-width:100%}pre{white-space:pre-wrap}</style></head><body>"
)


@frozen
class Cleaned:
    """A document.

    :ivar document: all of it, text of HTML.
    :ivar left_out: how many things were not loaded from elsewhere.
    """

    document: str
    left_out: int


def clean(source: str, pictures: Mapping[str, tuple[str, bytes]]) -> Cleaned:
    """Clean the HTML of a message.

    :param source: as it came.
    :param pictures: media type and octets by Content-ID, what ``cid:`` URLs are about.
    """
    embedding = _Embedding(pictures)
    end = _readable(source)
    body = nh3.clean(
        source[:end],
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=embedding.attribute,
        url_schemes=_SCHEMES | {"cid"},
        filter_style_properties=_STYLES,
        set_tag_attribute_values={"a": {"target": "_blank"}},
        link_rel="noopener noreferrer",
        strip_comments=True,
    )
    embedded = embedding.embedded
    body = _STAND_IN.sub(lambda match: f'src="{embedded.get(match[1], match[1])}"', body)
    rest = _REST if end < len(source) else ""
    return Cleaned(f"{_HEAD}{body}{rest}</body></html>", embedding.left_out)


def _readable(source: str) -> int:
    """How much of the source can be taken apart at reasonable cost.

    What ends elements is not looked at: that depends on more than the name of a tag.
    """
    repeated = copies = 0
    for count, match in enumerate(_TAG.finditer(source)):
        copies += repeated
        if count == TAGS or copies > COPIES:
            return match.start()
        if match[2] and match[1].lower() in _REPEATED:
            repeated += 1
    return len(source)


class _Embedding:
    """Decides on attributes: pictures of the message are put in, other pictures are left out."""

    def __init__(self, pictures: Mapping[str, tuple[str, bytes]]) -> None:
        self._pictures = pictures
        self._room = PICTURES_OCTETS
        self.left_out = 0
        self.embedded: dict[str, str] = {}

    def attribute(self, tag: str, name: str, value: str) -> str | None:
        if tag == "img" and name == "src":
            return self._source(value)
        if name in {"href", "cite"}:
            scheme, colon, _ = value.strip(_IGNORED).partition(":")
            # What is relative would be relative to us.
            return value if colon and scheme.lower() in _SCHEMES else None
        return value

    def _source(self, value: str) -> str | None:
        scheme, _, identity = value.strip().partition(":")
        picture = self._pictures.get(_unquoted(identity)) if scheme.lower() == "cid" else None
        if picture is None or picture[0] not in _PICTURES or len(picture[1]) > self._room:
            self.left_out += 1
            return None
        stand_in = f"cid:{len(self.embedded)}"
        self._room -= len(picture[1])
        media_type, octets = picture
        self.embedded[stand_in] = html.escape(f"data:{media_type};base64,{base64.b64encode(octets).decode()}")
        return stand_in


def _unquoted(identity: str) -> str:
    from urllib.parse import unquote

    return unquote(identity)
