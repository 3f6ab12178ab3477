"""The panel with one picture: its fields, why it was found, its place in the history, and the keyboard."""

import re

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from tests.web.conftest import AddPicture
from tests.web.steps import catalogue_size, open_panel, open_search, open_start, shown_ids


def open_figures(page: Page, index: int) -> Locator:
    open_panel(page, index)
    page.get_by_text("Distances and code bits").click()
    return page.locator("#panel")


def score_list(panel: Locator) -> dict[str, str]:
    rows = panel.locator(".score-list")
    return dict(zip(rows.locator("dt").all_inner_texts(), rows.locator("dd").all_inner_texts(), strict=True))


def test_the_panel_shows_every_field_and_links_addresses(page: Page, add_picture: AddPicture) -> None:
    address = "https://shop.example/boots?size=42"
    image_id = add_picture(key="own", label="boots", price_eur=1234.5, shop=address, sold=True, script="javascript:1")
    page.goto(f"/?open={image_id}")
    table = page.locator("#panel .field-table")
    expect(table).to_be_visible()
    rows = dict(zip(table.locator("dt").all_text_contents(), table.locator("dd").all_text_contents(), strict=True))
    assert rows.pop("added")
    assert rows == {
        "label": "boots",
        "price_eur": "€1,234.50",
        "sold": "true",
        "script": "javascript:1",
        "shop": address,
        "key": "own",
        "size": "120 × 90 pixels",
    }
    assert table.get_by_role("link").evaluate_all("(links) => links.map((link) => link.href)") == [address]
    expect(table.get_by_role("link")).to_have_attribute("rel", "noopener noreferrer")


def test_plain_reasons_come_first(page: Page, add_picture: AddPicture) -> None:
    query, match = (add_picture(key=f"own-{n}", label="boots", colour="red", n=n, empty="") for n in range(2))
    page.goto(f"/?id={query}&open={match}")
    expect(page.locator(".reasons li")).to_have_text(
        ["Very similar in shape, colour and pattern", "Same label: boots", "Same colour: red"]
    )
    expect(page.locator(".score-list")).to_be_hidden()


def test_figures_show_the_differing_bits_and_both_ranks(page: Page) -> None:
    image_id = open_search(page)
    response = page.request.get(f"/images/{image_id}/similar?k=25&explain=true").json()
    match = [match for match in response["results"] if str(match["id"]) != image_id][2]
    rank = response["results"].index(match) + 1
    panel = open_figures(page, 2)
    scores = score_list(panel)
    assert scores["Rank by code"] == f"{match['explanation']['coarse_rank']} of {catalogue_size(page)}"
    assert scores["Rank by features"] == str(rank)
    assert float(scores["Distance"]) == round(match["distance"], 2)
    assert ("Similarity" in scores) == (match["similarity"] is not None)
    expect(panel.locator(".code p")).to_have_text(f"{match['hamming']} of 128 code bits differ")
    expect(panel.locator("rect")).to_have_count(128)
    marked = panel.locator("rect").evaluate_all(
        "(cells) => cells.flatMap((cell, bit) => cell.classList.contains('differs') ? [bit] : [])"
    )
    assert marked == match["explanation"]["differing_bits"]
    assert panel.locator("rect.one").count() == bin(int(match["explanation"]["code"], 16)).count("1")


def test_figures_show_only_what_the_mode_uses(page: Page) -> None:
    open_search(page, "&mode=es")
    assert score_list(open_figures(page, 0))["Rank by code"] == "not used"
    open_search(page, "&mode=bcs")
    scores = score_list(open_figures(page, 0))
    assert scores["Rank by code"] in {"1", "2"}
    assert "Distance" not in scores


def test_the_panel_shows_what_the_model_sees(page: Page) -> None:
    open_search(page)
    open_panel(page, 0)
    page.get_by_text("What the model sees").click()
    seen = page.get_by_alt_text("The picture as the model sees it")
    expect(seen).to_have_js_property("naturalWidth", 224)


