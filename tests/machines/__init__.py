"""Boots real Debian hosts for the tests; knows nothing of the code that they test."""
