"""Proof of forgetting: leaks in sampled answers, and knowledge layer by layer."""
