"""Processes that take mail in from strangers, and hand each complete message to the one that owns the accounts.

::

    plain = shapes.write_complete(message)                        # in the receiver: what msgspec.msgpack encodes
    message = shapes.read_complete(plain, octets, size, presence) # in the owner: the same message, or ShapeError
    answer = await outcome.take_in(message)
    reply = shapes.read_answer(shapes.write_answer(answer))

A receiver speaks SMTP with anybody and reads what anybody wrote; the owner believes none of its octets before their shape was looked at.
"""
