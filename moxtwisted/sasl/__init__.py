"""SASL (RFC 4422) for mail protocols: mechanisms without I/O, both sides.

A protocol asks L{moxtwisted.sasl.server.offered} what to announce, begins an exchange with
L{moxtwisted.sasl.server.begin}, and carries octets between it and the peer until it ends. What the exchange
must know of users it asks an L{ISASLBackend<moxtwisted.sasl.interfaces.ISASLBackend>}, which may wait::

    names = offered(SASLPolicy(), tls=True, bindings=bindings)
    exchange = begin("PLAIN", names, ServerContext(backend, os.urandom, decoys, bindings, plus_offered=True))
    step = await exchange.respond(decode_response(b"AG1qbABzZWNyZXQ="))
    # Success(login='mjl@example.org', account='mjl', ...)

The modules: C{outcome} (answers), C{server} and C{client} (entry points), C{passwords} (PLAIN, LOGIN),
C{scram}, C{cram}, C{external}, C{credentials} (what is stored of a password), C{decoys} (for unknown users),
C{prep} (PRECIS), C{wire} (base64 of responses).
"""
