"""The papers: what they claim, how their tables look, and what the records say of both."""
