"""Sources of paraphrased questions."""
