"""Search options on the page: sliders, grouping, chips, and the URL."""

import json
import re
from urllib.parse import parse_qsl, urlsplit

from playwright.sync_api import Page, Route, expect

from tests.web.steps import (
    catalogue_size,
    chips,
    open_details,
    open_search,
    open_start,
    search_with_file,
    shown_ids,
)


def slide(page: Page, name: str, key: str, times: int = 1) -> None:
    page.get_by_role("slider", name=name, exact=True).focus()
    for _ in range(times):
        page.keyboard.press(key)


def parameters(page: Page) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(page.url).query))


def calibrated(route: Route) -> None:
    """Add similarities to the response, as from a calibrated network."""
    response = route.fetch()
    body = response.json()
    for index, match in enumerate(body["results"]):
        match["similarity"] = max(0.0, 0.96 - index / 20)
    route.fulfill(response=response, json=body)


def test_changing_the_number_of_results_updates_the_list_and_the_url(page: Page) -> None:
    image_id = open_search(page)
    open_details(page)
    expect(page.locator("#options output").first).to_have_text("24 results")
    slide(page, "Results", "ArrowLeft")
    expect(page.locator(".tile")).to_have_count(12)
    assert parameters(page) == {"id": image_id, "k": "12"}
    assert chips(page) == ["12 results"]
    size = catalogue_size(page)
    found = re.compile(rf"^13 results from {size} candidates in {size} pictures, ")
    expect(page.locator(".result-summary")).to_have_text(found)
    slide(page, "Results", "ArrowRight")
    expect(page.locator(".tile")).to_have_count(24)
    assert parameters(page) == {"id": image_id}


def test_pool_and_radius_update_the_number_of_candidates(page: Page) -> None:
    open_search(page)
    open_details(page)
    slide(page, "Candidates", "Home")
    slide(page, "Candidates", "ArrowRight")
    expect(page.locator(".result-summary")).to_contain_text("from 10 candidates")
    assert parameters(page)["pool"] == "10"
    expect(page.locator(".tile")).to_have_count(9)
    page.get_by_role("button", name="Remove at most 10 candidates").click()
    slide(page, "Code distance", "Home")
    expect(page.locator(".result-summary")).to_contain_text(
        re.compile(rf"from \d candidates? in {catalogue_size(page)} pictures")
    )
    assert parameters(page)["radius"] == "0"
    slide(page, "Code distance", "End")
    expect(page.locator(".tile")).to_have_count(24)


def test_the_url_restores_all_search_options(page: Page) -> None:
    image_id = open_search(page, "&k=30&radius=50&pool=77&group_by=variant&mode=hds")
    expect(page.locator(".chip")).to_have_text(
        ["30 results", "at most 77 candidates", "code distance at most 50", "grouped by variant"]
    )
    open_details(page)
    expect(page.get_by_role("slider", name="Results")).to_have_attribute("aria-valuetext", "30 results")
    expect(page.get_by_role("slider", name="Candidates")).to_have_attribute("aria-valuetext", "at most 77 candidates")
    expect(page.get_by_label("Group by")).to_have_value("variant")
    wanted = page.request.get(f"/images/{image_id}/similar?k=31&radius=50&pool=77&group_by=variant").json()["results"]
    assert shown_ids(page) == [str(match["id"]) for match in wanted if str(match["id"]) != image_id]


def test_group_by_shows_one_result_per_value(page: Page) -> None:
    open_search(page)
    open_details(page)
    page.get_by_label("Group by").select_option("variant")
    expect(page.locator(".chip")).to_have_text("grouped by variant")
    ids = shown_ids(page)
    variants = [page.request.get(f"/images/{each}").json()["metadata"]["variant"] for each in ids]
    assert len(set(variants)) == len(variants)
    page.get_by_label("Group by").select_option("No grouping")
    expect(page.locator(".tile")).to_have_count(24)


def test_similarity_has_a_slider(page: Page) -> None:
    page.route("**/similar?*", calibrated)
    open_search(page)
    open_details(page)
    slide(page, "Similarity", "End")
    expect(page.locator("#options output").nth(3)).to_have_text("at least 95% similar")


def test_an_uncalibrated_network_disables_the_similarity_slider(page: Page) -> None:
    def unknown(route: Route) -> None:
        response = route.fetch()
        body = response.json()
        for match in body["results"]:
            match["similarity"] = match["similarity_band"] = None
        route.fulfill(response=response, json=body)

    page.route("**/similar?*", unknown)
    open_search(page)
    expect(page.locator(".band")).to_have_count(0)
    open_details(page)
    expect(page.get_by_role("slider", name="Similarity")).to_be_disabled()


def test_exact_search_disables_the_candidate_sliders(page: Page) -> None:
    open_search(page, "&mode=es")
    open_details(page)
    for name in ("Candidates", "Code distance"):
        expect(page.get_by_role("slider", name=name)).to_be_disabled()
    page.get_by_role("radio", name="Fast (recommended)").check()
    expect(page.get_by_role("slider", name="Code distance")).to_be_enabled()


def test_quick_changes_to_several_options_are_all_applied(page: Page) -> None:
    image_id = open_search(page)
    open_details(page)
    slide(page, "Results", "ArrowLeft", times=2)
    page.get_by_role("radio", name="Codes only").check()
    expect(page).to_have_url(re.compile("mode=bcs"))
    expect(page.locator(".tile")).to_have_count(6)
    assert parameters(page) == {"id": image_id, "mode": "bcs", "k": "6"}


def test_an_invalid_value_shows_an_error_and_falls_back_to_the_start(page: Page) -> None:
    page.goto("/?id=1&k=5000")
    expect(page.locator("#message")).to_contain_text("k: ")
    expect(page.locator("#heading")).to_have_text("Try one of these")


def test_search_options_apply_to_an_upload(page: Page) -> None:
    open_start(page)
    search_with_file(page)
    open_details(page)
    slide(page, "Results", "Home")
    expect(page.locator(".tile")).to_have_count(1)
    assert json.dumps(parameters(page)).count("upload") == 1
