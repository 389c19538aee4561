"""SVG files made fit to stand inside a page, several of them, beside one another."""

import re

OUTSIDE = re.compile(r"<\?.*?\?>|<!DOCTYPE[^>\[]*(?:\[.*?\])?[^>]*>|<!--.*?-->", re.DOTALL)
UNSEEN = re.compile(r"<(metadata|script)\b.*?</\1\s*>", re.DOTALL)
NAMED = re.compile(r"""(\s(?:xml:)?id=["']|href=["']#|url\(["']?#|\saria-\w+by=["'])""")
STYLE = re.compile(r"<style\b[^>]*>(?:\s*<!\[CDATA\[)?(.*?)(?:\]\]>\s*)?</style>", re.DOTALL)


def inline(svg: str, name: str) -> str:
    """The element of an SVG file, its ids and its style sheets kept to itself by `name`."""
    element = UNSEEN.sub("", OUTSIDE.sub("", svg)).strip()
    element = NAMED.sub(rf"\g<1>{name}-", element)
    return STYLE.sub(rf"<style>#{name}{{\g<1>}}</style>", element)
