"""Self-contained HTML pages about runs: plain data, and a template that shows it."""
