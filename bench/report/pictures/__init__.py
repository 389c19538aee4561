"""Boards as pictures: each module draws one kind, as SVG and as PNG; needs matplotlib."""
