"""Rows from files and from the hub, each with the place where it was found."""
