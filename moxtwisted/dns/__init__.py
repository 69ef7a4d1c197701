"""The domain name system: names, messages, and a stub resolver that knows whether an answer can be believed.

==================  =====================================================================
``answers``         what a lookup comes to (``Answer``, ``Security``), ``IResolver``
``names``           names as the DNS has them, A-labels, reverse names
``records``         what records say
``message``         the codec
``servers``         whom to ask: addresses, ``/etc/resolv.conf``
``exchange``        one question put to the servers until one answers (a machine)
``cache``           what was found, in bounded memory
``resolution``      chains of CNAME records, absence, lifetimes
``validation``      DNSSEC: the chain of trust, with ``signatures``, ``denial``, ``anchors``
``agent``           the resolver for Twisted
``testing``         a resolver over a dictionary
==================  =====================================================================
"""
