"""Fewer solves of the combiner, and solves on sketches."""
