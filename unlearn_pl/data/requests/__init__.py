"""Deletion requests, and parts of another data module."""
