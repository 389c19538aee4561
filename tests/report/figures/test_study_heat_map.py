"""The heat map of prompts from each task on each other task, and its normalised columns."""

import numpy as np
import pandas as pd

from bench.papers.study import StudyFigure
from bench.report import study_data
from bench.report.figures import study_heat_map
from support.made_up_records import make as made_up


def crossed_record(source: str | None, task: str, seed: int, accuracy: float):
    fields = {"prompts": 20, **({"prompts_from": source} if source else {})}
    return made_up("spt_deep", task, seed, accuracy, fields=fields)


def test_the_matrix_has_sources_as_rows_and_the_ordinary_cells_on_its_diagonal():
    records = [
        crossed_record(None, "a", 0, 70),
        crossed_record(None, "a", 1, 80),
        crossed_record("b", "a", 0, 60),
        crossed_record(None, "b", 0, 30),
    ]
    cells = [
        {"prompts_from": s.fields.get("prompts_from", s.task), "task": s.task, "seed": s.seed}
        for s in (record.settings for record in records)
    ]
    frame = pd.DataFrame(cells).assign(accuracy=[r.outcome.accuracy for r in records])
    figure = StudyFigure("heat map", x="task", y="prompts_from", value="accuracy")
    summary = study_data.summarise_over_seeds(frame, figure.axes(), "accuracy")
    sheet = study_heat_map._heat_map(figure, "", summary, lambda matrix: matrix)
    assert (sheet.rows, sheet.columns) == (["a", "b"], ["a", "b"])
    np.testing.assert_array_equal(sheet.shades, [[75, np.nan], [60, 30]])


def test_each_task_s_column_is_normalised_by_itself():
    found = study_heat_map.normalise_columns(
        np.array([[90.0, 20, np.nan], [80, 40, 5], [85, 25, 7]])
    )
    np.testing.assert_allclose(found, [[1, 0, np.nan], [0, 1, 0], [0.5, 0.25, 1]])


def test_a_normalised_column_stays_what_it_is_when_its_accuracies_are_scaled_or_moved():
    matrix = np.random.default_rng(0).uniform(0, 100, (4, 3))
    moved = matrix * [0.5, 1, 0.1] + [3, 0, 40]
    np.testing.assert_allclose(
        study_heat_map.normalise_columns(moved), study_heat_map.normalise_columns(matrix)
    )


def test_of_equal_sources_each_is_the_best_and_an_empty_column_stays_empty():
    found = study_heat_map.normalise_columns(np.array([[50.0, np.nan], [50, np.nan]]))
    np.testing.assert_array_equal(found, [[1, np.nan], [1, np.nan]])
