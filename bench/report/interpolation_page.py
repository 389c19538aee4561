"""The files of interpolated scores: a page, a picture and a CSV for each file of them."""

from pathlib import Path

from bench.records import interpolations
from bench.records.interpolations import Interpolation, SetScores
from bench.report.markdown import table_from_rows
from bench.utils import tables
from bench.utils.errors import UserError
from bench.utils.escaping import for_link, for_markdown
from bench.utils.files import FileContents

NOTICE = "<!-- made by `python -m bench report` from the JSON beside it; do not edit -->"
MEANING = {
    "weights": "The weights of each model are (1 - α) times those of the start plus α times those "
    "of the adapted model, both with the method folded in",
    "scale": "Each model has α times the scale of the method's updates; what else learnt, such as "
    "the head, is mixed as (1 - α) and α",
}
EXPLANATION = (
    "{}. The start, α = 0, is the pretrained backbone with a linear probe as its head, plus what "
    "the method adds before training; α = 1 is the trained model of the cell. α is chosen on "
    "validation images, with models of the same recipe that were trained without those images; "
    "among equally good values the smallest is taken. Top-1 accuracy in percent."
)
ORACLE_NOTE = (
    "The oracle chooses α on the same images it is scored on, which is not possible in practice: "
    "it bounds what any choice of α could gain, and is not a result."
)
WORDS = frozenset({"set"})


def render_all(results: Path) -> FileContents:
    """Return the files of all readable scores of a results folder."""
    contents: FileContents = {}
    for found in interpolations.read_all(results):
        if not isinstance(found, UserError):
            contents |= render_files(found)
    return contents


def render_files(found: Interpolation) -> FileContents:
    """Return the page, the picture and the CSV by their names below the results folder."""
    from bench.report.figures import interpolation_curves  # matplotlib is slow to import

    picture = interpolation_curves.draw(found)
    return {
        f"{found.stem}.md": _page(found).encode(),
        f"{found.stem}.csv": _csv(found).encode(),
        f"{found.stem}.svg": picture.svg(),
        f"{found.stem}.png": picture.png(),
    }


def best_index(scores: SetScores) -> int:
    """Return the index of the best accuracy; of equal ones, the first."""
    return max(range(len(scores.accuracies)), key=lambda i: (scores.accuracies[i], -i))


def reported_sets(found: Interpolation) -> list[SetScores]:
    """Return the sets in the order of the table: validation, test, shifts."""
    return [*found.of_kind("validation"), *found.of_kind("test"), *found.of_kind("shift")]


def _page(found: Interpolation) -> str:
    name = for_link(Path(found.stem).name)
    title = f"{found.method} on {found.task} ({found.suite}), {found.backbone}, seed {found.seed}"
    parts = [
        NOTICE,
        f"# From the start to {for_markdown(title)}",
        EXPLANATION.format(MEANING[found.along]),
        f"![Accuracy along the path]({name}.png)",
        _choice_table(found),
        f"## Oracles\n\n{ORACLE_NOTE}",
        _oracle_table(found),
        f"## All models\n\nCell `{found.cell}`. The same as [CSV]({name}.csv).",
        _whole_table(found),
    ]
    return "\n\n".join(parts) + "\n"


def chosen_index(found: Interpolation) -> int:
    """Return the index of the alpha that is best on validation."""
    (validation,) = found.of_kind("validation")
    return best_index(validation)


def _choice_table(found: Interpolation) -> str:
    chosen = chosen_index(found)
    columns = {
        "start (α = 0)": found.alphas.index(0.0),
        "adapted (α = 1)": found.alphas.index(1.0),
        f"chosen on {_validation_name(found)} (α = {found.alphas[chosen]:g})": chosen,
    }
    rows = [
        [one.name, f"{one.images:,}", *(f"{one.accuracies[i]:.2f}" for i in columns.values())]
        for one in reported_sets(found)
    ]
    return table_from_rows(["set", "images", *columns], rows, WORDS)


def _validation_name(found: Interpolation) -> str:
    (validation,) = found.of_kind("validation")
    return validation.name


def _oracle_table(found: Interpolation) -> str:
    chosen = chosen_index(found)
    rows = []
    for one in (*found.of_kind("test"), *found.of_kind("shift")):
        best = best_index(one)
        gain = one.accuracies[best] - one.accuracies[chosen]
        rows.append(
            [one.name, f"{found.alphas[best]:g}", f"{one.accuracies[best]:.2f}", f"{gain:+.2f}"]
        )
    return table_from_rows(["set", "oracle's α", "oracle", "above the chosen"], rows, WORDS)


def _whole_table(found: Interpolation) -> str:
    rows = [
        [one.name, *(f"{accuracy:.2f}" for accuracy in one.accuracies)]
        for one in reported_sets(found)
    ]
    return table_from_rows(["set", *(f"α = {alpha:g}" for alpha in found.alphas)], rows, WORDS)


def _csv(found: Interpolation) -> str:
    """Return a line for each model and set."""
    lines = (
        (found.cell, found.along, alpha, one.name, one.kind, one.images, one.accuracies[index])
        for index, alpha in enumerate(found.alphas)
        for one in reported_sets(found)
    )
    heads = ("cell", "along", "alpha", "set", "kind", "images", "accuracy")
    return tables.csv_text([heads, *lines])
