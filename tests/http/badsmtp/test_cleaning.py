"""HTML of strangers does nothing."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.http.badsmtp import cleaning
from moxtwisted.http.badsmtp.cleaning import clean
from tests.http.badsmtp.harmless import complaints

PICTURES = {
    "dot@x": ("image/png", b"\x89PNG"),
    "bad@x": ("image/svg+xml", b"<svg onload=alert(1)>"),
    'q"x': ("image/gif", b"GIF"),
}

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

    def test_what_is_intricate_is_cut(self) -> None:
        """HTML that a parser would need minutes or gigabytes for is shown as far as it can be had cheaply."""
        letters = "".join(f"<font size={n}>" for n in range(5000)) + "<p>x" * 5000
        for source in (
            "<div>" * 400_000,
            letters,
            "<div title='</div>'>" * 100_000,
            "<b><table></b></table>" * 90_000,
        ):
            with self.subTest(source=source[:20]):
                document = clean(source, {}).document
                self.assertIn("too intricate", document)
                self.assertLess(len(document), 12_000_000)
        plain = "<p><font color=red>Hi</font> <b>Bob</b><br></p>" * 300
        self.assertNotIn("too intricate", clean(plain, {}).document)

    def test_a_picture_many_times(self) -> None:
        """A picture of no octets may be named as often as somebody likes."""
        document = clean('<img src="cid:none">' * 15_000, {"none": ("image/gif", b"")}).document
        self.assertEqual(document.count('src="data:image/gif;base64,"'), 15_000)

    @settings(max_examples=300)
    @given(st.lists(PIECES | st.text(max_size=10), max_size=10).map("".join))
    @example("<svg><style><img src=x><!--<img src=x onerror=alert(1)>")
    def test_anything(self, source: str) -> None:
        """Whatever comes in, what goes out has harmless tags, no handlers, and loads nothing."""
        self.assertEqual(complaints(clean(source, PICTURES).document), [])
