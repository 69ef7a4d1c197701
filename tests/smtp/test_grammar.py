"""Command lines, parameters and replies, octets to values and back."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from moxtwisted.errors import OverQuotaError
from moxtwisted.smtp.grammar import (
    MAIL_PARAMETERS,
    RCPT_PARAMETERS,
    SyntaxRefused,
    decode_base64,
    decode_xtext,
    encode_xtext,
    parse_chunk_size,
    parse_parameters,
    split_command,
    split_path,
    valid_hello_name,
)
from moxtwisted.smtp.replies import RawReply, Reply, StandardReplies, reply_for_error

ALL_MAIL = {k: v for rules in MAIL_PARAMETERS.values() for k, v in rules.items()}
ALL_RCPT = {k: v for rules in RCPT_PARAMETERS.values() for k, v in rules.items()}


class CommandTests(SynchronousTestCase):
    """Verbs, paths, names."""

    def test_split_command(self) -> None:
        """The verb in upper case and the argument; trailing white space is gone; what is no word is no verb."""
        for line, expected in (
            (b"NOOP", ("NOOP", b"")),
            (b"mail FROM:<a@b> \t", ("MAIL", b"FROM:<a@b>")),
            (b"QUIT\t ", ("QUIT", b"")),
            (b"", ("", b"")),
            (b" NOOP", ("", b"NOOP")),
            (b"NO\xc3P", ("", b"")),
            (b"A" * 33, ("", b"")),
        ):
            self.assertEqual(split_command(line), expected)

    def test_split_path(self) -> None:
        """Path and parameters, also where a quoted local part has a bracket or a space in it."""
        for argument, expected in (
            (b"FROM:<a@b.example>", (b"<a@b.example>", b"")),
            (b"from: <a@b.example> SIZE=1  X", (b"<a@b.example>", b"SIZE=1  X")),
            (b'FROM:<"a> b"@b.example> SIZE=1', (b'<"a> b"@b.example>', b"SIZE=1")),
            (b"FROM:<>", (b"<>", b"")),
        ):
            self.assertEqual(split_path(argument, b"FROM:"), expected)
        for argument in (
            b"FROM:",
            b"FROM:a@b",
            b"FROM:<a@b",
            b"TO:<a@b>",
            b"FROM:  <a@b>",
            b"FROM:<a@b>SIZE=1",
            b"FROM <a@b>",
        ):
            self.assertRaises(SyntaxRefused, split_path, argument, b"FROM:")

    def test_hello_names(self) -> None:
        """Domains, underscores and literals; on submission anything printable."""
        for name in (
            b"a",
            b"mx.example",
            b"my_host.example.",
            b"[192.0.2.1]",
            b"[IPv6:2001:db8::1]",
            b"[x-tag:any]",
        ):
            self.assertTrue(valid_hello_name(name, lenient=False), name)
        for name in (
            b"",
            b"-a",
            b"a..b",
            b"a b",
            b"[192.0.2.256]",
            b"[IPv6:zz]",
            b"[]",
            b"a\xc3",
            b"(",
            b"x" * 256,
        ):
            self.assertFalse(valid_hello_name(name, lenient=False), name)
        self.assertTrue(valid_hello_name(b"(me!)", lenient=True))
        self.assertFalse(valid_hello_name(b"a\x7f", lenient=True))

    def test_chunk_sizes(self) -> None:
        """Digits and LAST, nothing else."""
        self.assertEqual(parse_chunk_size(b"0 last"), (0, True))
        self.assertEqual(parse_chunk_size(b"123"), (123, False))
        for bad in (b"", b"-1", b"1 FIRST", b"1LAST", b"0x1", b"9" * 21):
            self.assertIsNone(parse_chunk_size(bad))

    def test_base64(self) -> None:
        """Strict base64."""
        self.assertEqual(decode_base64(b""), b"")
        self.assertEqual(decode_base64(b"AGEAYg=="), b"\0a\0b")
        for bad in (b"AGEAYg=", b"AGEAYg", b"AG EAYg==", b"\xff", b"====", b"AGEAYg==x"):
            self.assertIsNone(decode_base64(bad), bad)

    @settings(max_examples=200)
    @given(st.binary(max_size=80))
    def test_any_octets(self, octets: bytes) -> None:
        """Any octets are values or SyntaxRefused."""
        split_command(octets)
        valid_hello_name(octets, lenient=False)
        for keyword, rules in ((b"FROM:", ALL_MAIL), (b"TO:", ALL_RCPT)):
            try:
                _, words = split_path(keyword + octets, keyword)
                parse_parameters(words, rules)
            except SyntaxRefused as e:
                self.assertIn(e.reply_code, {501, 555})

    @settings(max_examples=200)
    @given(st.lists(st.sampled_from(sorted(ALL_MAIL)), max_size=4), st.text("=+;<>@.A1fz\u00e9", max_size=12))
    def test_any_values(self, keywords: list[bytes], value: str) -> None:
        """Any values of the known parameters are understood or refused."""
        with contextlib.suppress(SyntaxRefused):
            parse_parameters(b" ".join(k + b"=" + value.encode() for k in keywords), ALL_MAIL)


class ParameterTests(SynchronousTestCase):
    """Values of MAIL and RCPT parameters."""

    def mail(self, octets: bytes) -> dict[str, object]:
        return parse_parameters(octets, ALL_MAIL)

    def test_mail(self) -> None:
        """Each becomes its value."""
        until = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
        self.assertEqual(
            self.mail(
                b"size=10 BODY=binarymime AUTH=e+3Dmc2@example.com SMTPUTF8 RET=full ENVID=a+2Bb REQUIRETLS"
            ),
            {
                "size": 10,
                "body": "BINARYMIME",
                "auth": "e=mc2@example.com",
                "smtputf8": True,
                "ret": "FULL",
                "envid": "a+b",
                "require_tls": True,
            },
        )
        self.assertEqual(self.mail(b"AUTH=<>"), {"auth": "<>"})
        self.assertEqual(self.mail(b"HOLDFOR=86400"), {"hold_for_seconds": 86400})
        self.assertEqual(self.mail(b"HOLDUNTIL=2026-01-02T03:04:05+02:00"), {"hold_until": until})
        self.assertEqual(self.mail(b"HOLDUNTIL=2026-01-02t01:04:05z"), {"hold_until": until.astimezone(UTC)})

    def test_bad_mail(self) -> None:
        """Bad values are 501 5.5.4."""
        for octets in (
            b"SIZE=-1", b"SIZE=" + b"1" * 21, b"BODY", b"AUTH", b"AUTH=nobody", b"AUTH=a+3d", b"RET=x", b"ENVID=" + b"x" * 101,
            b"ENVID=\xc3\xa9", b"ENVID=a+0A", b"HOLDFOR=0", b"HOLDFOR=1234567890", b"HOLDUNTIL=2026-13-01T00:00:00Z",
            b"HOLDUNTIL=2026-01-01", b"HOLDUNTIL=2026-01-01T00:00:00", b"REQUIRETLS=1", b"HOLDFOR=1 HOLDUNTIL=2026-01-01T00:00:00Z",
        ):  # fmt: skip
            error = self.assertRaises(SyntaxRefused, self.mail, octets)
            self.assertEqual((error.reply_code, error.enhanced_code), (501, "5.5.4"), octets)

    def test_rcpt(self) -> None:
        """NOTIFY and ORCPT."""
        self.assertEqual(
            parse_parameters(b"NOTIFY=success,DELAY ORCPT=RFC822;a+2Bb@example.org", ALL_RCPT),
            {"notify": frozenset({"SUCCESS", "DELAY"}), "orcpt": ("rfc822", "a+b@example.org")},
        )
        # Postfix says rfc822 where RFC 6533 has utf-8.
        for octets in (b"ORCPT=rfc822;+E2+82+AC@example.org", "ORCPT=rfc822;€@example.org".encode()):
            self.assertEqual(parse_parameters(octets, ALL_RCPT), {"orcpt": ("utf-8", "€@example.org")})
        for address in (b"\\x{20AC}@example.org", "€@example.org".encode()):
            self.assertEqual(
                parse_parameters(b"ORCPT=utf-8;" + address, ALL_RCPT), {"orcpt": ("utf-8", "€@example.org")}
            )
        for octets in (
            b"NOTIFY=", b"NOTIFY=NEVER,NEVER", b"NOTIFY=SOON", b"ORCPT=a@b", b"ORCPT=;a", b"ORCPT=rfc822;" + b"x" * 500,
            b"ORCPT=rfc822;a+zz", b"ORCPT=rfc822;+E2+82", b"ORCPT=rfc822;+0A", b"ORCPT=rfc822;+C2+85",
            b"ORCPT=x400;+E2+82+AC", b"ORCPT=utf-8;\xff", b"ORCPT=utf-8;\\x{D800}", b"ORCPT=utf-8;\\x{FFFFFF}", b"ORCPT=utf-8;\\x{0A}",
        ):  # fmt: skip
            self.assertRaises(SyntaxRefused, parse_parameters, octets, ALL_RCPT)

    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
    def test_xtext(self, text: str) -> None:
        """Xtext of any printable text gives it back."""
        self.assertEqual(decode_xtext(encode_xtext(text)), text)


class ReplyTests(SynchronousTestCase):
    """Replies on the wire."""

    def test_wire(self) -> None:
        """One line, several with the enhanced code on each, none of text."""
        self.assertEqual(Reply(250, "2.0.0", "ok").wire(), b"250 2.0.0 ok\r\n")
        self.assertEqual(Reply(550, "5.7.1", ("no", "never")).wire(), b"550-5.7.1 no\r\n550 5.7.1 never\r\n")
        self.assertEqual(Reply(334).wire(), b"334 \r\n")
        self.assertEqual(Reply(250, "", "").wire(), b"250 \r\n")

    def test_line_ends_cannot_be_smuggled_in(self) -> None:
        """CR and LF in a text become spaces."""
        self.assertEqual(Reply(250, "", "a\r\n250 b").wire(), b"250 a  250 b\r\n")

    def test_long_lines_are_folded(self) -> None:
        """No line has more than 512 octets, and no UTF-8 character is cut; a SASL challenge is one line."""
        wire = Reply(550, "5.7.1", "é" * 400 + " word" * 200).wire()
        for line in wire.split(b"\r\n")[:-1]:
            self.assertLessEqual(len(line), 510)
            line.decode("utf-8")
        self.assertEqual(Reply(334, "", "A" * 2000).wire().count(b"\r\n"), 1)

    def test_errors(self) -> None:
        """A MailError has its reply; the detail stays inside."""
        self.assertEqual(
            reply_for_error(OverQuotaError("secret")), Reply(452, "4.2.2", "mailbox is over its quota")
        )

    def test_raw(self) -> None:
        """A raw reply is what it is."""
        self.assertEqual(RawReply(250, octets=b"\xff\n").wire(), b"\xff\n")
        self.assertTrue(RawReply(550, octets=b"").closing().close)

    def test_standard_replies(self) -> None:
        """Each has an enhanced code of its class, but for those that RFC 2034 leaves without; 421 and 221 close."""
        for name, reply in vars_of(StandardReplies()).items():
            if reply.code in {353, 354}:
                self.assertEqual(reply.enhanced, "")
            else:
                self.assertEqual(reply.enhanced[0], str(reply.code)[0], name)
            if reply.code in {421, 221}:
                self.assertTrue(reply.close, name)


def vars_of(replies: StandardReplies) -> dict[str, Reply]:
    """Its replies by name."""
    import attrs

    return {a.name: getattr(replies, a.name) for a in attrs.fields(StandardReplies)}
