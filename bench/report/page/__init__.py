"""The page: leaderboard, cells, claims and pictures in one file that needs no server."""

from bench.report.page.rendering import render

__all__ = ["render"]
