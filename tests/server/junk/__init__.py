"""Tests of the junk filter of accounts."""
