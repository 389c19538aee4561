"""``python -m bench``."""

from bench.cli.main import main
from bench.cli.streams import run_program

raise SystemExit(run_program(main))
