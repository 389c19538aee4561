"""Write the file of a new method and its test from a template."""

import argparse
import keyword
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import methods
from bench.cli.common import print_lines
from bench.cli.parsing import Parser
from bench.utils import files
from bench.utils.errors import UserError

EXAMPLES = (
    "new-method scaled_adapter",
    "new-method scaled_adapter --out my_methods",
)
TEMPLATES = Path(__file__).parent / "templates"
FILES = {"{}.py": "method.py.txt", "test_{}.py": "test_method.py.txt"}


def add_options(parser: Parser) -> None:
    parser.add_argument("name", help="the name to register, such as scaled_adapter")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="write the files into this folder (default: the current one)",
    )


def run(args: argparse.Namespace) -> int:
    _require_free_name(args.name)
    texts = _texts(args.name)
    taken = [args.out / name for name in texts if (args.out / name).exists()]
    if taken:
        raise UserError(f"{taken[0]} exists: remove it, or choose another name or --out")
    args.out.mkdir(parents=True, exist_ok=True)
    written = files.write_files(args.out, {name: text.encode() for name, text in texts.items()})
    return print_lines([*written, *_next_steps(args.name, args.out / f"{args.name}.py")])


def _require_free_name(name: str) -> None:
    """Raise `UserError` for what can be no method's name, or is one's already."""
    if not re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise UserError(
            f"{name!r} cannot be a method's name: lower-case letters, digits and single "
            "underscores were expected, as in scaled_adapter"
        )
    if keyword.iskeyword(name) or find_spec(name):
        raise UserError(f"{name} is a name of Python or of a package: choose another name")
    if name in methods.names():
        raise UserError(f"a method {name} is registered already: choose another name")


def _texts(name: str) -> dict[str, str]:
    """Return the text of each file by its name."""
    words = name.split("_")
    filled = {"name": name, "title": " ".join(words).capitalize()}
    filled["cls"] = "".join(word.capitalize() for word in words)
    return {
        file.format(name): (TEMPLATES / template).read_text(encoding="utf-8").format(**filled)
        for file, template in FILES.items()
    }


def _next_steps(name: str, path: Path) -> Iterator[str]:
    test = path.with_name(f"test_{name}.py")
    yield ""
    yield "It is an adapter after each block: put the method in its place. Then:"
    yield f"  python -m bench check-method {name} --plugin {path}"
    yield f"  pip install pytest pytest-benchmark && python -m pytest {test}"
    yield f"  python -m bench run --methods linear,{name} --plugin {path} --results mine"
