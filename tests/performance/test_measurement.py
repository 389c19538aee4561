"""Measured rows: thresholds, profiles, the file that stores them, and memory use."""

import pytest
import torch

from bench.performance import measurement
from bench.performance.measurement import MIB, PerformanceRow
from bench.utils.errors import UserError
from support import odd_files
from support.performance_lines import lines


@pytest.mark.parametrize(
    ("value", "bar", "least", "said"),
    [
        (0.8, 0.9, False, "met"),
        (1.0, 0.9, False, "not met"),
        (31.0, 30.0, True, "met"),
        (29.0, 30.0, True, "not met"),
        (1.0, None, False, ""),
        (None, 30.0, True, ""),
    ],
)
def test_a_bar_is_met_from_its_side(value, bar, least, said):
    assert PerformanceRow("a", value, 1.0, 3, bar, least).met == said


def test_a_bar_that_is_met_costs_no_profile():
    row = PerformanceRow("a pair", 0.5, bar=1.0)
    assert measurement.with_profile(row, pytest.fail, "cpu") is row


def test_a_profile_of_memory_names_what_allocates():
    def act():
        return torch.zeros(10, 10) @ torch.zeros(10, 1000)

    assert "aten::mm" in measurement.profile_operators(act, "cpu", measurement.MEMORY_KEYS)


def test_the_file_gives_back_what_was_written(tmp_path):
    rows = [
        PerformanceRow("a, b", 0.5, None, 3, 0.9, least=True, note='"so"', profile="x\ny"),
        PerformanceRow("c", None, unit=MIB, against="images", at=64.0),
    ]
    kept = [*lines("steps", *rows), *lines("memory", PerformanceRow("d", 1e-7, 2.5), device="cuda")]
    measurement.write_csv(tmp_path / measurement.CSV_FILE, kept)
    assert measurement.read_csv(tmp_path / measurement.CSV_FILE) == kept


def test_another_s_file_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / measurement.CSV_FILE
    measurement.write_csv(
        path, lines("steps", PerformanceRow("a", 1.0), PerformanceRow("b", 1.0, n=3))
    )
    path.write_text(path.read_text(encoding="utf-8").replace(",3,", ",many,"), encoding="utf-8")
    with pytest.raises(UserError, match=r"performance.csv, line 3: n: .*; a file that"):
        measurement.read_csv(path)


def test_a_section_takes_the_place_of_its_own_device_alone():
    kept = [
        *lines("steps", PerformanceRow("a", 1.0), device="cuda"),
        *lines("memory", PerformanceRow("b", 1.0)),
    ]
    assert (
        measurement.without_section(
            [*kept, *lines("steps", PerformanceRow("c", 1.0))], "steps", "cpu"
        )
        == kept
    )


def test_the_peak_memory_of_a_call_is_measured():
    found = measurement.measure_usage(lambda: torch.ones(2**24).sum(), "cpu")
    assert 60 < found.mib < 90
    assert found.seconds > 0


def test_a_process_of_its_own_has_as_many_threads():
    assert measurement.run_in_subprocess(torch.get_num_threads) == torch.get_num_threads()


@pytest.mark.parametrize("make", [odd_files.fifo, odd_files.endless, odd_files.sparse])
def test_what_is_no_file_of_figures_is_refused_in_a_sentence(make, tmp_path):
    path = tmp_path / measurement.CSV_FILE
    make(path)
    with odd_files.time_limit(60), pytest.raises(UserError, match="cannot be read: it is"):
        measurement.read_csv(path)
