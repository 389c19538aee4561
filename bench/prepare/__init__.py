"""Preparation of tasks from public archives or from copies of suites, in one on-disk format."""
