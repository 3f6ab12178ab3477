"""Fair limits: a single caller gets nearly everything, several get equal shares."""

from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.admission.fair_limit import WEIGHT, Charge, FairLimit, Permit
from app.api.middleware.callers import caller_of
from app.errors import OverloadedError


def filled(shared: FairLimit, *callers: str) -> dict[str, int]:
    """Let callers acquire in turn until none can acquire more; return what each holds."""
    held = dict.fromkeys(callers, 0)
    for caller in cycle(callers):
        if not any(shared.can_acquire(one) for one in callers):
            return held
        held[caller] += shared.try_acquire(caller)
    return held


@given(limit=st.integers(1, 300))
def test_single_caller_gets_nearly_everything(limit: int) -> None:
    held = filled(FairLimit(limit), "one")["one"]
    assert limit * WEIGHT // (WEIGHT + 1) <= held <= limit
    assert held >= 1


@given(limit=st.integers(20, 300), callers=st.integers(2, 5))
def test_several_callers_get_equal_shares_and_leave_something_for_another(limit: int, callers: int) -> None:
    shared = FairLimit(limit)
    held = filled(shared, *map(str, range(callers)))
    assert max(held.values()) - min(held.values()) <= 1
    assert sum(held.values()) >= limit * 0.85 - callers
    assert shared.try_acquire("newcomer") == (sum(held.values()) < limit)


def test_new_caller_gets_its_share_as_another_releases() -> None:
    shared = FairLimit(64)
    many = filled(shared, "early")["early"]
    for _ in range(many):
        shared.release("early")
        shared.try_acquire("late")
        shared.try_acquire("early")
    assert filled(FairLimit(64), "early", "late")["late"] == pytest.approx(shared._held["late"], abs=2)


@given(amounts=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40)), max_size=60))
def test_limit_is_never_exceeded_and_fully_released(amounts: list[tuple[str, int]]) -> None:
    shared = FairLimit(100)
    taken = [(caller, amount) for caller, amount in amounts if shared.try_acquire(caller, amount, already=-1)]
    assert shared.total == sum(amount for _, amount in taken) <= 100
    for caller, amount in taken:
        shared.release(caller, amount)
    assert (shared.total, dict(shared._held)) == (0, {})


def test_permit_switches_limits_and_is_kept_if_none_is_free() -> None:
    arriving, working = FairLimit(1), FairLimit(1)
    first, second = Permit("one"), Permit("two")
    assert first.switch_to(arriving)
    assert first.switch_to(working)
    assert (arriving.total, working.total) == (0, 1)
    assert second.switch_to(arriving)
    assert not second.switch_to(working)
    assert arriving.total == 1
    first.release()
    first.release()
    assert second.switch_to(working)
    second.release()
    assert (arriving.total, working.total) == (0, 0)


def test_single_request_may_exceed_the_memory_limit() -> None:
    budget = FairLimit(100)
    large, small = Charge(budget, "one"), Charge(budget, "two")
    for _ in range(3):
        large.add(60)
    with pytest.raises(OverloadedError, match="memory"):
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
def test_caller_is_a_key_or_an_address(one: dict[str, object], other: dict[str, object], same: bool) -> None:
    assert (caller_of(one) == caller_of(other)) is same


def test_each_of_many_callers_gets_a_permit() -> None:
    shared = FairLimit(8)
    callers = [str(at) for at in range(8)]
    assert all(shared.try_acquire(caller) for caller in islice(callers, 8))
    assert not shared.try_acquire("another")
