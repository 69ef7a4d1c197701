"""Send to a server that misbehaves, and see what smtplib makes of it::

python examples/badsmtp_client.py 127.0.0.1 2525 http://127.0.0.1:25080

``moxmail badsmtp`` runs the server, and prints these ports.
"""

import json
import smtplib
import sys
import urllib.request

MESSAGE = b"From: alice@example.org\r\nTo: bob@example.org\r\nSubject: hello\r\n\r\nIt works.\r\n"


def outcome(
    host,
    port,
    sender="alice@example.org",
    recipients=("bob@example.org",),
    hello="tester.example",
    login=None,
):
    """Send a message; what became of it, in a word or two."""
    try:
        with smtplib.SMTP(host, port, local_hostname=hello, timeout=10) as smtp:
            if login:
                smtp.login(*login)
            refused = smtp.sendmail(sender, recipients, MESSAGE)
    except smtplib.SMTPRecipientsRefused as error:
        return "nobody: " + ", ".join(str(code) for code, _ in error.recipients.values())
    except smtplib.SMTPResponseException as error:
        return f"{type(error).__name__} {error.smtp_code}"
    except smtplib.SMTPServerDisconnected:
        return "cut off"
    return "sent, but " + ", ".join(f"{r}: {code}" for r, (code, _) in refused.items()) if refused else "sent"


def wait(url, recipient):
    """The newest message to somebody, as soon as it has come."""
    with urllib.request.urlopen(f"{url}/api/wait?to={recipient}&timeout=10") as answer:  # noqa: S310
        return json.load(answer)


def main(host, port, url):
    """Say what became of some messages."""
    print("all is well:", outcome(host, port))
    print("and came in as:", wait(url, "bob@example.org")["subject"])
    print("sender refused:", outcome(host, port, sender="mail550_5.7.1@example.org"))
    both = ("bob@example.org", "rcpt551@example.org")
    print("one recipient refused:", outcome(host, port, recipients=both))
    print("all recipients refused:", outcome(host, port, recipients=both[1:]))
    print("no data:", outcome(host, port, sender="data451@example.org"))
    print("refused after the dot:", outcome(host, port, sender="dend554@example.org"))
    print("taken, and hung up without a word:", outcome(host, port, sender="dend.close@example.org"))
    print("no EHLO, so HELO:", outcome(host, port, hello="reject.example"))
    print("log-in refused:", outcome(host, port, login=("badauth", "any")))
    print("log-in:", outcome(host, port, login=("alice", "any")))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
