"""The size of the page: one that is large opens slowly, and few places take it."""

from dataclasses import replace

import pytest

from bench.records.schema import Record
from bench.report import html
from support.made_up_page import CLAIM, REQUEST
from support.made_up_records import boards, row
from support.page_data import data_of

MOST = 5_000_000  # bytes
ENVIRONMENT = {
    "commit": "0768dc432fcda4d8b084f29ca73b0cb5a3be1081",
    "device_name": "AMD EPYC, 2 cores",
    **{f"package{i}": f"1.{i}.0" for i in range(14)},
    "platform": "Linux-6.18.44-fc-v782-x86_64-with-glibc2.36",
}


def as_many_as_it_lists() -> list[Record]:
    """A hundred boards of ten methods on five tasks, each record with times of its own."""
    made = [
        record
        for backbone in range(html.MAX_RECORDS // 50)
        for method in range(10)
        for record in row(
            f"method{method}",
            [30 + 2 * method + task + backbone / 7 for task in range(5)],
            backbone=f"vit_{backbone}",
            fields={"width": method, "place": "after the block", "init": "zeros"},
        )
    ]
    return [
        replace(record, environment=_environment(i), request=REQUEST)
        for i, record in enumerate(made)
    ]


def _environment(number: int) -> dict[str, str | float]:
    return {**ENVIRONMENT, "seconds": number / 7, "started": f"2026-11-29T05:55:{number}+00:00"}


@pytest.mark.long
def test_as_many_records_as_it_lists_with_claims_and_pictures_stay_below_five_megabytes() -> None:
    records = as_many_as_it_lists()
    assert len(records) == html.MAX_RECORDS
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg"><path d="{"L 12.5 80.25 " * 12_000}"/></svg>'
    )
    pictures = {f"picture {i}": picture for i in range(5)}
    text = html.render(boards(records), records, [CLAIM] * 1_038, pictures)
    assert len(text.encode()) < MOST
    listed = {line[0] for line in data_of(text)["records"]["lines"]}
    assert listed == {record.cell for record in records}
