"""What processes that the server starts have in common: how they are started and looked after, and how both sides talk.

::

    class Receivers(Supervision[Receiver]): ...      # the server's side: see ``supervision``
    link = Link(Word, heard, lost)                   # either side: see ``link``

What they say to each other, and what for, is not known here.
"""
