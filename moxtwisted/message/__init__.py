"""Internet messages: scanning, what mail clients are told about them, and writing them.

A message is raw octets. ``moxtwisted.message.mime.Scanner`` reads them once, as they come;
``moxtwisted.message.products.render`` makes of its finding all that the store keeps beside the octets::

    scanner = Scanner()
    for chunk in chunks:
        scanner.feed(chunk)
    scanned = scanner.finish()
    rendered = render(scanned, lambda offset, length: message[offset : offset + length])

Nothing here ever refuses a message: mail that breaks every rule is still stored, and shown as well as may be.
"""
