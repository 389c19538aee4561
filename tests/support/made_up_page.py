"""A claim, figures and a request for a made-up HTML page."""

CLAIM = {
    "paper": "2203.12119",
    "dataset": "VTAB-1k",
    "model": "ViT-B/16",
    "metric": "mean accuracy",
    "claimed": "71.96",
    "verified": "71.20 ± 0.41",
    "status": "verified",
}
SVG = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">
<metadata><a href="http://purl.org/"/></metadata><style type="text/css">*{fill: red}</style>
<path id="p" d="M 0 0"/><use xlink:href="#p" clip-path="url(#c)"/><clipPath id="c"/></svg>"""
PICTURES = {"one": SVG, "another": SVG}
REQUEST = {
    "suite": "mini",
    "method": "bias",
    "backbone": "vit_mini_mae",
    "task": "digits",
    "seed": 3,
    "recipe": None,
    "changes": {},
}
