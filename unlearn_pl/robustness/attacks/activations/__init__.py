"""Attacks that read or change what layers compute."""
