"""Tests of moxtwisted.server.verification."""
