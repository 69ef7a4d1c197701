"""What a cleaned document may have; an oracle that shares nothing with what cleans."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

HARMLESS = {
    "html", "head", "meta", "title", "style", "body", "a", "abbr", "acronym", "area", "article", "aside", "b", "bdi", "bdo",
    "big", "blockquote", "br", "caption", "center", "cite", "code", "col", "colgroup", "data", "dd", "del", "details", "dfn",
    "div", "dl", "dt", "em", "figcaption", "figure", "font", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup",
    "hr", "i", "img", "ins", "kbd", "li", "map", "mark", "nav", "ol", "p", "pre", "q", "rp", "rt", "rtc", "ruby", "s", "samp",
    "small", "span", "strike", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr",
    "tt", "u", "ul", "var", "wbr",
}  # fmt: skip

#: Attributes that load, send or name something.
ACTIVE = {
    "srcset",
    "background",
    "action",
    "formaction",
    "http-equiv",
    "poster",
    "srcdoc",
    "id",
    "ping",
    "data",
}


class _Seen(HTMLParser):
    """What a browser would see, more or less."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def tags(document: str) -> list[tuple[str, dict[str, str]]]:
    """The tags of a document with their attributes."""
    seen = _Seen()
    seen.feed(document)
    seen.close()
    return seen.found


def complaints(document: str) -> list[str]:
    """What in a document acts, loads, or is not known to do neither."""
    return list(_complaints(document))


def _complaints(document: str) -> Iterator[str]:
    for tag, attributes in tags(document):
        if tag not in HARMLESS:
            yield f"the tag {tag}"
        for name, value in attributes.items():
            where = f"{tag} {name}={value}"
            if name.startswith("on") or name in ACTIVE or (name == "name" and tag != "meta"):
                yield where
            # Base64 may spell anything; what kind of picture it is stands before it.
            kind, comma, _ = value.partition(",")
            if name == "src" and not (comma and kind.startswith("data:image/") and "svg" not in kind):
                yield where
            # Browsers leave out control characters and spaces before an address.
            scheme = value.lstrip("".join(map(chr, range(33)))).partition(":")[0].lower()
            if name in {"href", "cite"} and scheme not in {"http", "https", "mailto", "tel"}:
                yield where
            if name == "style" and ("url" in value.lower() or "position" in value.lower()):
                yield where
