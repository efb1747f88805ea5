"""Attacks that ask forgotten knowledge in other ways."""
