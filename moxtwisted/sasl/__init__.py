"""SASL (RFC 4422) for mail protocols: mechanisms without I/O, both sides.

A protocol asks ``moxtwisted.sasl.server.offered`` what to announce, begins an exchange with
``moxtwisted.sasl.server.begin``, and carries octets between it and the peer until it ends. What the exchange
must know of users it asks an `ISASLBackend <moxtwisted.sasl.interfaces.ISASLBackend>`, which may wait::

    names = offered(SASLPolicy(), tls=True, bindings=bindings)
    exchange = begin("PLAIN", names, ServerContext(backend, os.urandom, decoys, bindings, plus_offered=True))
    step = await exchange.respond(decode_response(b"AG1qbABzZWNyZXQ="))
    # Success(login='mjl@example.org', account='mjl', ...)

The modules: ``outcome`` (answers), ``server`` and ``client`` (entry points), ``passwords`` (PLAIN, LOGIN),
``scram``, ``cram``, ``external``, ``credentials`` (what is stored of a password), ``decoys`` (for unknown users),
``prep`` (PRECIS), ``wire`` (base64 of responses).
"""
