"""Measures of how prompts relate to patch tokens: pure functions, and sweeps over a model."""

from bench.studies.measures.prompted_pass import layer_inputs, require_prompts
from bench.studies.measures.sweeps import alignments, by_layer

__all__ = ["alignments", "by_layer", "layer_inputs", "require_prompts"]
