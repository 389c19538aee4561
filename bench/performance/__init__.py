"""What is meant to be fast, measured in pairs: each against what it replaces."""
