"""The page's board in a real browser: menus, columns and order, and their state in the address."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from support.browser import expect

MAE = "mini v1, vit_mini_mae, quick v1"


def names(tab: Any) -> list[str]:
    """The headers shown on the board, but for the first, of the boxes to tick."""
    return tab.locator("#leaderboard thead th .dt-column-title").all_inner_texts()[1:]


def column(tab: Any, name: str) -> list[str]:
    """The text of a column, from top to bottom."""
    number = names(tab).index(name) + 2
    return tab.locator(f"#leaderboard tbody tr td:nth-child({number})").all_inner_texts()


def numbers(texts: list[str]) -> list[float]:
    return [float(text.split()[0]) for text in texts if not text.startswith("–")]


def header(tab: Any, name: str) -> Any:
    return tab.locator("#leaderboard thead th", has=tab.get_by_text(name, exact=True))


def menu(tab: Any, label: str) -> Any:
    return tab.locator(f"#leaderboard select[name={label}]")


def choose(tab: Any, label: str, choice: str) -> None:
    """Choose another entry of a menu, and wait until the board is drawn anew, its menus with it."""
    before = menu(tab, label).element_handle()
    menu(tab, label).select_option(choice)
    before.wait_for_element_state("hidden")


def expect_chosen(tab: Any, label: str, choice: str) -> None:
    expect(menu(tab, label)).to_have_value(choice)


def state(tab: Any) -> dict[str, list[str]]:
    """The entries of the address."""
    return parse_qs(urlsplit(tab.url).fragment, keep_blank_values=True)


def await_order(tab: Any, name: str, order: str) -> None:
    """DataTables sorts a moment after it is asked to."""
    tab.locator(f"#leaderboard thead th[aria-sort={order}]", has_text=name).wait_for()


def test_the_page_opens_on_one_board_the_best_first(visit: Any) -> None:
    tab = visit(f"#board={MAE}")
    expect_chosen(tab, "backbone", "vit_mini_mae")
    assert not {"suite", "backbone", "recipe"} & set(names(tab))
    mae = numbers(column(tab, "mean"))
    assert mae == sorted(mae, reverse=True)
    assert len(mae) == 4


def test_the_board_says_what_can_be_told_apart(visit: Any) -> None:
    tab = visit()
    choose(tab, "suite", "apart v1")
    said = tab.locator("#leaderboard .view").inner_text()
    assert "3 of 3 pairs have a corrected p below 0.05" in said
    assert "80 % power" in said


def test_a_menu_offers_what_exists_with_the_choices_before_it(visit: Any) -> None:
    tab = visit(f"#board={MAE}")
    choose(tab, "suite", "own v1")
    options = menu(tab, "backbone").locator("option")
    assert options.all_inner_texts() == ["vit_mini_mae"]


def test_a_choice_that_does_not_exist_with_the_others_falls_to_the_nearest(visit: Any) -> None:
    tab = visit(f"#board={MAE}")
    choose(tab, "recipe", "unified v1")
    assert column(tab, "method") == ["bias"]
    choose(tab, "backbone", "vit_mini_sup")
    expect_chosen(tab, "recipe", "quick v1")
    expect_chosen(tab, "suite", "mini v1")


def test_a_group_shows_its_own_mean_and_tasks(visit: Any) -> None:
    tab = visit(f"#board={MAE}")
    assert {"mean", "mean Natural", "mean Structured"} <= set(names(tab))
    choose(tab, "group", "Structured")
    assert "mean Structured" in names(tab)
    assert not {"mean", "mean Natural"} & set(names(tab))
    assert state(tab)["group"] == ["Structured"]


def test_back_returns_to_the_board_before(visit: Any) -> None:
    tab = visit(f"#board={MAE}")
    choose(tab, "backbone", "vit_mini_sup")
    choose(tab, "group", "Natural")
    tab.go_back()
    expect_chosen(tab, "group", "all tasks")
    tab.go_back()
    expect_chosen(tab, "backbone", "vit_mini_mae")


def test_a_click_sorts_numbers_as_numbers_and_the_address_keeps_it(visit: Any) -> None:
    tab = visit(f"#board={MAE}")
    header(tab, "mean").click()
    await_order(tab, "mean", "ascending")
    rising = numbers(column(tab, "mean"))
    assert rising == sorted(rising)
    assert state(tab)["sort"] == ["mean"]
    header(tab, "mean").click()
    await_order(tab, "mean", "descending")
    assert numbers(column(tab, "mean")) == rising[::-1]
    assert column(tab, "mean")[-1] == "–"
    assert state(tab)["sort"] == ["-mean"]


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_key_sorts(visit: Any, key: str) -> None:
    tab = visit(f"#board={MAE}")
    header(tab, "method").locator("[tabindex='0']").focus()
    tab.keyboard.press(key)
    await_order(tab, "method", "ascending")
    assert column(tab, "method") == sorted(column(tab, "method"))


def test_a_shared_address_opens_the_same_view(visit: Any) -> None:
    shared = f"#board={MAE}&group=Natural&sort=-method&search=vpt&hide=seeds&hide=trials"
    tab = visit(shared)
    assert column(tab, "method") == sorted(column(tab, "method"), reverse=True)
    assert all("vpt" in name for name in column(tab, "method"))
    assert len(column(tab, "method")) == 2
    assert not {"seeds", "trials"} & set(names(tab))
    assert "init (s)" in names(tab)


def test_words_filter_and_stay_in_the_address(visit: Any) -> None:
    tab = visit(f"#board={MAE}")
    tab.locator("#leaderboard input[type=search]").fill("lora")
    expect(tab.locator("#leaderboard tbody tr")).to_have_count(1)
    assert column(tab, "method") == ["lora"]
    assert state(tab)["search"] == ["lora"]


def test_columns_are_hidden_and_shown_and_the_address_keeps_it(visit: Any) -> None:
    tab = visit(f"#board={MAE}")
    tab.get_by_text("Columns", exact=True).click()
    box = tab.locator(".columns").get_by_label("seeds")
    box.uncheck()
    expect(header(tab, "seeds")).to_be_hidden()
    assert state(tab)["hide"] == ["seeds"]
    tab.reload()
    tab.locator("body.scripted").wait_for()
    assert "seeds" not in names(tab)
    tab.go_back()
    expect(header(tab, "seeds")).to_be_visible()


def test_many_tasks_are_columns_only_if_asked_for(visit: Any) -> None:
    tab = visit()
    choose(tab, "suite", "apart v1")
    assert "task3" not in names(tab)
    tab.get_by_text("Columns", exact=True).click()
    tab.locator(".columns").get_by_label("task3", exact=True).check()
    expect(header(tab, "task3")).to_be_visible()


def test_an_address_that_names_nothing_shows_the_first_board(visit: Any) -> None:
    tab = visit("#board=none&group=none&sort=none&hide=none&%E0%A4%A=%")
    assert len(column(tab, "method")) > 1
