"""The trash: restore pictures, or delete them for good."""

import re

import httpx2
from playwright.sync_api import Page, expect

from tests.web.conftest import AddPicture
from tests.web.steps import open_start


def names(page: Page) -> list[str]:
    return page.locator(".tile .title").all_inner_texts()


def test_deleted_pictures_can_be_restored_later(page: Page, add_picture: AddPicture, catalogue: httpx2.Client) -> None:
    ids = [add_picture(key=f"own-{number}", n=number) for number in range(3)]
    for image_id in ids:
        catalogue.delete(f"/images/{image_id}")
    open_start(page)
    page.get_by_role("link", name="Trash").click()
    expect(page.locator("#heading")).to_have_text("Trash")
    assert names(page)[:3] == ["own-2", "own-1", "own-0"]
    expect(page.locator(".tile").first).to_contain_text("Until")
    assert page.locator(".tile img").first.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    page.locator(".tile").first.focus()
    page.keyboard.press("x")
    page.keyboard.press("Shift+ArrowRight")
    page.get_by_role("button", name="Restore").click()
    expect(page.locator("#toasts")).to_contain_text("2 pictures restored.")
    expect(page.get_by_role("region", name="Selected pictures")).to_be_hidden()
    assert names(page)[0] == "own-0"
    assert [catalogue.get(f"/images/{image_id}").status_code for image_id in ids] == [404, 200, 200]


def test_a_key_that_is_in_use_again_is_named(page: Page, add_picture: AddPicture, catalogue: httpx2.Client) -> None:
    catalogue.delete(f"/images/{add_picture(key='own')}")
    add_picture(key="own", n=2)
    page.goto("/?trash")
    page.locator(".tile").first.focus()
    page.keyboard.press("x")
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("region", name="Selected pictures").get_by_role("alert")).to_contain_text(
        "The key is in use again: own. Nothing was restored."
    )


def test_emptying_requires_confirmation(page: Page, add_picture: AddPicture, catalogue: httpx2.Client) -> None:
    image_id = add_picture(key="own")
    catalogue.delete(f"/images/{image_id}")
    page.goto("/?trash")
    page.get_by_role("button", name="Empty the trash…").click()
    dialog = page.get_by_role("dialog", name="Empty the trash?")
    expect(dialog).to_contain_text("This cannot be undone.")
    dialog.get_by_role("button", name="Cancel").click()
    assert catalogue.get("/trash").json()["items"]
    page.get_by_role("button", name="Empty the trash…").click()
    dialog.get_by_role("button", name="Delete for good").click()
    expect(page.locator("#heading")).to_have_text("The trash is empty")
    assert catalogue.get("/trash").json()["items"] == []
    assert catalogue.post("/trash/restore", json={"ids": [int(image_id)]}).status_code == 404


def test_restoring_what_is_no_longer_in_the_trash_shows_why(
    page: Page, add_picture: AddPicture, catalogue: httpx2.Client
) -> None:
    image_id = add_picture(key="own")
    catalogue.delete(f"/images/{image_id}")
    page.goto("/?trash")
    page.locator(".tile").first.focus()
    page.keyboard.press("x")
    catalogue.delete("/trash").raise_for_status()  # what the service does when the time is over
    page.get_by_role("button", name="Restore").click()
    message = page.get_by_role("region", name="Selected pictures").get_by_role("alert")
    expect(message).to_have_text(
        re.compile(rf"^{image_id} is not in the trash\. .* Nothing was restored; add the files again instead\.$")
    )
    assert catalogue.get(f"/images/{image_id}").status_code == 404


def test_undo_after_the_trash_was_emptied_shows_why(
    page: Page, add_picture: AddPicture, catalogue: httpx2.Client
) -> None:
    image_id = add_picture(key="own")
    page.goto(f"/?open={image_id}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete own?").get_by_role("button", name="Delete").click()
    undo = page.locator(".toast").get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    catalogue.delete("/trash").raise_for_status()
    undo.click()
    expect(page.locator(".toast")).to_contain_text(f"{image_id} is not in the trash.")
    expect(page.locator(".toast")).to_contain_text("Nothing was restored; add the files again instead.")
