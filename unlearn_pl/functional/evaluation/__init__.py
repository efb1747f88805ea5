"""Numbers of the benchmarks, as functions of scores per token or per example."""
