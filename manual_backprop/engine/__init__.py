"""What runs a rule; `rules/` is the mathematics."""
