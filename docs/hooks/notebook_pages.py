"""The page of a notebook: its text, its code, and the outputs that it was committed with."""

import json
from collections.abc import Iterator
from typing import Any


def markdown_page(notebook: str) -> str:
    """Return a notebook as Markdown."""
    cells = json.loads(notebook)["cells"]
    return "\n".join(part for cell in cells for part in cell_parts(cell))


def cell_parts(cell: dict[str, Any]) -> Iterator[str]:
    """Yield the text of a cell, or its code and what it gave."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield f"{source}\n"
        return
    yield f"```python\n{source}\n```\n"
    for output in cell["outputs"]:
        yield output_part(output)


def output_part(output: dict[str, Any]) -> str:
    """Return an output: a table as HTML, anything else as text."""
    data = output.get("data", {"text/plain": output.get("text", [])})
    if "text/html" in data:
        return "".join(data["text/html"]) + "\n"
    return f"```text\n{''.join(data['text/plain']).rstrip()}\n```\n"
