"""Tests of the junk filter."""
