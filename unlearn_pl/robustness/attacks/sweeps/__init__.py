"""Attacks that are run in several settings."""
