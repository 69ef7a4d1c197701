"""HTML of strangers does nothing."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.http.badsmtp import cleaning
from moxtwisted.http.badsmtp.cleaning import clean

PICTURES = {
    "dot@x": ("image/png", b"\x89PNG"),
    "bad@x": ("image/svg+xml", b"<svg onload=alert(1)>"),
    'q"x': ("image/gif", b"GIF"),
}

HARMLESS = {
    "html", "head", "meta", "title", "style", "body", "a", "abbr", "acronym", "area", "article", "aside", "b", "bdi", "bdo",
    "big", "blockquote", "br", "caption", "center", "cite", "code", "col", "colgroup", "data", "dd", "del", "details", "dfn",
    "div", "dl", "dt", "em", "figcaption", "figure", "font", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup",
    "hr", "i", "img", "ins", "kbd", "li", "map", "mark", "nav", "ol", "p", "pre", "q", "rp", "rt", "rtc", "ruby", "s", "samp",
    "small", "span", "strike", "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr",
    "tt", "u", "ul", "var", "wbr",
}  # fmt: skip

PIECES = st.sampled_from(
    (
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<img src='https://t.example/1.gif'>", '<img src="cid:dot@x">',
        "<img src=cid:bad@x>", "<img src='CID:q%22x'>", "<img srcset='https://t.example/2.gif 2x'>", "<a href='javascript:alert(1)'>",
        "<a href=' java\tscript:alert(1)'>", "<a href='https://ok.example/?a=1&b=2'>ok</a>", "<a href=cid:0>", "<svg><style><img src=x>",
        "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>", "<iframe src=//t.example>",
        "<div style='background:url(https://t.example/3.gif);color:red'>", "<div style='position:fixed;top:0'>", "<base href=//t.example>",
        "<form action=//t.example><input name=x><button>go</button></form>", "<meta http-equiv=refresh content='0;url=//t.example'>",
        "<style>@import url(//t.example)</style>", "<link rel=stylesheet href=//t.example>", "<object data=//t.example></object>",
        "<video src=//t.example poster=//t.example></video>", "<table background='https://t.example/4.gif'><tr><td>", "<!-- -->", "<!--",
        "</body></html>", "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>", "&lt;script&gt;", "<plaintext>",
        "]]>", "\0", '"', "'>",
        'src="cid:0"', "<p title='src=\"cid:0\"'>", "<a name=x id=y class=z>",
    )
)  # fmt: skip


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


class CleaningTests(SynchronousTestCase):
    """What is left."""

    def test_kept(self) -> None:
        """Words, links and how they look stay; links open in windows of their own and say nothing of us."""
        document = clean(
            '<p style="color:red">Hi <a href="https://x.example/?a=1&amp;b=2">there</a></p>', {}
        ).document
        self.assertIn('<p style="color:red">Hi <a href="https://x.example/?a=1&amp;b=2"', document)
        self.assertIn('target="_blank"', document)
        self.assertIn('rel="noopener noreferrer"', document)

    def test_pictures(self) -> None:
        """Pictures of the message are put in; those from elsewhere are left out and counted, and so is what is no picture."""
        source = '<img src="cid:dot@x" alt="a"><img src="cid:bad@x"><img src="https://t.example/x.gif"><img src="cid:none">'
        cleaned = clean(source, PICTURES)
        self.assertIn('<img src="data:image/png;base64,iVBORw==" alt="a">', cleaned.document)
        self.assertEqual(cleaned.left_out, 3)
        self.assertNotIn("svg", cleaned.document)
        self.assertNotIn("t.example", cleaned.document)

    def test_pictures_are_bounded(self) -> None:
        """One document has so many octets of pictures, however often it names them."""
        self.patch(cleaning, "PICTURES_OCTETS", 10)
        cleaned = clean('<img src="cid:dot@x">' * 5, PICTURES)
        self.assertEqual((cleaned.document.count("data:image"), cleaned.left_out), (2, 3))

    @settings(max_examples=300, deadline=None)
    @given(st.lists(PIECES | st.text(max_size=10), max_size=10).map("".join))
    @example("<svg><style><img src=x><!--<img src=x onerror=alert(1)>")
    def test_anything(self, source: str) -> None:
        """Whatever comes in, what goes out has harmless tags, no handlers, and loads nothing."""
        for tag, attributes in tags(clean(source, PICTURES).document):
            self.assertIn(tag, HARMLESS)
            for name, value in attributes.items():
                self.assertFalse(name.startswith("on"), (tag, name))
                self.assertNotIn(
                    name,
                    {"srcset", "background", "action", "http-equiv", "poster", "srcdoc", "id", "name"}
                    - ({"name"} if tag == "meta" else set()),
                )
                if name == "src":
                    self.assertTrue(value.startswith("data:image/") and "svg" not in value, value)
                if name in {"href", "cite"}:
                    self.assertIn(value.strip().partition(":")[0].lower(), {"http", "https", "mailto", "tel"})
                if name == "style":
                    self.assertNotIn("url", value.lower())
                    self.assertNotIn("position", value.lower())
