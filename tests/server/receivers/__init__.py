"""Processes that take mail in for others."""
