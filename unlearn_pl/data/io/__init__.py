"""Rows from files and from the hub, each with its place for messages."""
