from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tabario import names
from tabario.entitlements.cache import KEPT, TierCache
from tabario.entitlements.entitlement import Entitlement, Entitlements, open_entitlements
from tabario.entitlements.source import TierAnswer
from tabario.errors import ConfigurationError, RetryLater
from tabario.metrics.definitions import TIER_LOOKUPS
from tabario.metrics.recorder import NullRecorder
from tabario.metrics.series import Observation
from tabario.settings import AuthSettings
from tabario.settings_source import read_group
from tabario.tiers import Tier
from tests.support.servers import free_port
from tests.support.tokens import USER

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@dataclass
class Database:
    """Answers, or raises `fault`."""

    tier: Tier = Tier.STANDARD
    changed_at: datetime | None = None
    fault: Exception | None = None
    asked: int = 0

    async def tier_of(self, user_id: str) -> TierAnswer:  # noqa: ARG002 - one user is all that it knows
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return TierAnswer(self.tier, self.changed_at)


@dataclass
class Counts:
    """A recorder that a test can read."""

    seen: list[Observation] = field(default_factory=list)

    async def record(self, event_id: str, *observations: Observation) -> None:  # noqa: ARG002 - each event comes once
        self.seen.extend(observations)


@dataclass
class Desk:
    """The entitlements of one front door, its database, its clock and its counts."""

    redis: Redis
    database: Database = field(default_factory=Database)
    counts: Counts = field(default_factory=Counts)
    now: datetime = NOON

    def __post_init__(self) -> None:
        self.entitlements = Entitlements(self.database, TierCache(self.redis), self.counts, clock=lambda: self.now)

    async def ask(
        self, claimed: Tier | None = None, *, issued_at: datetime = NOON, changed_at: datetime | None = None
    ) -> Entitlement:
        return await self.entitlements.tier_of(USER, claimed=claimed, issued_at=issued_at, changed_at=changed_at)


@pytest.fixture
def desk(redis: Redis) -> Desk:
    return Desk(redis)


def certain(tier: Tier, changed_at: datetime | None = None) -> Entitlement:
    return Entitlement(tier, certain=True, changed_at=changed_at)


def guessed(tier: Tier, changed_at: datetime | None = None) -> Entitlement:
    return Entitlement(tier, certain=False, changed_at=changed_at)


# --- what the token says ---


async def test_a_claim_is_believed_without_a_question_when_nothing_else_is_known(desk: Desk) -> None:
    assert await desk.ask(Tier.PREMIUM) == certain(Tier.PREMIUM)
    assert desk.database.asked == 0


async def test_a_token_from_before_the_last_known_change_is_not_believed(desk: Desk) -> None:
    desk.database.tier, desk.database.changed_at = Tier.STANDARD, at(-60)
    await desk.ask()
    assert await desk.ask(Tier.PREMIUM, issued_at=at(-120)) == certain(Tier.STANDARD, at(-60))


async def test_a_token_from_before_a_change_is_not_believed_even_if_it_tells_the_present_tier(desk: Desk) -> None:
    desk.database.tier, desk.database.changed_at = Tier.PREMIUM, at(-60)
    await desk.ask()
    desk.database.tier, desk.database.changed_at = Tier.STANDARD, at(30)
    desk.now = at(61)
    assert await desk.ask(Tier.PREMIUM, issued_at=at(-120)) == certain(Tier.STANDARD, at(30))


async def test_a_token_that_tells_no_date_does_not_make_the_last_known_change_forgotten(desk: Desk) -> None:
    desk.database.changed_at = at(-60)
    await desk.ask()
    assert await desk.ask(Tier.PREMIUM, issued_at=at(30)) == certain(Tier.PREMIUM, at(-60))


async def test_a_token_from_after_the_last_known_change_is_believed_at_once(desk: Desk) -> None:
    await desk.ask()
    desk.database.fault = RetryLater("away")
    upgraded = await desk.ask(Tier.PREMIUM, issued_at=at(30), changed_at=at(20))
    assert upgraded == certain(Tier.PREMIUM, at(20))


async def test_a_new_token_makes_the_ones_from_before_its_change_worthless(desk: Desk) -> None:
    await desk.ask(Tier.PREMIUM, issued_at=at(-600))
    await desk.ask(Tier.STANDARD, issued_at=at(-10), changed_at=at(-60))
    assert await desk.ask(Tier.PREMIUM, issued_at=at(-600)) == certain(Tier.STANDARD, at(-60))


async def test_old_and_new_tokens_that_tell_no_date_of_change_do_not_take_turns(desk: Desk) -> None:
    desk.database.tier = Tier.PREMIUM
    await desk.ask(Tier.STANDARD, issued_at=at(-600))
    assert await desk.ask(Tier.PREMIUM, issued_at=at(-10)) == certain(Tier.PREMIUM)
    assert await desk.ask(Tier.STANDARD, issued_at=at(-600)) == certain(Tier.PREMIUM)


async def test_a_subscription_that_ends_without_a_date_ends_the_tokens_from_before(desk: Desk) -> None:
    await desk.ask(Tier.PREMIUM, issued_at=at(-600))
    await desk.ask()  # a request without a claim makes the database tell that the row is gone
    assert await desk.ask(Tier.PREMIUM, issued_at=at(-600)) == certain(Tier.STANDARD)


async def test_a_contradiction_within_the_skew_of_the_clocks_is_settled_by_the_database(desk: Desk) -> None:
    await desk.ask()
    desk.database.tier, desk.database.changed_at = Tier.PREMIUM, at(1)
    desk.now = at(2)
    assert await desk.ask(Tier.PREMIUM, issued_at=at(2), changed_at=at(1)) == certain(Tier.PREMIUM, at(1))


