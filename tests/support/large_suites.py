"""Suite cards of very many tasks, all of them built-in images under other names."""

from pathlib import Path


def write(path: Path, tasks: int, methods: list[str], seeds: int = 1) -> str:
    """Write the card; return its path as a request names it."""
    head = (
        f'name = "large"\ntitle = "Large"\nversion = 1\nrecipe = "quick"\n[default]\n'
        f'methods = {methods}\nbackbones = ["vit_micro_mae"]\nseeds = {list(range(seeds))}\n'
    )
    task = '[[task]]\nname = "t{}"\ngroup = "Natural"\nclasses = 10\nembedded = "digits"\n'
    path.write_text(head + "".join(map(task.format, range(tasks))), encoding="utf-8")
    return str(path)
