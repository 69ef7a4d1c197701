"""What others report to us: how mail fared that used our domains (DMARC), and TLS on its way here (TLSRPT).

::

    from moxtwisted.mailauth.reports.message import report_of

    report = report_of(octets)                      # ReportError says why it is none
    match report:
        case AggregateReport(): report.policy.domain, report.messages, report.failed
        case TLSReport(): report.policies[0].domain, report.failed

``attachments`` finds the part of a message and unpacks it, ``aggregate`` reads the XML of DMARC, ``tls`` the JSON of TLSRPT, and
``message`` puts them together, in steps that are short each, so that a program with a reactor can do other things between them.
"""
