"""Backbones: building, weights, compatibility with methods, and the frozen trunk's forward pass."""
