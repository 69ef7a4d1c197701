"""DMARC (RFC 7489, RFC 9091): what the owner of a domain wants done with mail that uses it in From and cannot show that it may.

::

    from moxtwisted.mailauth.dmarc.evaluation import Authenticated, Evaluator

    evaluator = Evaluator(resolver, entropy)
    result = await evaluator.evaluate("news.example.com", Authenticated(spf_domain="example.com", dkim_domains=()))
    result.verdict, result.disposition     # (Verdict.PASS, Policy.NONE)
    result.why                             # "SPF passed for example.com, which is aligned"

``record`` has what a record says, ``discovery`` whose record holds, ``evaluation`` what it comes to,
``destinations`` who may be sent reports.
"""
