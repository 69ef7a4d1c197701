"""Tests of ``moxtwisted.load``."""