def test_back_closes_the_panel_and_forward_opens_it_without_another_search(page: Page) -> None:
    open_search(page)
    address = page.url
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if "similar" in request.url else None)
    image_id = open_panel(page, 3)
    expect(page).to_have_url(f"{address}&open={image_id}")
    page.go_back()
    expect(page).to_have_url(address)
    expect(page.locator("#panel")).to_be_hidden()
    page.go_forward()
    expect(page.locator("#panel .field-table")).to_be_visible()
    page.get_by_role("button", name="Close").click()
    expect(page).to_have_url(address)
    assert requests == []


def test_the_url_restores_the_panel(page: Page) -> None:
    open_start(page)
    image_id = open_panel(page, 5)
    title = page.locator("#panel-title").inner_text()
    page.reload()
    expect(page.locator("#panel-title")).to_have_text(title)
    expect(page.locator(f".tile[data-id='{image_id}']")).to_have_attribute("aria-current", "true")
    page.get_by_role("button", name="Close").click()
    expect(page).to_have_url(re.compile("/$"))


def test_an_unknown_picture_shows_an_error_in_the_panel(page: Page) -> None:
    page.goto("/?open=999999999")
    expect(page.locator("#panel").get_by_role("alert")).to_contain_text("999999999")
    expect(page.locator(".tile").first).to_be_visible()


def test_arrow_keys_go_through_results_and_escape_returns_the_focus(page: Page) -> None:
    open_search(page)
    ids = shown_ids(page)
    page.locator(".tile").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    columns = (
        page.locator(".tiles").first.evaluate("(list) => getComputedStyle(list).gridTemplateColumns").count(" ") + 1
    )
    position = 1 + columns
    expect(page.locator(".tile").nth(position)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"open={ids[position]}$"))
    expect(page.locator("#panel-title")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile(f"open={ids[position + 1]}$"))
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    expect(page.locator(".tile").nth(position + 1)).to_be_focused()
    assert "open=" not in page.url


@pytest.mark.parametrize("close", ["Escape", "button", "back"])
def test_on_a_phone_the_panel_is_a_sheet(browser: Browser, server_url: str, close: str) -> None:
    size: ViewportSize = {"width": 390, "height": 844}
    with browser.new_context(base_url=server_url, has_touch=True, is_mobile=True, viewport=size) as context:
        page = context.new_page()
        open_search(page)
        address = page.url
        page.locator(".tile").nth(1).tap()
        expect(page.get_by_role("dialog").locator(".field-table")).to_be_visible()
        assert page.locator("#panel").evaluate("(panel) => panel.matches(':modal')")
        if close == "Escape":
            page.keyboard.press("Escape")
        elif close == "button":
            page.get_by_role("button", name="Close").tap()
        else:
            page.go_back()
        expect(page.locator("#panel")).to_be_hidden()
        expect(page).to_have_url(address)


def delete_in_panel(page: Page, image_id: str) -> None:
    page.goto(f"/?open={image_id}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete own?").get_by_role("button", name="Delete").click()


def test_a_deletion_can_be_undone(page: Page, add_picture: AddPicture, catalogue: httpx2.Client) -> None:
    image_id = add_picture(key="own")
    before = catalogue.get(f"/images/{image_id}").json()
    delete_in_panel(page, image_id)
    undo = page.locator(".toast").get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    assert catalogue.get(f"/images/{image_id}").status_code == 404
    undo.click()
    expect(page.locator(".toast")).to_contain_text("Restored.")
    assert catalogue.get(f"/images/{image_id}").json() == before


def test_a_failed_undo_shows_why(page: Page, add_picture: AddPicture) -> None:
    delete_in_panel(page, add_picture(key="own"))
    undo = page.locator(".toast").get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    add_picture(key="own", n=2)
    undo.click()
    expect(page.locator(".toast")).to_contain_text("The key is in use again: own.")
