"""Studies: what the papers' analyses ask of trained models, beyond their accuracy."""