async def test_a_change_is_remembered_for_as_long_as_a_token_may_live(desk: Desk) -> None:
    await desk.ask()
    assert 0 < await desk.redis.ttl(names.tier_key(USER)) <= KEPT.total_seconds()
    await desk.redis.delete(names.tier_key(USER))
    await desk.ask(Tier.PREMIUM, changed_at=at(-5))
    assert await desk.redis.ttl(names.tier_key(USER)) > timedelta(days=6).total_seconds()


# --- what the database says ---


async def test_an_answer_is_used_for_a_minute_and_then_asked_for_again(desk: Desk) -> None:
    await desk.ask()
    desk.database.tier = Tier.PREMIUM
    desk.now = at(60)
    assert await desk.ask() == certain(Tier.STANDARD)
    desk.now = at(61)
    assert await desk.ask() == certain(Tier.PREMIUM)


async def test_another_front_door_uses_the_answer_too(desk: Desk) -> None:
    desk.database.tier = Tier.PREMIUM
    await desk.ask()
    other = Desk(desk.redis, database=Database(fault=RetryLater("away")))
    assert await other.ask() == certain(Tier.PREMIUM)


# --- when it says nothing ---


async def test_in_an_outage_the_last_known_tier_counts_but_is_not_certain(desk: Desk) -> None:
    desk.database.tier, desk.database.changed_at = Tier.PREMIUM, at(-60)
    await desk.ask()
    desk.database.fault = RetryLater("away")
    desk.now = at(24 * 3600)
    assert await desk.ask() == guessed(Tier.PREMIUM, at(-60))


async def test_in_an_outage_a_tier_known_over_a_day_ago_does_not_count(desk: Desk) -> None:
    desk.database.tier = Tier.PREMIUM
    await desk.ask()
    desk.database.fault = RetryLater("away")
    desk.now = at(24 * 3600 + 1)
    assert await desk.ask() == guessed(Tier.STANDARD)


async def test_in_an_outage_an_unknown_user_is_taken_for_a_standard_one(desk: Desk) -> None:
    desk.database.fault = RetryLater("away")
    assert await desk.ask() == guessed(Tier.STANDARD)


async def test_after_an_outage_the_database_counts_again(desk: Desk) -> None:
    desk.database.fault = RetryLater("away")
    await desk.ask()
    desk.database.fault, desk.database.tier = None, Tier.PREMIUM
    assert await desk.ask() == certain(Tier.PREMIUM)


async def test_a_refusal_is_an_error_and_not_the_standard_tier(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.database.fault = ConfigurationError("the key is wrong")
    with pytest.raises(ConfigurationError):
        await desk.ask()
    assert [(record.levelno, "the key is wrong" in record.message) for record in caplog.records] == [
        (logging.ERROR, True)
    ]
    assert desk.counts.seen == [TIER_LOOKUPS.increment(outcome="misconfigured")]


async def test_a_refusal_does_not_downgrade_a_known_user(desk: Desk) -> None:
    desk.database.tier = Tier.PREMIUM
    await desk.ask()
    desk.database.fault = ConfigurationError("the key is wrong")
    desk.now = at(61)
    assert await desk.ask() == guessed(Tier.PREMIUM)


async def test_every_question_is_counted_by_its_outcome(desk: Desk) -> None:
    await desk.ask()
    desk.now, desk.database.fault = at(61), RetryLater("away")
    await desk.ask()
    assert desk.counts.seen == [
        TIER_LOOKUPS.increment(outcome="answered"),
        TIER_LOOKUPS.increment(outcome="unavailable"),
    ]


async def test_without_redis_the_request_is_to_be_tried_again() -> None:
    away = Redis(port=free_port(), retry=Retry(NoBackoff(), 0))
    desk = Desk(away)
    with pytest.raises(RetryLater):
        await desk.ask(Tier.PREMIUM)
    await away.aclose()


# --- without a database ---


async def test_without_a_project_the_claim_is_all_there_is(redis: Redis) -> None:
    async with open_entitlements(AuthSettings(), redis, NullRecorder()) as entitlements:
        await entitlements.probe()
        claimed = await entitlements.tier_of(USER, claimed=Tier.PREMIUM, issued_at=NOON)
        silent = await entitlements.tier_of(USER, claimed=None, issued_at=at(60))
    assert (claimed, silent) == (certain(Tier.PREMIUM), certain(Tier.STANDARD))


async def test_without_a_project_a_token_from_before_the_last_change_is_not_believed(redis: Redis) -> None:
    async with open_entitlements(AuthSettings(), redis, NullRecorder()) as entitlements:
        now = await entitlements.tier_of(USER, claimed=Tier.STANDARD, issued_at=NOON, changed_at=at(-60))
        old = await entitlements.tier_of(USER, claimed=Tier.PREMIUM, issued_at=at(-3600))
        silent = await entitlements.tier_of(USER, claimed=None, issued_at=at(-3600))
    assert now == old == silent == certain(Tier.STANDARD, at(-60))


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"SUPABASE_SECRET_KEY": "sb_secret_x"}, "SUPABASE_URL"),
        ({"SUPABASE_JWT_SECRET": "x" * 32}, "SUPABASE_URL"),
        ({"SUPABASE_URL": "https://project.example/rest/v1"}, "ends after the host"),
        ({"SUPABASE_URL": "https://project.example", "SUPABASE_SECRET_KEY": "sb_publishable_x"}, "publishable"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    environment: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=named):
        read_group(AuthSettings)
