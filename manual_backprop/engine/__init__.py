"""Runs the rules: base class, derived methods, native node. The mathematics is in `rules/`."""
