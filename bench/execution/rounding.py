"""The rounding by which the score of a cell that is trained again may differ from the recorded."""

# Of the images of a set: folding a method into the weights, and another order of sums, round.
ROUNDING = {"fp32": 0.002, "tf32": 0.005, "bf16": 0.01}


def is_beyond_rounding(found: float, expected: float, images: int, precision: str) -> bool:
    """Return whether two accuracies in percent differ by more images than rounding may turn."""
    allowed = max(1.0, ROUNDING[precision] * images)
    return abs(found - expected) * images > 100 * allowed + 1e-6
