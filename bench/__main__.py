"""``python -m bench``."""

import sys

from bench.cli.streams import run_program

OWN_PACKAGES = ("bench", "methods")


def main() -> int:
    """Run a command; name a package that is not installed with the command that installs it."""
    try:
        from bench.cli.main import main as run_command  # imports packages

        return run_command()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if "--debug" in sys.argv or package in ("", *OWN_PACKAGES):
            raise
        sys.stderr.write(f"bench: {package} is not installed: pip install -e .\n")
        return 2  # BAD_INPUT, whose own module imports packages


if __name__ == "__main__":
    raise SystemExit(run_program(main))
