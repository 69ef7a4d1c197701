"""moxtwisted: mail protocols for Twisted, and the mail server ``moxmail`` composed of them."""

__version__ = "0.1.0"
