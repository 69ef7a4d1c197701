"""DomainKeys Identified Mail: a domain signs what it sends, and says in the DNS with which key (RFC 6376).

While a message comes in, one pass hashes it for all its signatures; what the signatures are worth is said afterwards::

    hasher = MessageHasher()                            # moxtwisted.mailauth.inflow
    hasher.feed(octets)                                 # any pieces
    hashed = hasher.finish()
    for verification in await verify(hashed, resolver, now=clock.seconds()):
        verification.status, verification.reason        # Status.PASS, None
        verification.signature.domain                   # "example.org"

A signature on its way out::

    key = SigningKey.from_pem("example.org", "2026a", pem)
    header_field = sign(header, hashed.bodies, key, SigningRules(), now=clock.seconds())

``tags`` reads what both the header field and the DNS record consist of, ``signature`` the field, ``record`` the record, ``canonical`` is
what is hashed, ``keys`` the arithmetic.
"""
