"""Losses as functions of log-probabilities, logits and hidden states; all are minimized."""
