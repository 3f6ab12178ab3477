"""Limits that callers share: one alone gets nearly all, several get equal parts, and nobody waits for all of them."""

from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.admission.fair_limit import WEIGHT, Charge, FairLimit, Permit
from app.api.middleware.callers import caller_of
from app.errors import OverloadedError


def filled(shares: FairLimit, *callers: str) -> dict[str, int]:
    """Has callers take in turn until none of them gets any more; returns what each holds."""
    held = dict.fromkeys(callers, 0)
    for caller in cycle(callers):
        if not any(shares.fits(one) for one in callers):
            return held
        held[caller] += shares.take(caller)
    return held


@given(limit=st.integers(1, 300))
def test_one_caller_alone_gets_nearly_everything(limit: int) -> None:
    held = filled(FairLimit(limit), "one")["one"]
    assert limit * WEIGHT // (WEIGHT + 1) <= held <= limit
    assert held >= 1


@given(limit=st.integers(20, 300), callers=st.integers(2, 5))
def test_several_callers_get_equal_parts_and_leave_something_for_another(limit: int, callers: int) -> None:
    shares = FairLimit(limit)
    held = filled(shares, *map(str, range(callers)))
    assert max(held.values()) - min(held.values()) <= 1
    assert sum(held.values()) >= limit * 0.85 - callers
    assert shares.take("newcomer") == (sum(held.values()) < limit)


def test_a_newcomer_gets_its_part_as_what_another_holds_is_given_back() -> None:
    shares = FairLimit(64)
    many = filled(shares, "early")["early"]
    for _ in range(many):
        shares.release("early")
        shares.take("late")
        shares.take("early")
    assert filled(FairLimit(64), "early", "late")["late"] == pytest.approx(shares._held["late"], abs=2)


@given(amounts=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), max_size=60))
def test_never_more_is_held_than_there_is_and_everything_comes_back(amounts: list[tuple[str, int]]) -> None:
    shares = FairLimit(100)
    taken = [(caller, amount) for caller, amount in amounts if shares.take(caller, amount, own=-1)]
    assert shares.total == sum(amount for _, amount in taken) <= 100
    for caller, amount in taken:
        shares.release(caller, amount)
    assert (shares.total, dict(shares._held)) == (0, {})


def test_a_place_moves_and_is_kept_where_no_other_is_free() -> None:
    arriving, working = FairLimit(1), FairLimit(1)
    first, second = Permit("one"), Permit("two")
    assert first.move(arriving)
    assert first.move(working)
    assert (arriving.total, working.total) == (0, 1)
    assert second.move(arriving)
    assert not second.move(working)
    assert arriving.total == 1
    first.leave()
    first.leave()
    assert second.move(working)
    second.leave()
    assert (arriving.total, working.total) == (0, 0)


def test_a_request_alone_may_pass_the_budget_and_no_other_beside_it() -> None:
    budget = FairLimit(100)
    large, small = Charge(budget, "one"), Charge(budget, "two")
    for _ in range(3):
        large.add(60)
    with pytest.raises(OverloadedError, match="bytes"):
        small.add(1)
    large.shrink(10)
    assert (large.held, budget.total) == (10, 10)
    small.add(80)
    with pytest.raises(OverloadedError):
        large.add(60)
    large.shrink()
    small.shrink()
    assert budget.total == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"client": ("10.0.0.1", 1)}, {"client": ("10.0.0.1", 2)}, True),
        ({"client": ("10.0.0.1", 1)}, {"client": ("10.0.0.2", 1)}, False),
        ({"client": ("2001:db8::1", 1)}, {"client": ("2001:db8::ffff:2", 1)}, True),
        ({"client": ("2001:db8::1", 1)}, {"client": ("2001:db8:0:1::1", 1)}, False),
        ({"client": ("::ffff:10.0.0.1", 1)}, {"client": ("::ffff:10.0.0.2", 1)}, False),
        ({"client": ("10.0.0.1", 1), "state": {"key_id": 1}}, {"client": None, "state": {"key_id": 1}}, True),
        ({"client": None, "state": {"key_id": 1}}, {"client": None, "state": {"key_id": 2}}, False),
        ({"client": None}, {"client": ("a socket", None)}, False),
    ],
)
def test_a_caller_is_a_key_or_else_an_address(one: dict[str, object], other: dict[str, object], same: bool) -> None:
    assert (caller_of(one) == caller_of(other)) is same


def test_places_are_taken_in_turn_by_many_callers() -> None:
    shares = FairLimit(8)
    callers = [str(at) for at in range(8)]
    assert all(shares.take(caller) for caller in islice(callers, 8))
    assert not shares.take("another")
