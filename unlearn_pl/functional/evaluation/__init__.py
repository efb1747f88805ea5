"""Benchmark metrics as functions of per-token or per-example scores."""
