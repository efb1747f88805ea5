"""Arithmetic on the weights of whole models."""
