"""The search box for words, on the start page and in searches."""

import re

from playwright.sync_api import Page, expect

from tests.web.steps import chips, open_search, open_start, search_with_file, shown_ids


def labels(page: Page) -> set[str]:
    return {page.request.get(f"/images/{image_id}").json()["label"] for image_id in shown_ids(page)}


def test_words_filter_the_start_page_while_typing(page: Page) -> None:
    open_start(page)
    box = page.get_by_role("searchbox", name="Search by words")
    box.press_sequentially("boo")
    expect(page).to_have_url(re.compile(r"\?text=boo$"))
    expect(page.locator(".chip")).to_have_text("“boo”")
    assert labels(page) == {"boot"}
    expect(page.locator("#filters").get_by_role("group", name="label")).to_contain_text("boot")
    expect(page.locator("#filters").get_by_role("group", name="label")).not_to_contain_text("hat")
    expect(box).to_be_focused()
    page.get_by_role("button", name="Remove “boo”").click()
    expect(box).to_have_value("")
    expect(page).to_have_url(re.compile("/$"))


def test_words_limit_a_search_and_are_in_its_link(page: Page) -> None:
    image_id = open_search(page)
    box = page.get_by_role("searchbox", name="Search by words")
    box.fill("hat")
    box.press("Enter")
    expect(page).to_have_url(re.compile(rf"\?id={image_id}&text=hat$"))
    expect(page.locator(".chip")).to_have_text("“hat”")
    assert labels(page) == {"hat"}
    page.reload()
    expect(page.locator("#query .crop-button")).to_be_visible()
    expect(box).to_have_value("hat")
    assert (labels(page), chips(page)) == ({"hat"}, ["“hat”"])
    page.get_by_role("link", name="End this search").click()
    expect(page).to_have_url(re.compile(r"/\?text=hat$"))


def test_a_picture_searches_without_the_words_of_the_view_before(page: Page) -> None:
    page.goto("/?text=nowhere&label=boot")
    expect(page.locator("#heading")).to_have_text("No pictures match")
    expect(page.locator("#filters .hint")).to_be_empty()
    search_with_file(page)
    expect(page.locator("#heading")).to_have_text("Most similar first")
    assert (labels(page), chips(page)) == ({"boot"}, ["label: boot"])


def test_matching_pictures_begin_higher_than_at_the_start(page: Page) -> None:
    open_start(page)
    before = page.locator("#heading").bounding_box()
    page.get_by_role("searchbox", name="Search by words").fill("boot")
    expect(page.locator(".chip")).to_have_text("“boot”")
    after = page.locator("#heading").bounding_box()
    assert before is not None
    assert after is not None
    assert after["y"] < before["y"] - 100
    expect(page.get_by_role("searchbox", name="Search by words")).to_be_focused()


def test_ten_thousand_letters_are_refused_with_a_sentence_below_the_box(page: Page) -> None:
    open_start(page)
    box, message = page.get_by_role("searchbox", name="Search by words"), page.locator("#words").get_by_role("alert")
    box.fill("a" * 10_000)
    expect(message).to_have_text("The search text has 10,000 characters; at most 512 are allowed.")
    expect(box).to_have_accessible_description(re.compile("at most 512"))
    expect(box).to_have_value("a" * 10_000)
    expect(page.locator("#message")).to_be_empty()
    expect(page.locator(".tile").first).to_be_visible()
    above, below = box.bounding_box(), message.bounding_box()
    assert above is not None
    assert below is not None
    assert 0 <= below["y"] - (above["y"] + above["height"]) <= 8
    box.fill("boot")
    expect(page.locator(".chip")).to_have_text("“boot”")
    expect(message).to_be_hidden()


def test_words_that_are_refused_in_an_address_are_shown_again(page: Page) -> None:
    page.goto("/?text=!!")
    expect(page.locator("#heading")).to_have_text("Try one of these")
    expect(page.get_by_role("searchbox", name="Search by words")).to_have_value("!!")
    expect(page.locator("#words").get_by_role("alert")).to_have_text(
        "The search text has no word. Give a letter or a digit."
    )
    page.get_by_role("searchbox", name="Search by words").fill("")
    expect(page.locator("#words").get_by_role("alert")).to_be_hidden()
