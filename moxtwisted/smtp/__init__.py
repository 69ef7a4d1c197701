"""SMTP, submission and LMTP: pure machines, and the Twisted protocols that carry them.

Where to look, from the wire inwards::

    grammar      command lines and parameters, with the RFC sections
    replies      the Reply value and the standard texts
    extensions   what EHLO offers, and how to offer something else
    events       what the server machine tells its caller
    server       the server machine: receive(data), next_event(), send(reply) -> bytes
    client       the client machine, the same shape from the other side
    interfaces   what a host implements (ISMTPHandlerFactory, ISMTPHandler, IMessageSink)
    settings     ServerSettings: every limit, time-out and option
    handlers     ready-made handlers to begin with
    protocol     the Twisted server protocol and its factory
    agent        the Twisted client: send_mail()
    testing      in-memory doubles for tests of hosts

This package imports no Twisted except in ``protocol`` and ``agent``.
"""
