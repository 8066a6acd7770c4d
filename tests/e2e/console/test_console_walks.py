"""What people do in the console, done in a browser: promote, abort, approve with four eyes."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lifecycle.governance.verify.receipts import ReceiptProof, check
from lifecycle.labels.label_log import LabelLog
from operators.rollout.status import Phase
from serving.access.authentication.api_keys import ApiKeyEntry, keys_text, new_key, utc
from serving.audit.keys.trust import Trust
from tests import quick_yaml as yaml
from tests.e2e.console.chromium import Chromium
from tests.e2e.console.world import ABORTED, APPROVERS, GUARDED, PROMOTED, ConsoleWorld
from tests.fakes.console.served import ServedConsole, served_console
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("the console in a browser")]


def signed_in(chromium: Chromium, console: ServedConsole) -> Page:
    """The store's owner, by a one-time link."""
    page = chromium.page()
    page.goto(f"{console.address}/sign-in/{console.links.make()}")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Rollouts")).to_be_visible()
    return page


def open_rollout(page: Page, console: ServedConsole, name: str, waits: str) -> None:
    """The page of a service, once it waits for somebody."""
    page.goto(f"{console.address}/rollouts/{name}")
    expect(page.locator("#standing")).to_contain_text(waits)
    page.reload()  # acts are for what the person saw


def test_promote_a_canary(chromium: Chromium, console: ServedConsole, world: ConsoleWorld):
    world.start_rollout(PROMOTED)
    until(lambda: world.status(PROMOTED).phase is Phase.PAUSED, "the canary does not reach its pause")
    page = signed_in(chromium, console)
    page.get_by_role("link", name=PROMOTED).first.click()
    open_rollout(page, console, PROMOTED, "Paused")
    page.get_by_label("Reason", exact=True).first.fill("looked at ten alerts: all true")
    page.locator("#act-promote").click()
    expect(page.locator(".said")).to_contain_text("promote was carried out")
    expect(page.locator("#standing")).to_contain_text("Healthy")  # by an event: the page is not loaded again
    assert world.status(PROMOTED).stable.version == "2"
    expect(page.locator("#moves")).to_contain_text("looked at ten alerts")


def test_abort_a_canary(chromium: Chromium, console: ServedConsole, world: ConsoleWorld):
    world.start_rollout(ABORTED)
    until(lambda: world.status(ABORTED).phase is Phase.PAUSED, "the canary does not reach its pause")
    page = signed_in(chromium, console)
    open_rollout(page, console, ABORTED, "Paused")
    page.locator("#act-abort").click()
    assert page.locator("#why").evaluate("field => field.validity.valueMissing"), "a reason is needed"
    page.locator("#why").fill("the SIEM is flooded")
    page.locator("#why").press("Enter")  # presses no button, least of all the first one, which promotes
    expect(page.locator("#act-form button").first).to_be_hidden()
    page.locator("#act-abort").click()
    expect(page.locator("#standing")).to_contain_text("Aborted")
    assert world.status(ABORTED).stable.version == "1"
    assert world.status(ABORTED).phase is Phase.ABORTED


def test_label_ten_alerts_by_keyboard(chromium: Chromium, console: ServedConsole, world: ConsoleWorld):
    page = signed_in(chromium, console)
    rows = page.locator("#alerts tbody tr")

    def is_read() -> bool:
        page.goto(f"{console.address}/detections")
        return rows.count() > 10

    until(is_read, "the log is not read", every_s=0.2)
    events = [rows.nth(place).get_attribute("data-event") for place in range(10)]
    page.keyboard.press("j")
    for place in range(10):
        page.keyboard.press("t" if place % 3 else "f")
        expect(rows.nth(place).locator(".label-state")).to_contain_text("attack" if place % 3 else "false alarm")
        page.keyboard.press("j")
    given = {label.event: label.verdict for label in LabelLog(world.store / "labels", signer=lambda: None).read()}
    assert [given[event] for event in events] == ["attack" if place % 3 else "benign" for place in range(10)]


def test_find_a_receipt_and_verify_its_proof(chromium: Chromium, console: ServedConsole, world: ConsoleWorld):
    page = signed_in(chromium, console)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Audit").click()
    page.get_by_label("Kind", exact=True).select_option("answer")
    page.get_by_label("Action or verdict").fill("alert")
    page.get_by_role("button", name="Search").click()
    receipt = page.locator("#records tbody tr td[data-label=About] a").first
    wanted = receipt.text_content()
    receipt.click()
    expect(page.locator("#proved")).to_contain_text("is in the signed log")
    assert page.get_by_text("fails", exact=True).count() == 0
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download the proof").click()
    proof = ReceiptProof.decode(Path(saved.value.path()).read_bytes())
    found = check(proof, Trust.of_store(world.store, world.store / "audit"))  # by the auditor's own code, away from the console
    assert len(found) == 1
    assert proof.receipt == wanted


@pytest.fixture(scope="module")
def guarded(world: ConsoleWorld) -> Iterator[tuple[ServedConsole, dict[str, str]]]:
    """A console with an access policy, and an API key for each approver."""
    folder = world.store.parent / "access"
    folder.mkdir()
    keys, entries = {}, []
    for name in APPROVERS:
        keys[name], identity, digest = new_key(os.urandom)
        entries.append(
            ApiKeyEntry(id=identity, sha256=digest, owner=name, roles=("console-approver",), created=utc(time.time()))
        )
    (folder / "keys.json").write_bytes(keys_text(entries))
    (folder / "keys.json").chmod(0o600)
    policy = {"version": 1, "roles": {"console-approver": []}, "keys": "keys.json"}
    path = folder / "access.yaml"
    path.write_text(yaml.safe_dump(policy))
    with served_console(world.store, access=path) as console:
        yield console, keys


def test_approve_with_four_eyes(chromium: Chromium, guarded: tuple[ServedConsole, dict[str, str]], world: ConsoleWorld):
    console, keys = guarded
    world.start_rollout(GUARDED)
    until(lambda: "0 of 2" in world.status(GUARDED).waiting_for, "it does not wait for an approval")
    pages = {}
    for name in APPROVERS:  # two people, each in a browser of their own, with a key of their own
        page = pages[name] = chromium.page()
        page.goto(f"{console.address}/rollouts/{GUARDED}")
        page.get_by_label("API key or token").fill(keys[name])
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Approval")).to_be_visible()
        assert page.locator("#act-form").count() == 0, "an approver moves nothing"
    approve(pages["ada"], world.key_file("ada"), "the evidence is sound")
    until(lambda: "1 of 2" in world.status(GUARDED).waiting_for, "ada's approval did not count")
    assert world.status(GUARDED).stable.version == "1", "one pair of eyes is not enough"
    pages["bob"].reload()
    approve(pages["bob"], world.key_file("bob"), "agreed with ada")
    expect(pages["bob"].locator("#standing")).to_contain_text("Healthy")
    assert world.status(GUARDED).stable.version == "2"


def approve(page: Page, key: Path, why: str) -> None:
    """Sign with this key: see what is signed, then sign it."""
    page.locator("#decide-why").fill(why)
    page.locator("#key-file").set_input_files(key)
    page.locator("#approve").click()
    expect(page.locator("#sign-text")).to_contain_text(GUARDED)
    page.get_by_role("button", name="Sign and approve").click()
    expect(page.locator(".said")).to_contain_text("approve was carried out")
