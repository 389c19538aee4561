"""Building blocks that several methods share: prompts, attention, clustering, the registry."""
