"""Searches with several examples: more and less like a picture."""

import re

from playwright.sync_api import Page, expect

from tests.web.steps import (
    catalogue_picture,
    open_panel,
    open_search,
    open_start,
    picture_file,
    search_with_file,
    shown_ids,
)


def found(page: Page, like: list[str], unlike: list[str]) -> list[str]:
    """Return the ids that the API finds with the examples, without the examples."""
    body = {"like": [int(one) for one in like], "unlike": [int(one) for one in unlike]}
    results = page.request.post("/search?k=40", data=body).json()["results"]
    return [str(match["id"]) for match in results if str(match["id"]) not in like + unlike][:24]


def add_example(page: Page, position: int, name: str) -> str:
    """Add a result as an example by its panel and return its id."""
    image_id = open_panel(page, position)
    page.get_by_role("button", name=name).click()
    expect(page.locator("#panel")).to_be_hidden()
    expect(page.locator("body")).not_to_have_class(re.compile("busy"))
    return image_id


def test_more_and_less_like_this_change_the_search_and_can_be_removed(page: Page) -> None:
    first = open_search(page)
    more = add_example(page, 2, "More like this")
    expect(page).to_have_url(re.compile(rf"\?id={first}&like={more}$"))
    assert shown_ids(page) == found(page, [first, more], [])
    less = add_example(page, 4, "Less like this")
    expect(page).to_have_url(re.compile(rf"\?id={first}&like={more}&unlike={less}$"))
    results = shown_ids(page)
    assert results == found(page, [first, more], [less])
    page.reload()
    expect(page.locator("#examples .example")).to_have_count(2)
    assert shown_ids(page) == results
    page.get_by_role("button", name="Remove more like").click()
    expect(page).to_have_url(re.compile(rf"\?id={first}&unlike={less}$"))
    assert shown_ids(page) == found(page, [first], [less])
    page.go_back()
    expect(page.locator("#examples .example")).to_have_count(2)


def test_examples_join_an_upload(page: Page) -> None:
    open_start(page)
    search_with_file(page)
    whole = shown_ids(page)
    less = add_example(page, 0, "Less like this")
    expect(page.locator("#examples .unlike")).to_have_count(1)
    image = picture_file(page, catalogue_picture(page)[1])
    results = page.request.post("/search?k=25", multipart={"image": image, "unlike": less}).json()["results"]
    assert shown_ids(page) == [str(match["id"]) for match in results if str(match["id"]) != less][:24]
    assert shown_ids(page) != whole


def test_a_picture_is_either_liked_or_not(page: Page) -> None:
    first = open_search(page)
    ids = shown_ids(page)
    page.goto(f"/?id={first}&like={ids[0]}&open={ids[0]}")
    page.get_by_role("button", name="Less like this").click()
    expect(page).to_have_url(re.compile(rf"\?id={first}&unlike={ids[0]}$"))


def test_the_first_of_several_examples_in_the_url_is_the_query(page: Page) -> None:
    open_start(page)
    one, two, three = shown_ids(page)[:3]
    page.goto(f"/?like={one},{two}&unlike={three}")
    expect(page.locator("#examples .example")).to_have_count(2)
    expect(page.locator(".tile")).to_have_count(24)
    assert shown_ids(page) == found(page, [one, two], [three])


def test_too_many_examples_are_refused_with_a_sentence(page: Page) -> None:
    first = open_search(page)
    ids = shown_ids(page)
    page.goto(f"/?id={first}&like={','.join(ids[:15])}")
    expect(page.locator("#examples .example")).to_have_count(15)
    open_panel(page, 0)
    page.get_by_role("button", name="More like this").click()
    expect(page.locator(".toast")).to_contain_text("at most 16 examples")
