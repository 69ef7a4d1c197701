"""Reports and the messages that carry them, as their senders make them."""

from __future__ import annotations

import base64
import gzip
import io
import json
import zipfile
from typing import Any

BEGIN, END = 1_799_900_000, 1_799_986_399

ROW = """<record><row><source_ip>192.0.2.{n}</source_ip><count>{n}</count><policy_evaluated><disposition>none</disposition>
<dkim>{dkim}</dkim><spf>fail</spf><reason><type>forwarded</type><comment>looks so</comment></reason></policy_evaluated></row>
<identifiers><envelope_from>example.org</envelope_from><header_from>example.org</header_from></identifiers>
<auth_results><dkim><domain>example.org</domain><selector>2026a</selector><result>{dkim}</result></dkim>
<dkim><domain>other.example</domain><result>hardfail</result></dkim>
<spf><domain>example.org</domain><scope>mfrom</scope><result>FAIL</result></spf></auth_results></record>
"""


def xml(
    domain: str = "example.org", end: int = END, rows: str | None = None, root: str = "<feedback>"
) -> bytes:
    """An aggregate report; three messages of which one passed."""
    if rows is None:
        rows = ROW.format(n=1, dkim="pass") + ROW.format(n=2, dkim="fail")
    return f"""<?xml version="1.0" encoding="UTF-8" ?>
{root}<version>1.0</version><report_metadata><org_name>Reporter</org_name><email>dmarc@reporter.example</email>
<report_id>4711</report_id><date_range><begin>{BEGIN}</begin><end>{end}</end></date_range></report_metadata>
<policy_published><domain>{domain}</domain><adkim>r</adkim><aspf>s</aspf><p>reject</p><sp>none</sp><pct>100</pct></policy_published>
{rows}</feedback>""".encode()


def tls(domain: str = "example.org", **changes: Any) -> dict[str, Any]:
    """A report about TLS."""
    return {
        "organization-name": "Reporter",
        "date-range": {"start-datetime": "2027-01-14T00:00:00Z", "end-datetime": "2027-01-14T23:59:59Z"},
        "contact-info": "tls@reporter.example",
        "report-id": "2027-01-14T00:00:00Z_example.org",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-string": [
                        "version: STSv1",
                        "mode: enforce",
                        "mx: mx.example.org",
                        "max_age: 86400",
                    ],
                    "policy-domain": domain,
                    "mx-host": ["mx.example.org"],
                },
                "summary": {"total-successful-session-count": 10, "total-failure-session-count": 3},
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "192.0.2.1",
                        "receiving-mx-hostname": "mx.example.org",
                        "receiving-ip": "198.51.100.1",
                        "failed-session-count": 3,
                    }
                ],
            }
        ],
        **changes,
    }


def tls_json(domain: str = "example.org", **changes: Any) -> bytes:
    """The same as JSON."""
    return json.dumps(tls(domain, **changes)).encode()


def zipped(octets: bytes, name: str = "report.xml", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip with one file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(name, octets)
    return out.getvalue()


def part(octets: bytes, media_type: str, name: str = "") -> bytes:
    """A body part in base64, with its header."""
    parameter = f'; name="{name}"' if name else ""
    disposition = f'Content-Disposition: attachment; filename="{name}"\r\n' if name else ""
    body = base64.encodebytes(octets).replace(b"\n", b"\r\n")
    return (
        f"Content-Type: {media_type}{parameter}\r\n{disposition}Content-Transfer-Encoding: base64\r\n\r\n".encode()
        + body
    )


def message(
    attached: bytes,
    top: str = "From: dmarc@reporter.example",
    kind: str = "multipart/mixed",
    subject: str = "Report",
) -> bytes:
    """A message with a sentence for people and an attachment."""
    return (
        f'{top}\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: {kind}; boundary="b"\r\n\r\n'.encode()
        + b"--b\r\nContent-Type: text/plain\r\n\r\nThis is a report.\r\n--b\r\n"
        + attached
        + b"\r\n--b--\r\n"
    )


def dmarc_message(octets: bytes | None = None, **changes: str) -> bytes:
    """As RFC 7489 section 7.2.1.1 has it."""
    packed = gzip.compress(xml() if octets is None else octets)
    return message(part(packed, "application/gzip", "reporter.example!example.org!1!2.xml.gz"), **changes)


def tls_message(octets: bytes | None = None, **changes: str) -> bytes:
    """As RFC 8460 section 5.3 has it."""
    packed = gzip.compress(tls_json() if octets is None else octets)
    attached = part(packed, "application/tlsrpt+gzip", "reporter.example!example.org!1!2.json.gz")
    return message(attached, kind='multipart/report; report-type="tlsrpt"', **changes)
