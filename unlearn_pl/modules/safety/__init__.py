"""Checks of what files may name, before anything that they name is imported, called or loaded."""
