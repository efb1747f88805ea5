"""Checkpoints that are whole or absent, and checked when they are read."""
