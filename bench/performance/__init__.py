"""Benchmarks: the cost of methods, and the speed of the parts that should be fast."""
