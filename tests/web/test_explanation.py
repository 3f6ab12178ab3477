"""The dialog that explains why a picture was found."""

from playwright.sync_api import Locator, Page, expect

from tests.web.steps import catalogue_size, open_search


def open_explanation(page: Page, index: int) -> Locator:
    page.locator(".tile").nth(index).hover()
    page.locator(".why").nth(index).click()
    dialog = page.get_by_role("dialog", name="Why was this found?")
    expect(dialog).to_be_visible()
    return dialog


def score_list(dialog: Locator) -> dict[str, str]:
    names, values = dialog.locator("dt").all_inner_texts(), dialog.locator("dd").all_inner_texts()
    return dict(zip(names, values, strict=True))


def test_the_explanation_shows_both_pictures_the_differing_bits_and_both_ranks(page: Page) -> None:
    image_id = open_search(page)
    response = page.request.get(f"/images/{image_id}/similar?k=25&explain=true").json()
    match = [match for match in response["results"] if str(match["id"]) != image_id][2]
    rank = response["results"].index(match) + 1
    dialog = open_explanation(page, 2)
    assert dialog.locator("img").evaluate_all("(images) => images.map((image) => new URL(image.src).pathname)") == [
        f"/images/{image_id}/thumbnail",
        match["thumbnail_url"],
        f"/images/{match['id']}/seen",
    ]
    seen = dialog.get_by_alt_text("The match as the model sees it")
    expect(seen).to_have_js_property("naturalWidth", 224)
    scores = score_list(dialog)
    assert scores["Rank by code"] == f"{match['explanation']['coarse_rank']} of {catalogue_size(page)}"
    assert scores["Rank by features"] == str(rank)
    assert float(scores["Distance"]) == round(match["distance"], 2)
    assert ("Similarity" in scores) == (match["similarity"] is not None)
    expect(dialog.locator(".code p")).to_have_text(f"{match['hamming']} of 128 code bits differ")
    expect(dialog.locator("rect")).to_have_count(128)
    marked = dialog.locator("rect").evaluate_all(
        "(cells) => cells.flatMap((cell, bit) => cell.classList.contains('differs') ? [bit] : [])"
    )
    assert marked == match["explanation"]["differing_bits"]
    ones = dialog.locator("rect.one").count()
    assert ones == bin(int(match["explanation"]["code"], 16)).count("1")


def test_the_explanation_shows_only_what_the_mode_uses(page: Page) -> None:
    open_search(page, "&mode=es")
    assert score_list(open_explanation(page, 0))["Rank by code"] == "not used"
    open_search(page, "&mode=bcs")
    scores = score_list(open_explanation(page, 0))
    assert scores["Rank by code"] in {"1", "2"}
    assert "Distance" not in scores


def test_the_explanation_opens_and_closes_by_keyboard_and_restores_the_focus(page: Page) -> None:
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
