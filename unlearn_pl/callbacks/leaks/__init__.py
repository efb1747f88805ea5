"""Options of evaluations: leaks in sampled answers."""
