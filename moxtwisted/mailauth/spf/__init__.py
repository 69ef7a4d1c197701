"""SPF (RFC 7208): whether a domain's owner lets a client send mail in the domain's name.

::

    from moxtwisted.mailauth.spf.evaluation import Evaluator
    from moxtwisted.mailauth.spf.trace import received_spf

    evaluator = Evaluator(resolver, clock, receiver="mx.example.org")
    result = await evaluator.check_mail_from(ip_address("192.0.2.1"), "alice@example.com", helo="client.example.com")
    result.verdict                       # Verdict.PASS
    result.mechanism                     # "ip4:192.0.2.0/24"
    received_spf(result, "mx.example.org")   # b"Received-SPF: pass (mx.example.org: domain of ...

``macros`` has what stands between percent signs, ``record`` what a record says, ``evaluation`` what it comes to for a client,
``trace`` the header field.
"""
