"""Benchmarks of what methods cost and of what is meant to be fast, measured in pairs."""
