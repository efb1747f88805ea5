"""Which method first? Every method at the small scale, with the same number of trials."""
