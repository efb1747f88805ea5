"""From questions, answers and texts to tokens."""
