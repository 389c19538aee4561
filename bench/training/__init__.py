"""Training of one cell: model and data become an outcome."""
