"""More ways to search: the sliders, what they show at once, and the address that says it all."""

import json
import re
from urllib.parse import parse_qsl, urlsplit

from playwright.sync_api import Page, Route, expect

from tests.web.steps import catalogue_size, chips, open_search, open_start, search_with_file, shown_ids


def open_ways(page: Page) -> None:
    page.get_by_role("button", name="More ways to search").click()
    expect(page.get_by_role("slider").first).to_be_visible()


def slide(page: Page, name: str, key: str, times: int = 1) -> None:
    page.get_by_role("slider", name=name).focus()
    for _ in range(times):
        page.keyboard.press(key)


def parameters(page: Page) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(page.url).query))


def calibrated(route: Route) -> None:
    """The service's own answer as a calibrated network gives it."""
    answer = route.fetch()
    body = answer.json()
    for place, match in enumerate(body["results"]):
        match["similarity"] = max(0.0, 0.96 - place / 20)
    route.fulfill(response=answer, json=body)


def test_fewer_results_are_shown_at_once_and_kept_in_the_address(page: Page) -> None:
    picture_id = open_search(page)
    open_ways(page)
    expect(page.locator("#ways output").first).to_have_text("24 results")
    slide(page, "Results", "ArrowLeft")
    expect(page.locator(".tile")).to_have_count(12)
    assert parameters(page) == {"id": picture_id, "k": "12"}
    assert chips(page) == ["12 results"]
    size = catalogue_size(page)
    found = re.compile(rf"^13 pictures found among {size} candidates of {size}, in ")
    expect(page.locator(".effect")).to_have_text(found)
    slide(page, "Results", "ArrowRight")
    expect(page.locator(".tile")).to_have_count(24)
    assert parameters(page) == {"id": picture_id}


def test_pool_and_radius_say_how_many_candidates_are_left(page: Page) -> None:
    open_search(page)
    open_ways(page)
    slide(page, "Candidates", "Home")
    slide(page, "Candidates", "ArrowRight")
    expect(page.locator(".effect")).to_contain_text("among 10 candidates")
    assert parameters(page)["pool"] == "10"
    expect(page.locator(".tile")).to_have_count(9)
    page.get_by_role("button", name="Take away: at most 10 candidates").click()
    slide(page, "Radius", "Home")
    expect(page.locator(".effect")).to_contain_text(re.compile(rf"among \d candidates? of {catalogue_size(page)}"))
    assert parameters(page)["radius"] == "0"
    slide(page, "Radius", "End")
    expect(page.locator(".tile")).to_have_count(24)


def test_a_shared_address_opens_the_same_search(page: Page) -> None:
    picture_id = open_search(page, "&k=30&radius=50&pool=77&group_by=variant&mode=hds")
    expect(page.locator(".chip")).to_have_text(
        ["30 results", "at most 77 candidates", "at most 50 bits apart", "one of each variant"]
    )
    open_ways(page)
    expect(page.get_by_role("slider", name="Results")).to_have_attribute("aria-valuetext", "30 results")
    expect(page.get_by_role("slider", name="Candidates")).to_have_attribute("aria-valuetext", "at most 77 candidates")
    expect(page.get_by_label("One of each", exact=True)).to_have_value("variant")
    wanted = page.request.get(f"/images/{picture_id}/similar?k=31&radius=50&pool=77&group_by=variant").json()["results"]
    assert shown_ids(page) == [str(match["id"]) for match in wanted if str(match["id"]) != picture_id]


def test_one_of_each_variant(page: Page) -> None:
    open_search(page)
    open_ways(page)
    page.get_by_label("One of each", exact=True).select_option("variant")
    expect(page.locator(".chip")).to_have_text("one of each variant")
    ids = shown_ids(page)
    variants = [page.request.get(f"/images/{each}").json()["metadata"]["variant"] for each in ids]
    assert len(set(variants)) == len(variants)
    page.get_by_label("One of each", exact=True).select_option("nothing: show all")
    expect(page.locator(".tile")).to_have_count(24)


def test_similarity_is_a_percentage_and_has_a_slider_where_the_network_tells(page: Page) -> None:
    page.route("**/similar?*", calibrated)
    open_search(page)
    expect(page.locator(".similarity").first).to_have_text("91% similar")
    open_ways(page)
    slide(page, "Similarity", "End")
    expect(page.locator("#ways output").nth(3)).to_have_text("at least 95% similar")


def test_a_network_that_cannot_tell_similarity_has_no_slider_for_it(page: Page) -> None:
    def unknown(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        for match in body["results"]:
            match["similarity"] = None
        route.fulfill(response=answer, json=body)

    page.route("**/similar?*", unknown)
    open_search(page)
    expect(page.locator(".similarity")).to_have_count(0)
    open_ways(page)
    expect(page.get_by_role("slider", name="Similarity")).to_be_disabled()


def test_exact_search_has_no_candidates_to_choose(page: Page) -> None:
    open_search(page, "&mode=es")
    open_ways(page)
    for name in ("Candidates", "Radius"):
        expect(page.get_by_role("slider", name=name)).to_be_disabled()
    page.get_by_role("radio", name="Two steps").check()
    expect(page.get_by_role("slider", name="Radius")).to_be_enabled()


def test_quick_changes_of_different_kinds_all_count(page: Page) -> None:
    picture_id = open_search(page)
    open_ways(page)
    slide(page, "Results", "ArrowLeft", times=2)
    page.get_by_role("radio", name="Codes only").check()
    expect(page.locator(".tile")).to_have_count(6)
    assert parameters(page) == {"id": picture_id, "mode": "bcs", "k": "6"}


def test_a_value_that_the_service_refuses_is_told(page: Page) -> None:
    page.goto("/?id=1&k=5000")
    expect(page.locator("#message")).to_contain_text("k: ")
    expect(page.locator("#heading")).to_have_text("Try one of these")


def test_ways_hold_for_an_upload(page: Page) -> None:
    open_start(page)
    search_with_file(page)
    open_ways(page)
    slide(page, "Results", "Home")
    expect(page.locator(".tile")).to_have_count(1)
    assert json.dumps(parameters(page)).count("upload") == 1
