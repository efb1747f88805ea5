"""Which method really forgets: knowledge layer by layer, and leaks in sampled answers."""
