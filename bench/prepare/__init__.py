"""Preparation of public archives, or copies of suites, in the one format that tasks are read from."""
