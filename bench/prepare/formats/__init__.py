"""How each source lays its records out: one file a format. Source cards name them."""

from bench.prepare.formats.base import Opener

FORMATS: dict[str, Opener] = {}
