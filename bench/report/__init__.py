"""Records become tables and pictures; needs neither torch nor timm."""

from bench.report.files import Regenerated, regenerate, stale

__all__ = ["Regenerated", "regenerate", "stale"]
