"""Text as it leaves the program: one escaping function for each kind of text that it goes into.

Names, messages and titles come from other people's cards, records and files, and may hold anything.
Whatever the target, a character that a reader cannot see, or that moves the cursor, is written as
Python writes it: ``\\x1b``, ``\\u202e``. Plain text passes unchanged.
"""

import base64
import gzip
import json
import re
from urllib.parse import quote

# printable by Unicode's categories, and drawn as nothing: fillers and variation selectors
_DRAWN_AS_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_BYTE_SURROGATES = range(0xDC80, 0xDD00)  # bytes of a file's name that are not text


def for_terminal(text: object) -> str:
    """Return text for a terminal, on one line."""
    return _visible(str(text))


def for_figure(text: str) -> str:
    """Return text for a picture, on one line; formulas are off in the figures' style."""
    return _visible(text)


def for_markdown(text: str) -> str:
    """Return text on one line of Markdown, in which nothing is a link, a tag, a cell's end, ...

    Brackets as in ``lora[rank=2]`` and underscores inside words mean nothing, and stay.
    """
    escaped = _MARKDOWN_SYNTAX.sub(_escape_markdown, _one_line(text))
    return _MARKDOWN_NUMBERING.sub(r"\1\\\2", escaped)


def for_link(name: str) -> str:
    """Return the name of a file as a link's target, in Markdown or HTML."""
    return quote(name, errors="surrogatepass")


def for_csv(value: object) -> object:
    """Return a cell of CSV that no spreadsheet takes for a formula; numbers stay numbers.

    Its lines stay lines, which CSV quotes.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if not isinstance(value, str):
        return value
    text = _visible_lines(value)
    is_formula = text.lstrip()[:1] in _FORMULA_STARTS and not _is_number(text)
    return f"'{text}" if is_formula or text.startswith("\n") else text


def for_latex(text: str) -> str:
    """Return text on one line of LaTeX, in a table's cell or a comment."""
    line = _one_line(text)
    escaped = "".join(_LATEX.get(c) or _ascii_for_latex(c) for c in line)
    return f"{{{line[0]}}}{escaped[1:]}" if line.startswith(("[", "*")) else escaped  # after a \\\\


def for_html(text: str) -> str:
    """Return text for an HTML element or a quoted attribute; its lines stay lines."""
    return _visible_lines(text).translate(_HTML)


def for_script(value: object) -> str:
    """Return JSON for a script element of HTML, as base64 of gzip: no text can end the element.

    Its texts are to be shown as they are: as text, never as HTML.
    """
    text = json.dumps(_visible_texts(value), ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _visible_texts(value: object) -> object:
    """Return what JSON can hold with all its texts made visible, keys among them."""
    if isinstance(value, str):
        return _visible_lines(value)
    if isinstance(value, dict):
        return {_visible_lines(str(key)): _visible_texts(entry) for key, entry in value.items()}
    return [_visible_texts(entry) for entry in value] if isinstance(value, list | tuple) else value


def _visible_lines(text: str) -> str:
    return "\n".join(map(_visible, text.split("\n"))) if "\n" in text else _visible(text)


def _visible(text: str) -> str:
    if text.isprintable() and (text.isascii() or not _DRAWN_AS_NOTHING.search(text)):
        return text
    return "".join(map(_visible_character, text))


def _visible_character(c: str) -> str:
    if c.isprintable() and not _DRAWN_AS_NOTHING.match(c):
        return c
    if ord(c) in _BYTE_SURROGATES:
        return f"\\x{ord(c) - 0xDC00:02x}"
    return c.encode("unicode_escape").decode("ascii")


def _one_line(text: str) -> str:
    """Return prose on one line: line breaks become spaces."""
    return _visible(" ".join(text.split()))


_MARKDOWN_SYNTAX = re.compile(
    r"""
      \\+(?=[|`*~$_\]<>&]|$)           # it would undo an escape that follows
    | [|`*~$]                          # cells, code, emphasis, strikethrough, formulas
    | (?<![^\W_])_ | _(?![^\W_])       # at the edge of a word: emphasis
    | \](?=[(\[:])                     # links, images, references and their definitions
    | (?<=:)/(?=/) | (?<=\bwww)\.      # addresses that are linked as they stand
    | [<>] | &(?=\#?\w+;)              # tags, comments, entities
    | ^[\[#] | ^[-+](?![\d.])          # at the start of a line: definitions, headings, lists
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_MARKDOWN_NUMBERING = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")  # of a list
_MARKDOWN_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def _escape_markdown(found: re.Match[str]) -> str:
    return _MARKDOWN_ENTITIES.get(found[0]) or "".join(f"\\{c}" for c in found[0])


_FORMULA_STARTS = tuple("=+-@＝＋－＠")  # the wide ones are taken for the plain ones, too


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "^": "\\^{}",
    "~": "\\textasciitilde{}",
    "\\": "\\textbackslash{}",
    "<": "\\ensuremath{<}",
    ">": "\\ensuremath{>}",
    "±": "$\\pm$",
    "–": "--",
}


def _ascii_for_latex(c: str) -> str:
    """Return a character, or its code where the fonts of LaTeX have none for it."""
    return c if c < "\u0180" else "\\textbackslash{}" + ascii(c)[2:-1]


_HTML = {ord(c): f"&{name};" for c, name in
         {"&": "amp", "<": "lt", ">": "gt", '"': "#34", "'": "#39"}.items()}  # fmt: skip
