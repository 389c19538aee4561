"""Measures of a model between epochs: what the papers' analyses show beyond accuracy."""
