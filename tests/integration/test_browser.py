"""The page of BadSMTP in a real browser: what a person does there, and what a hostile message cannot do."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from moxtwisted.badsmtp.configuration import Configuration
from moxtwisted.badsmtp.settings import LogSettings, Settings
from moxtwisted.compose.badsmtp import BadSMTP
from tests.integration.browser import Browser, Page
from tests.integration.peers import needs

#: No listener but these two, at any free port.
ONLY_SMTP_AND_HTTP = Settings.only(port=0, http_port=0)


class _Elsewhere(Factory):
    """A server that nobody is to talk to; it counts who does."""

    def __init__(self) -> None:
        self.visitors = 0

    def buildProtocol(self, addr: Any) -> Protocol | None:
        self.visitors += 1
        return None


@needs("chromium")
class PageTests(TestCase):
    """A visit to the page."""

    timeout = 180

    async def setUp(self) -> None:  # type: ignore[override]  # trial waits for it
        network: Any = reactor
        self.elsewhere = _Elsewhere()
        port = network.listenTCP(0, self.elsewhere, interface="127.0.0.2")
        self.addCleanup(port.stopListening)
        self.trap = f"http://127.0.0.2:{port.getHost().port}"
        self.server = BadSMTP(
            network, Configuration(settings=ONLY_SMTP_AND_HTTP, log=LogSettings(log_output="off"))
        )
        self.server.startService()
        self.addCleanup(self.server.stopService)
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        self.browser = Browser(network, directory)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.browser.stop()))
        await self.browser.start()
        self.page: Page = await self.browser.page()
        self.address = f"http://127.0.0.1:{self.server.ports['http']}/"
        await self.page.go(self.address)
        await self.page.until("document.querySelector('#live').dataset.state === 'on'")

    def tearDown(self) -> None:
        """Whatever a test did, the console is silent and nobody else was asked for anything."""
        self.assertEqual(self.page.complaints, [])
        others = [
            asked
            for asked in self.page.requests
            if not asked.startswith((self.address, "about:", "data:", "chrome:"))
        ]
        self.assertEqual(others, [])
        self.assertEqual(self.elsewhere.visitors, 0)

    async def send(self, subject: str, text: str, html: str = "") -> None:
        """Send a message as programs do."""
        letter = EmailMessage()
        letter["From"], letter["To"], letter["Subject"] = (
            "Alice <alice@example.org>",
            "bob@example.org",
            subject,
        )
        letter.set_content(text)
        if html:
            letter.add_alternative(html, subtype="html")

        def deliver() -> None:
            with smtplib.SMTP(
                "127.0.0.1", self.server.ports["smtp"], local_hostname="client.example"
            ) as client:
                client.send_message(letter)

        await deferToThread(deliver)

    async def test_a_visit(self) -> None:
        """A message appears without a reload, is opened by keyboard, shows text and dialogue, and is deleted; the playground answers."""
        page = self.page
        await page.until("document.querySelector('.empty')")
        await self.send("Grüße aus dem Test", "Follow https://shop.example/track?a=1&b=2, please.")
        await page.until("document.querySelector('#list .subject').textContent === 'Grüße aus dem Test'")
        await page.until("document.querySelector('#news').textContent.includes('Alice')")
        await page.evaluate("document.querySelector('#list a').focus()")
        await page.press("Enter")
        await page.until("document.querySelector('#subject').textContent === 'Grüße aus dem Test'")
        link = await page.evaluate("document.querySelector('pre.text a').href")
        self.assertEqual(link, "https://shop.example/track?a=1&b=2")
        await page.evaluate("document.querySelector('#tab-text').focus()")
        for _ in range(4):
            await page.press("ArrowRight")
        await page.until("document.querySelector('#tab-dialogue').getAttribute('aria-selected') === 'true'")
        dialogue = await page.evaluate("document.querySelector('.panel .dialogue').textContent")
        self.assertIn("ehlo client.example", dialogue)
        self.assertIn("RCPT TO:<bob@example.org>".lower(), dialogue.lower())

        await page.evaluate("location.hash = '#/playground'")
        await page.until("document.querySelector('.chip')")
        await page.evaluate("document.querySelector('#play-input').focus()")
        await page.type("EHLO tester.example\nMAIL FROM:<mail571@example.org>\nRSET")
        await page.press("Enter")
        await page.until("document.querySelector('#play-log').textContent.includes('571 Blocked')")
        # What follows a refusal is the person's to decide on.
        await page.until("document.querySelector('#play-input').value === 'RSET'")
        await page.press("Enter")
        await page.until("document.querySelector('#play-log li:last-child').textContent.includes('250 ')")

        await page.evaluate("location.hash = '#/ports'")
        await page.until(
            f"document.querySelector('#ports-body').textContent.includes('{self.server.ports['smtp']}')"
        )
        await page.evaluate("location.hash = '#/messages/1'")
        await page.until("document.querySelector('#delete')")
        await page.evaluate("document.querySelector('#delete').click()")
        await page.until("document.querySelector('.empty') && document.activeElement.id === 'search'")
        self.assertEqual(self.server.captured.messages(), ())

    async def test_an_answer_that_is_late(self) -> None:
        """A list that was made before a message came does not take it away again."""
        page = self.page
        await page.evaluate(
            """(() => {
                const ask = window.fetch;
                window.answers = 0;
                window.fetch = async (...words) => {
                    const answer = await ask(...words);
                    window.answers += 1;
                    await new Promise((done) => setTimeout(done, 600));
                    return answer;
                };
                document.querySelector('#search').dispatchEvent(new Event('input'));
            })()"""
        )
        await page.until("window.answers === 1")
        await self.send("meanwhile", "text")
        await page.until("document.querySelector('#news').textContent.includes('meanwhile')")
        await page.until("window.answers === 2")
        await page.until("document.querySelector('#list .subject').textContent === 'meanwhile'")

    async def test_a_hostile_message(self) -> None:
        """A message that tries all it can runs nothing, loads nothing, and leaves the page as it is."""
        page, trap = self.page, self.trap
        markup = f"<img src={trap}/a onerror='document.title=1'><script>fetch('{trap}/b')</script>"
        await self.send(
            f"</h1>{markup}",
            f"</pre>{markup} javascript:alert(1)",
            f"""{markup}<style>@import url({trap}/c)</style><link rel=stylesheet href={trap}/d><iframe src={trap}/e></iframe>
            <div style="background:url({trap}/f)">seen</div><form action={trap}/g><button>x</button></form><base href={trap}/>
            <meta http-equiv=refresh content="0;url={trap}/h"><a href="javascript:parent.document.title=2">link</a>
            <svg><image href={trap}/i /></svg><video src={trap}/j poster={trap}/k></video><object data={trap}/l></object>""",
        )
        await page.until("document.querySelector('#list .subject').textContent.startsWith('</h1><img')")
        for tab, shown in (
            ("text", "document.querySelector('pre.text').textContent.startsWith('</pre><img')"),
            ("headers", "document.querySelector('table.fields').textContent.includes('</h1>')"),
            ("parts", "document.querySelector('table.parts')"),
            ("source", "document.querySelector('pre.source').textContent.includes('@import')"),
            ("dialogue", "document.querySelector('.panel .dialogue')"),
            ("html", "document.querySelector('.notice:not([hidden])')?.textContent.includes('not loaded')"),
        ):
            await page.evaluate(f"location.hash = '#/messages/1/{tab}'")
            await page.until(shown)
        # The frame is there, and it is nobody's: not even the page looks into it.
        self.assertIsNone(await page.evaluate("document.querySelector('iframe').contentDocument"))
        await page.until("performance.getEntriesByName(document.querySelector('iframe').src).length")
        self.assertEqual(
            await page.evaluate(
                "document.querySelectorAll('main script, main img, main form:not(.prompt)').length"
            ),
            0,
        )
        self.assertEqual(await page.evaluate("document.title"), "Messages – BadSMTP")
