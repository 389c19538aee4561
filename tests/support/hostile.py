"""Texts that mean harm where they are printed, and checks of what a program has made of them."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from markdown_it import MarkdownIt
from markdown_it.token import Token

from support.page_data import unpacked

MARK = "PWN"  # in every hostile text
TEXTS = {
    "escape sequence": "\x1b[31mPWN\x1b]0;PWN\x07",
    "newline": "PWN\nbench: PWN\r\nPWN\n",
    "tab": "\tPWN\x0b\x0c",
    "nul": "PWN\0",
    "c1 control": "\x9b31mPWN\x85",
    "bidi override": "PWN\u202e\u2066\u061c",
    "zero width": "PWN\u200b\ufeff\u2028\u2029\u00ad\ufe0f\U000e0041",
    "surrogate": "PWN\udcff\ud800",
    "no glyph": "PWN 中 \ue000 \U0010ffff",
    "link": "[PWN](http://evil.example)",
    "image": "![PWN](http://evil.example/x.png)",
    "reference": "[PWN]: http://evil.example",
    "reference link": "[PWN][PWN] [PWN][] ![PWN]",
    "address": "http://evil.example www.evil.example PWN",
    "tag": "<script>PWN</script><img src=x onerror=PWN>",
    "entity": "&#8238;&lt;PWN&gt;",
    "pipe": "|PWN|`PWN`|",
    "emphasis": "**PWN** _PWN_ ~~PWN~~ $PWN$ __PWN__",
    "backslash": "\\*PWN\\* \\\\*PWN\\\\* \\|PWN\\",
    "heading": "# PWN",
    "list": "- PWN",
    "numbering": "1. PWN",
    "quotation": "> PWN",
    "fence": "```PWN",
    "formula": "=PWN+1",
    "formula of plus": "+PWN",
    "formula of minus": "-PWN",
    "formula of at": "@PWN",
    "wide formula": "＝PWN",
    "spaced formula": " =PWN",
    "late formula": "\t\r\n=PWN",
    "latex": "\\input{PWN}%$#_{^~}& ^^M",
    "latex option": "[PWN",
    "latex star": "*PWN",
    "attribute": '"\'><b PWN="',
    "rich markup": "[red]PWN[/red][link=http://evil.example]PWN[/link] :smile:",
    "formats": "%s%n{PWN}{0}{{PWN}}",
    "end of a comment": "--> <b>PWN",
    "end of cdata": "]]>PWN",
    "math": "$\\frac{PWN$",
    "template": "{{ PWN }}{% PWN %}",
    "underscore": "_PWN",
}


def problems(name: str, content: bytes) -> list[str]:
    """The problems of a generated file of that name."""
    check = CHECKS.get(Path(name).suffix)
    if check is None:
        return []
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return [f"{name}: {error}"]
    return [f"{name}: {problem}" for problem in check(text)]


def in_terminal(text: str) -> Iterator[str]:
    """The problems of a text for a terminal, or for a reader of lines."""
    for line in text.split("\n"):
        if not line.isprintable():
            yield f"not printable: {line!r}"
        if line.startswith(f"bench: {MARK}"):
            yield f"forged: {line!r}"


def in_markdown(text: str) -> Iterator[str]:
    yield from in_terminal(text)
    if found := re.search(r"(https?://|www\.)\S*evil\S*", LINK_TARGET.sub("", text)):
        yield f"linked as it stands: {found[0]}"
    for kind, content in _of_markdown(MarkdownIt("commonmark").enable("table").parse(text)):
        if (MARK in content or "evil" in content) and not OURS.fullmatch(content):
            yield f"in {kind}: {content!r}"
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        if len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}) > 1:
            yield f"a ragged table: {table[:2000]}"
    if found := re.search(FORMULA, LINK_TARGET.sub("", text)):
        yield f"a formula, or struck out: {found[0]}"


LINK_TARGET = re.compile(r"\]\([\w%.\-~/]*\)")
NOTICE, TO_A_FILE = r"<!-- made by [^<>\n]* -->\{\}", r"\{'href': '[\w%.\-~/]*'\}"
OURS = re.compile(f"{NOTICE}|{TO_A_FILE}|{{'src': '[\\w%.\\-~/]*', 'alt': ''}}")
FORMULA = re.compile(rf"(?<!\\)(\$|~~)[^\n]*{MARK}[^\n]*(?<!\\)\1")
ALLOWED_IN_MARKDOWN = {"text", "softbreak", "inline"}
CONTAINERS = ("link", "em", "strong", "bullet_list", "ordered_list", "blockquote")


def _of_markdown(tokens: list[Token]) -> Iterator[tuple[str, str]]:
    """The elements that are more than text, with the text inside them."""
    inside: list[str] = []
    for token in tokens:
        name = token.type.removesuffix("_open").removesuffix("_close")
        if name in CONTAINERS and token.nesting:
            inside = [*inside, name] if token.nesting > 0 else inside[:-1]
        if inside or (token.nesting == 0 and token.type not in ALLOWED_IN_MARKDOWN):
            yield inside[-1] if inside else token.type, token.content.strip() + str(token.attrs)
        yield from _of_markdown(token.children or [])


def in_csv(text: str) -> Iterator[str]:
    if not text.replace("\n", "").isprintable():
        yield f"not printable: {text!r}"
    lines = list(csv.reader(io.StringIO(text, newline="")))
    if len({len(line) for line in lines}) > 1:
        yield "lines of several lengths"
    for cell in (cell for line in lines for cell in line):
        if cell.lstrip()[:1] in tuple("=+-@＝＋－＠") or cell[:1] in tuple("\t\r\n"):
            try:
                float(cell)
            except ValueError:
                yield f"a formula: {cell!r}"


LATEX_LINE = re.compile(
    r"% .*|\\begin\{tabular\}\{l+\}|\\(top|mid|bottom)rule|\\end\{tabular\}|.* \\\\|", re.DOTALL
)


def in_latex(text: str) -> Iterator[str]:
    yield from in_terminal(text)
    for line in text.split("\n"):
        bare = re.sub(r"\\[\\&%$#_{}]", "", line)
        if not LATEX_LINE.fullmatch(line) or re.match(r"\s*[\[*]", line):
            yield f"no line of a table: {line!r}"
        if bare.count("{") != bare.count("}"):
            yield f"braces: {line!r}"
        body = bare.replace("$\\pm$", "").replace("\\ensuremath", "").removeprefix("% ")
        body = re.sub(r"\\(textbackslash|textasciitilde|\^)\{\}", "", body)
        if MARK in body and re.search(r"[$%#~]|\\[a-z]", body):
            yield f"a command: {line!r}"
    for table in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.DOTALL):
        if len({len(re.findall(r"(?<!\\)&", row)) for row in table.split("\\\\\n")[:1]}) > 1:
            yield f"a ragged table: {table}"


class _Elements(HTMLParser):
    """The elements of a page, and whether they look like ours."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.problems: list[str] = []
        self.scripts = 0
        self.inside_script = self.inside_data = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.inside_script = tag == "script"
        self.inside_data = self.inside_script and ("id", "data") in attrs
        if tag in ("img", "b", "iframe", "object", "embed", "base", "form"):
            self.problems.append(f"an element <{tag}>")
        for name, value in attrs:
            address = value or ""
            if name.startswith("on") or MARK.lower() in name:
                self.problems.append(f"an attribute {name}={value!r}")
            if name in ("href", "src") and not address.startswith(("#", "data:,", "https://arxiv")):
                self.problems.append(f"an address {value!r}")
            self._look(address)

    def handle_endtag(self, tag: str) -> None:
        self.inside_script = False

    def handle_comment(self, data: str) -> None:
        if MARK in data:
            self.problems.append(f"in a comment: {data!r}")

    def handle_data(self, data: str) -> None:
        if self.inside_data and self.inside_script:
            for text in _texts(unpacked(data)):
                self._look(text)
        elif not self.inside_script:
            self._look(data)

    def _look(self, text: str) -> None:
        if not text.replace("\n", "").isprintable():
            self.problems.append(f"not printable: {text!r}")


def _texts(value: Any) -> Iterator[str]:
    """All texts of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        entries = [*value, *value.values()] if isinstance(value, dict) else value
        for entry in entries:
            yield from _texts(entry)


def in_html(text: str) -> Iterator[str]:
    found = _Elements(text)
    yield from found.problems
    if found.scripts != 4:  # the data, the libraries of pictures and of tables, and the page's own
        yield f"{found.scripts} scripts"


def in_svg(text: str) -> Iterator[str]:
    yield from in_terminal(text)
    for element in ElementTree.fromstring(text).iter():
        name = str(element.tag).rpartition("}")[2]
        if name in ("script", "a", "foreignObject", "image", "iframe"):
            yield f"an element <{name}>"
        for key, value in element.attrib.items():
            if key.rpartition("}")[2].startswith("on") or MARK in value:
                yield f"an attribute {key}={value!r}"


def in_json(text: str) -> Iterator[str]:
    yield from in_terminal(text)
    json.loads(text)


CHECKS: dict[str, Callable[[str], Iterator[str]]] = {
    ".md": in_markdown,
    ".csv": in_csv,
    ".tex": in_latex,
    ".html": in_html,
    ".svg": in_svg,
    ".json": in_json,
}
