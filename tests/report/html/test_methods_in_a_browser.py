"""The page's views of methods, comparisons and records in a real browser, and their pictures."""

import re
from typing import Any

from support.browser import expect

APART = "#board=apart v1, vit_mini_mae, quick v1"
MAE = "#board=mini v1, vit_mini_mae, quick v1"


def heading(tab: Any) -> Any:
    return tab.locator("main > section:visible h2")


def test_a_method_opens_from_its_board(visit: Any) -> None:
    tab = visit(MAE)
    tab.locator("#leaderboard tbody").get_by_text("lora", exact=True).click()
    view = tab.locator("#method .view")
    expect(heading(tab)).to_have_text("lora")
    assert "LoRA: low-rank updates" in view.inner_text()
    assert view.get_by_role("link", name="arXiv 2106.09685").is_visible()
    assert "rank=8" in view.inner_text()
    assert view.locator("tbody tr").count() == 5
    assert re.search(r"\d+\.\d\d to \d+\.\d\d\s+seeds", view.inner_text())


def test_one_seed_has_an_interval_of_its_images(visit: Any) -> None:
    tab = visit(f"{APART}&method=bias")
    assert "images" in tab.locator("#method tbody tr").first.inner_text()
    assert "says nothing about other seeds" in tab.locator("#method caption").inner_text()


def test_a_method_has_its_place_and_names_those_it_differs_from(visit: Any) -> None:
    tab = visit(f"{APART}&method=lora")
    said = tab.locator("#method .view").inner_text()
    assert "Rank 1 of 3" in said
    assert re.search(r"Better than \(significantly\):\s*linear, bias", said)
    tab.locator("#method").get_by_role("link", name="bias").click()
    expect(tab.locator("#method .view")).to_contain_text("Worse than (significantly): lora")


def test_a_method_names_its_other_boards(visit: Any) -> None:
    tab = visit(f"{APART}&method=linear")
    tab.locator("#method").get_by_role("link", name="mini v1 · vit_mini_mae · quick v1").click()
    expect(tab.locator("#method ul")).to_contain_text("apart")
    assert "seed" in tab.locator("#method .view").inner_text()


def test_a_method_without_results_says_so(visit: Any) -> None:
    tab = visit(f"{MAE}&method=spt_deep")
    assert "incomplete" in tab.locator("#method .view").inner_text()
    assert "unsupported" in tab.locator("#method .view").inner_text()


def test_two_ticked_methods_are_compared(visit: Any) -> None:
    tab = visit(APART)
    tab.get_by_label("compare lora").check()
    tab.get_by_label("compare bias").check()
    tab.get_by_label("compare linear").check()  # in place of the first
    tab.get_by_role("link", name="Compare bias with linear").click()
    expect(heading(tab)).to_have_text("bias and linear")
    assert "compare=bias&with=linear" in tab.url


def test_a_comparison_has_the_differences_their_mean_and_the_boards_test(visit: Any) -> None:
    tab = visit(f"{APART}&compare=bias&with=lora")
    said = tab.locator("#comparison .verdict").inner_text()
    assert "bias minus lora: −20.00 points" in said
    assert "interval −20.00 to −20.00" in said
    assert "Holm-corrected" in said
    assert "They can be told apart" in said
    assert set(tab.locator("#comparison tbody td:last-child").all_inner_texts()) == {"−20.00"}


def test_the_other_way_round_a_difference_has_the_other_sign(visit: Any) -> None:
    found = []
    for pair in ("compare=linear&with=lora", "compare=lora&with=linear"):
        said = visit(f"{APART}&{pair}").locator("#comparison .verdict").inner_text()
        mean, low, high = map(plain, re.findall(r"[−+]\d+\.\d\d", said))
        assert low <= mean <= high
        found.append((mean, low, high))
    (mean, low, high), (other, least, most) = found
    assert (mean, low, high) == (-other, -most, -least)


def plain(text: str) -> float:
    return float(text.replace("−", "-"))


def test_methods_that_are_alike_cannot_be_told_apart(visit: Any) -> None:
    tab = visit(f"{MAE}&compare=lora&with=linear")
    assert "They cannot be told apart" in tab.locator("#comparison .verdict").inner_text()


def test_a_menu_of_the_comparison_changes_one_method(visit: Any) -> None:
    tab = visit(f"{APART}&compare=bias&with=lora")
    tab.locator("#comparison").get_by_label("second").select_option("linear")
    expect(heading(tab)).to_have_text("bias and linear")
    tab.go_back()
    expect(heading(tab)).to_have_text("bias and lora")


def test_an_incomplete_method_is_compared_without_a_test(visit: Any) -> None:
    tab = visit(f"{MAE}&compare=lora&with=full")
    assert "No test: full" in tab.locator("#comparison .verdict").inner_text()
    assert tab.locator("#comparison svg .bar").count() == 2


def test_what_does_not_exist_is_said(visit: Any) -> None:
    for anchor in (f"{APART}&compare=bias&with=odd", "#method=odd", "#record=odd"):
        expect(heading(visit(anchor))).to_have_text("Not found")


def test_a_record_opens_from_its_line_and_from_its_method(visit: Any) -> None:
    tab = visit("#cells")
    tab.locator("#cells tbody a").first.click()
    expect(tab.locator("#record pre").first).to_contain_text("python -m bench run")
    label = heading(tab).inner_text().split(" on ")[0]
    tab.locator("#record").get_by_role("link", name=f"← {label}, all its tasks").click()
    expect(heading(tab)).to_have_text(label)
    tab.locator("#method td a").first.click()
    expect(heading(tab)).to_contain_text(f"{label} on ")


def test_menus_filter_the_records_together(visit: Any) -> None:
    tab = visit("#cells")
    tab.locator("#cells .menus label", has_text="task").locator("select").select_option("digits")
    tab.locator("#cells .menus label", has_text="status").locator("select").select_option("failed")
    expect(tab.locator("#cells tbody td:nth-child(5)")).to_have_text(["full"])


def test_claims_are_filtered_by_status_and_paper(visit: Any) -> None:
    tab = visit("#claims")
    for label in ("paper", "status"):
        assert tab.locator("#claims .menus").get_by_label(label).locator("option").count() == 2


def test_a_point_names_its_method_and_opens_it(visit: Any) -> None:
    tab = visit(MAE)
    point = tab.locator("#leaderboard svg a[aria-label^='lora:']")
    point.hover()
    expect(tab.locator(".tip")).to_have_text(re.compile(r"^lora: \d\d\.\d\d %, trainable "))
    tab.mouse.move(0, 0)
    expect(tab.locator(".tip")).to_be_hidden()
    point.focus()
    expect(tab.locator(".tip")).to_be_visible()
    tab.keyboard.press("Enter")
    expect(heading(tab)).to_have_text("lora")


def test_the_picture_is_drawn_against_another_quantity(visit: Any) -> None:
    tab = visit(MAE)
    tab.locator("select[name=against]").select_option("training (s)")
    expect(tab.locator("#leaderboard figcaption")).to_contain_text("training (s)")


def test_a_bar_names_its_task_and_opens_the_method_ahead(visit: Any) -> None:
    tab = visit(f"{APART}&compare=bias&with=lora")
    bar = tab.locator("#comparison svg a").nth(3)
    bar.locator(".bar").hover()
    expect(tab.locator(".tip")).to_have_text(re.compile(r"^task\d+: bias .*difference −20\.00"))
    bar.locator(".bar").click()
    expect(heading(tab)).to_have_text("lora")
