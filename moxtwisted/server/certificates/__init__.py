"""TLS for all listeners: certificates chosen by name, read again when their files change.

::

    store = CertificateStore((CertificateFiles("tls/mail.crt", "tls/mail.key"),), reactor)
    store.load()                                        # ConfigurationError names every bad file
    submission = store.server(TLSProfile(request_client_certificate=True))
    transport.startTLS(submission)                      # or TLSMemoryBIOFactory(submission, False, factory)
    ...
    bindings = channel_bindings(transport)              # for SCRAM-...-PLUS
    fingerprint = client_key_fingerprint(transport)     # for EXTERNAL

The modules: ``store`` (choice and reload), ``files`` (what is in them), ``contexts`` (OpenSSL settings), ``handed`` (without files),
``binding`` (facts of a connection), ``selfsigned`` (certificates for tests and a first start).
"""
