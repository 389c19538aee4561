"""Records become tables and pictures; needs neither torch nor timm."""
