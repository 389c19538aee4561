"""Measurements of a model between epochs: what the papers' analyses plot beyond accuracy."""
