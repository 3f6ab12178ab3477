"""Why a picture was found, as the page tells it."""

from playwright.sync_api import Locator, Page, expect

from tests.web.steps import catalogue_size, open_search


def open_why(page: Page, place: int) -> Locator:
    page.locator(".tile").nth(place).hover()
    page.locator(".why").nth(place).click()
    dialog = page.get_by_role("dialog", name="Why is this here?")
    expect(dialog).to_be_visible()
    return dialog


def said(dialog: Locator) -> dict[str, str]:
    names, values = dialog.locator("dt").all_inner_texts(), dialog.locator("dd").all_inner_texts()
    return dict(zip(names, values, strict=True))


def test_it_shows_both_pictures_the_bits_that_differ_and_both_places(page: Page) -> None:
    picture_id = open_search(page)
    answer = page.request.get(f"/images/{picture_id}/similar?k=25&explain=true").json()
    match = [match for match in answer["results"] if str(match["id"]) != picture_id][2]
    place = answer["results"].index(match) + 1
    dialog = open_why(page, 2)
    assert dialog.locator("img").evaluate_all("(images) => images.map((image) => new URL(image.src).pathname)") == [
        f"/images/{picture_id}/thumbnail",
        match["thumbnail_url"],
    ]
    sums = said(dialog)
    assert sums["Place by code"] == f"{match['explanation']['coarse_rank']} of {catalogue_size(page)}"
    assert sums["Place by features"] == str(place)
    assert float(sums["Distance"]) == round(match["distance"], 2)
    assert ("Similarity" in sums) == (match["similarity"] is not None)
    expect(dialog.locator(".code p")).to_have_text(f"{match['hamming']} of 128 bits of the codes differ")
    expect(dialog.locator("rect")).to_have_count(128)
    marked = dialog.locator("rect").evaluate_all(
        "(cells) => cells.flatMap((cell, bit) => cell.classList.contains('differs') ? [bit] : [])"
    )
    assert marked == match["explanation"]["differing_bits"]
    ones = dialog.locator("rect.one").count()
    assert ones == bin(int(match["explanation"]["code"], 16)).count("1")


def test_each_mode_says_what_it_looked_at(page: Page) -> None:
    open_search(page, "&mode=es")
    assert said(open_why(page, 0))["Place by code"] == "not looked at"
    open_search(page, "&mode=bcs")
    sums = said(open_why(page, 0))
    assert sums["Place by code"] in {"1", "2"}
    assert "Distance" not in sums


def test_it_opens_and_closes_by_keyboard_and_gives_the_focus_back(page: Page) -> None:
    open_search(page)
    page.locator(".tile").first.focus()
    page.keyboard.press("Tab")
    expect(page.locator(".why").first).to_be_focused()
    expect(page.locator(".why").first).to_have_css("opacity", "1")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".why").first).to_be_focused()
