"""Evaluations of further benchmarks."""
