"""POP3: a server machine without I/O (``server``), its Twisted protocol (``protocol``), and what it asks of a host (``backend``).

::

    authenticator = MemoryAuthenticator({"alice": ("secret", MemoryMaildrop([b"Subject: hello\\r\\n\\r\\nworld\\r\\n"]))}, os.urandom)
    factory = POP3ServerFactory(ServerSettings(hostname="mail.example.org", allow_plain_without_tls=True), authenticator, reactor)
    TCP4ServerEndpoint(reactor, 110).listen(factory)
"""
