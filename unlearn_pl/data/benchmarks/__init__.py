"""Data modules of the benchmarks, and of a user's own files."""
