"""Make ``moxtwisted/store/mail-1.zdict``, the dictionary that small messages are compressed with.

It is trained on messages made here, of the phrases that mail programs, relays, lists and newsletters write: what
small messages have in common is their headers and their HTML. No real mail is in it. The file that is shipped never
changes: what was compressed with it needs it for ever. A better one gets a number of its own.

Run: python tests/bench/train_dictionary.py OUTPUT
"""

from __future__ import annotations

import base64
import random
import sys
from collections.abc import Callable
from pathlib import Path

import zstandard

SAMPLES = 6000
DICTIONARY_OCTETS = 48 * 1024
DICTIONARY_NUMBER = 0x6D780001

WORDS = """the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not
what all were we when your can said there use an each which she do how their if will up other about out many then them these
so some her would make like him into time has look two more write go see number no way could people my than first water been
call who oil its now find long down day did get come made may part please thanks regards meeting tomorrow attached invoice
order account update password security week project team report question answer help support service information contact
customer payment shipping delivery confirm click here below unsubscribe newsletter offer free new best hello dear hi kind
Ich die und der das nicht ein sie ist mit es auf für den von Sie wir uns bitte danke Grüße freundlichen Rechnung Bestellung
Konto Passwort Anfrage le la les et des est pas vous nous pour dans que qui sur avec merci bonjour cordialement facture commande
compte el los las por para con una su gracias hola saludos factura pedido cuenta""".split()
NAMES = (
    "Anna Ben Carla David Eva Frank Grace Henry Ida John Karen Lars Maria Nils Olga Paul Ruth Sven Tina Uwe Vera Will "
    "Miller Smith Schmidt Müller Garcia Martin Dubois Rossi Jansen Novak Kim Lee Chen Singh Ali Cohen"
).split()
DOMAINS = "example.com example.org example.net mail.example.com lists.example.org news.example.net corp.example".split()
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Maker:
    """Makes messages, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def token(self, length: int, letters: str = "abcdefghijklmnopqrstuvwxyz0123456789") -> str:
        return "".join(self.random.choices(letters, k=length))

    def base64(self, octets: int, width: int = 72) -> str:
        text = base64.b64encode(self.random.randbytes(octets)).decode()
        return "\r\n\t ".join(text[i : i + width] for i in range(0, len(text), width))

    def ip(self) -> str:
        return ".".join(str(self.random.randrange(1, 255)) for _ in range(4))

    def host(self) -> str:
        return f"{self.pick('mail', 'mx1', 'mx', 'smtp', 'out', 'mail-ed1-f50', 'mta3', 'relay', 'node7')}.{self.domain()}"

    def domain(self) -> str:
        return self.random.choice(DOMAINS)

    def date(self) -> str:
        r = self.random
        zone = self.pick(
            "+0000", "+0200", "+0100", "-0700", "-0500", "+0000 (UTC)", "-0700 (PDT)", "+0200 (CEST)"
        )
        return (
            f"{r.choice(DAYS)}, {r.randrange(1, 29)} {r.choice(MONTHS)} 20{r.randrange(15, 30)} "
            f"{r.randrange(24):02}:{r.randrange(60):02}:{r.randrange(60):02} {zone}"
        )

    def name(self) -> str:
        return f"{self.random.choice(NAMES)} {self.random.choice(NAMES)}"

    def address(self) -> str:
        return f"{self.pick('info', 'no-reply', 'noreply', 'support', self.random.choice(NAMES).lower())}@{self.domain()}"

    def mailbox(self) -> str:
        return self.pick(
            f"{self.name()} <{self.address()}>", f'"{self.name()}" <{self.address()}>', f"<{self.address()}>"
        )

    def words(self, count: int) -> str:
        return " ".join(self.random.choices(WORDS, k=count))

    def lines(self, count: int) -> str:
        return "".join(
            self.words(self.random.randrange(4, 14)).capitalize() + self.pick(".", ",", "!", "?", "") + "\r\n"
            for _ in range(count)
        )

    def received(self) -> str:
        r, to = self, self.address()
        return self.pick(
            f"Received: from {r.host()} ({r.host()} [{r.ip()}])\r\n\tby {r.host()} (Postfix) with ESMTPS id {r.token(10).upper()}\r\n\tfor <{to}>; {r.date()}\r\n",
            f"Received: from {r.host()} ({r.host()} [{r.ip()}])\r\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\r\n\t key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256)\r\n\t(No client certificate requested)\r\n\tby {r.host()} (Postfix) with ESMTPS id {r.token(10).upper()}\r\n\tfor <{to}>; {r.date()}\r\n",
            f"Received: by {r.host()} with SMTP id {r.token(16)}mr{r.token(8)}.5.16{r.token(8)};\r\n        {r.date()}\r\n",
            f"Received: from {r.host()} ({r.host()}. [{r.ip()}])\r\n        by mx.google.com with ESMTPS id {r.token(20)}\r\n        for <{to}>\r\n        (version=TLS1_3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256);\r\n        {r.date()}\r\n",
            f"Received: from {r.host()} ([{r.ip()}] helo={r.host()})\r\n\tby {r.host()} with esmtps (TLS1.3:ECDHE_X25519__RSA_PSS_RSAE_SHA256__AES_256_GCM:256)\r\n\t(Exim 4.96)\r\n\t(envelope-from <{r.address()}>)\r\n\tid 1{r.token(5)}-{r.token(6)}-{r.token(2)}; {r.date()}\r\n",
            f"Received: from {r.host()} ({r.ip()}) by\r\n {r.host()} ({r.ip()}) with Microsoft SMTP Server\r\n (version=TLS1_2, cipher=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) id\r\n 15.20.{r.random.randrange(9000)}.{r.random.randrange(40)}; {r.date()}\r\n",
        )  # fmt: skip

    def signature(self) -> str:
        return (
            f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/{self.pick('relaxed', 'simple')}; d={self.domain()};\r\n"
            f"\ts={self.pick('default', 'selector1', 'k1', '20230601', 's1', 'mail', '2026a')}; t=17{self.token(8, '0123456789')};"
            f"{self.pick('', ' x=17' + self.token(8, '0123456789') + ';', ' q=dns/txt;')}\r\n\tbh={self.base64(32)};\r\n"
            f"\th={self.pick('From:To:Cc:Subject:Date:Message-ID:From', 'from:to:cc:subject:date:message-id:reply-to', 'Date:From:To:Subject:In-Reply-To:References:List-Unsubscribe:MIME-Version:Content-Type')};\r\n"
            f"\tb={self.base64(256)}\r\n"
        )

    def results(self) -> str:
        domain = self.domain()
        return self.pick(
            f"Authentication-Results: {self.host()};\r\n\tdkim=pass header.d={domain} header.s=default header.b={self.token(8)};\r\n\tspf=pass (sender IP is {self.ip()}) smtp.mailfrom={self.address()} smtp.helo={self.host()};\r\n\tdmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from={domain}\r\n",
            f"Received-SPF: pass (google.com: domain of {self.address()} designates {self.ip()} as permitted sender) client-ip={self.ip()};\r\n",
            f"ARC-Seal: i=1; a=rsa-sha256; t=17{self.token(8, '0123456789')}; cv=none;\r\n        d=google.com; s=arc-20240605;\r\n        b={self.base64(256)}\r\nARC-Authentication-Results: i=1; mx.google.com;\r\n       dkim=pass header.i=@{domain}; spf=pass smtp.mailfrom={self.address()}; dmarc=pass (p=NONE sp=NONE dis=NONE) header.from={domain}\r\n",
        )  # fmt: skip

    def extras(self) -> str:
        return "".join(
            self.random.sample(
                (
                    "X-Google-Smtp-Source: AGHT+" + self.base64(48) + "\r\n",
                    "X-Spam-Status: No, score=-2.1 required=5.0 tests=BAYES_00,DKIM_SIGNED,DKIM_VALID,DKIM_VALID_AU,SPF_PASS autolearn=ham\r\n",
                    "X-MS-Exchange-Organization-SCL: -1\r\nX-MS-Has-Attach:\r\nX-MS-TNEF-Correlator:\r\nThread-Topic: " + self.words(3) + "\r\n",
                    "X-Mailer: Apple Mail (2.3774.600.62)\r\n",
                    "User-Agent: Mozilla Thunderbird\r\nContent-Language: en-US\r\n",
                    "User-Agent: Mutt/2.2.12 (2023-09-09)\r\nContent-Disposition: inline\r\n",
                    f"List-Id: <{self.token(6)}.{self.domain()}>\r\nList-Unsubscribe: <mailto:unsubscribe@{self.domain()}>,\r\n <https://{self.domain()}/unsubscribe?u={self.token(20)}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nList-Help: <mailto:help@{self.domain()}?subject=help>\r\nList-Post: <mailto:list@{self.domain()}>\r\nPrecedence: list\r\n",
                    "Auto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\n",
                    "X-Priority: 3\r\nImportance: normal\r\nX-MSMail-Priority: Normal\r\n",
                    f"Feedback-ID: {self.token(6)}:{self.token(6)}:campaign\r\nX-Report-Abuse: abuse@{self.domain()}\r\n",
                    "X-Originating-IP: [" + self.ip() + "]\r\n",
                    "Accept-Language: en-US\r\n",
                ),
                self.random.randrange(5),
            )
        )  # fmt: skip

    def head(self) -> str:
        subject = self.pick("", "Re: ", "Fwd: ", "AW: ") + self.words(self.random.randrange(2, 8))
        if self.random.random() < 0.2:
            subject = (
                "=?UTF-8?"
                + self.pick(
                    "B?" + base64.b64encode(subject.encode()).decode(), "Q?" + subject.replace(" ", "_")
                )
                + "?="
            )
        threads = f"In-Reply-To: <{self.token(20)}@{self.domain()}>\r\nReferences: <{self.token(20)}@{self.domain()}>\r\n <{self.token(20)}@{self.domain()}>\r\n"
        return (
            "".join(self.received() for _ in range(self.random.randrange(3)))
            + (self.signature() if self.random.random() < 0.5 else "")
            + (self.results() if self.random.random() < 0.4 else "")
            + f"From: {self.mailbox()}\r\nTo: {self.mailbox()}\r\n"
            + self.pick("", f"Cc: {self.mailbox()},\r\n {self.mailbox()}\r\n", f"Reply-To: {self.mailbox()}\r\n")
            + f"Subject: {subject}\r\nDate: {self.date()}\r\n"
            + self.pick(f"Message-ID: <{self.token(32)}@{self.domain()}>\r\n", f"Message-Id: <20260101120000.{self.token(10).upper()}@{self.host()}>\r\n", f"Message-ID:\r\n <CA{self.token(40)}@mail.gmail.com>\r\n")
            + self.pick("", threads)
            + self.extras()
            + "MIME-Version: 1.0\r\n"
        )  # fmt: skip

    def html(self) -> str:
        rows = "".join(
            f'<tr><td style="padding:{self.random.randrange(30)}px 0;font-family:Arial,Helvetica,sans-serif;font-size:14px;line-height:20px;color:#333333;">{self.words(9)} <a href="https://{self.host()}/{self.token(12)}?utm_source=newsletter&amp;utm_medium=email&amp;utm_campaign={self.token(6)}" style="color:#0066cc;text-decoration:none;" target="_blank">{self.words(2)}</a></td></tr>\r\n'
            for _ in range(self.random.randrange(1, 5))
        )
        return self.pick(
            f'<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\r\n<html xmlns="http://www.w3.org/1999/xhtml">\r\n<head>\r\n<meta http-equiv="Content-Type" content="text/html; charset=utf-8" />\r\n<meta name="viewport" content="width=device-width, initial-scale=1.0" />\r\n<title>{self.words(3)}</title>\r\n<style type="text/css">\r\nbody {{ margin:0; padding:0; }} img {{ border:0; }} table {{ border-collapse:collapse; }}\r\n@media only screen and (max-width: 600px) {{ .container {{ width:100% !important; }} }}\r\n</style>\r\n</head>\r\n<body bgcolor="#ffffff">\r\n<table width="100%" border="0" cellspacing="0" cellpadding="0" align="center">\r\n{rows}</table>\r\n<img src="https://{self.host()}/o/{self.token(16)}.gif" width="1" height="1" alt="" />\r\n</body>\r\n</html>\r\n',
            f'<div dir="ltr">{self.words(12)}<br></div><br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">On {self.date()} {self.name()} &lt;<a href="mailto:{self.address()}">{self.address()}</a>&gt; wrote:<br></div><blockquote class="gmail_quote" style="margin:0px 0px 0px 0.8ex;border-left:1px solid rgb(204,204,204);padding-left:1ex">{self.words(12)}</blockquote></div>\r\n',
            f'<html><head>\r\n<meta http-equiv="Content-Type" content="text/html; charset=utf-8">\r\n</head>\r\n<body>\r\n<p>{self.words(14)}</p>\r\n<div class="moz-cite-prefix">{self.words(3)}<br>\r\n</div>\r\n<blockquote type="cite">\r\n<pre wrap="" class="moz-quote-pre">{self.words(10)}</pre>\r\n</blockquote>\r\n</body>\r\n</html>\r\n',
        )  # fmt: skip

    def plain(self) -> str:
        quoted = "".join("> " + line + "\r\n" for line in self.lines(3).split("\r\n"))
        signature = f"-- \r\n{self.name()}\r\n{self.address()}\r\n"
        return (
            self.pick(
                "Hi,\r\n\r\n",
                "Hello,\r\n\r\n",
                "Dear Sir or Madam,\r\n\r\n",
                "Hallo,\r\n\r\n",
                "Bonjour,\r\n\r\n",
                "",
            )
            + self.lines(self.random.randrange(2, 8))
            + self.pick("", f"\r\nOn {self.date()}, {self.name()} wrote:\r\n{quoted}")
            + self.pick("", "\r\nBest regards,\r\n", "\r\nMit freundlichen Grüßen\r\n", "\r\nThanks,\r\n")
            + self.pick("", signature)
        )

    def message(self) -> str:
        makers: tuple[Callable[[], str], ...] = (self.simple, self.simple, self.alternative, self.attachment)
        return self.random.choice(makers)()

    def simple(self) -> str:
        kind = self.pick(
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
            'Content-Type: text/plain; charset="UTF-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n',
            "Content-Type: text/plain; charset=UTF-8; format=flowed\r\nContent-Transfer-Encoding: 7bit\r\n",
            "Content-Type: text/plain; charset=us-ascii\r\n",
        )
        return self.head() + kind + "\r\n" + self.plain()

    def alternative(self) -> str:
        mark = self.pick(
            "0000000000" + self.token(22),
            "----=_Part_" + self.token(20),
            "b1_" + self.token(32),
            "=-" + self.token(22),
        )
        return (
            f'{self.head()}Content-Type: multipart/alternative;{self.pick(" ", chr(13) + chr(10) + chr(9))}boundary="{mark}"\r\n\r\n'
            f'--{mark}\r\nContent-Type: text/plain; charset="UTF-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{self.plain()}\r\n'
            f'--{mark}\r\nContent-Type: text/html; charset="UTF-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{self.html()}\r\n--{mark}--\r\n'
        )

    def attachment(self) -> str:
        mark = "----=_NextPart_" + self.token(24)
        name = self.words(1) + self.pick(".pdf", ".docx", ".png", ".jpg", ".ics", ".xlsx")
        kind = self.pick(
            "application/pdf",
            "application/octet-stream",
            "image/png",
            "image/jpeg",
            "text/calendar; charset=UTF-8; method=REQUEST",
        )
        return (
            f'{self.head()}Content-Type: multipart/mixed; boundary="{mark}"\r\n\r\nThis is a multi-part message in MIME format.\r\n'
            f"--{mark}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n{self.plain()}\r\n"
            f'--{mark}\r\nContent-Type: {kind}; name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\n'
            f"Content-Transfer-Encoding: base64\r\n\r\n{self.base64(200)}\r\n--{mark}--\r\n"
        )


def main() -> None:
    """Train and write."""
    maker = Maker(1)
    samples: list[bytes | bytearray | memoryview] = [maker.message().encode() for _ in range(SAMPLES)]
    dictionary = zstandard.train_dictionary(
        DICTIONARY_OCTETS, samples, dict_id=DICTIONARY_NUMBER, level=3, threads=1
    )
    Path(sys.argv[1]).write_bytes(dictionary.as_bytes())
    fresh = [Maker(seed).message().encode() for seed in range(1000, 1500)]
    for label, compressor in (
        ("without", zstandard.ZstdCompressor(level=3)),
        ("with", zstandard.ZstdCompressor(level=3, dict_data=dictionary)),
    ):
        share = sum(len(compressor.compress(m)) for m in fresh) / sum(map(len, fresh))
        print(f"{label} dictionary: {share:.3f} of {sum(map(len, fresh)) / len(fresh):.0f} octets")


if __name__ == "__main__":
    main()
