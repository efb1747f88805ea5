"""Causal language models: specification, forward pass, scoring, generation and LoRA."""
