"""Tests of ``moxtwisted.server.lending``."""
