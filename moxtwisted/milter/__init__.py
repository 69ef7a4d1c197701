"""Milters: filters that an MTA asks about each message, in the protocol that sendmail made (there is no RFC; libmilter's
``mfdef.h`` is its definition, versions 2 and 6 of it are spoken here).

``client`` is the MTA's side as a pure machine, ``agent`` talks to a filter over Twisted.
"""
