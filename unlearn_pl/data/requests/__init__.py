"""Deletion requests, and data modules that expose part of another one."""
