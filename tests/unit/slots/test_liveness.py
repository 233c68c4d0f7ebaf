"""Who is declared dead, and from which moment on: on a clock that stands still, with beats in a real Redis."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from tabario import names
from tabario.clients.prefect import Run, RunState
from tabario.settings import SlotSettings
from tabario.slots.heartbeat import BEAT_SECONDS, beating
from tabario.slots.liveness import Liveness
from tests.support.orchestrator import StillClock, make_job, new_user
from tests.support.runs import new_run

INSTANT = 0.001
SILENT, NOT_STARTED = "Its process gave no sign of life.", "Its process did not start in time."


Watch = Callable[[], Liveness]


@pytest.fixture
def watch(redis: Redis, clock: StillClock) -> Watch:
    """Makes the watch of another keeper."""
    return lambda: Liveness(redis, SlotSettings(pending_limit=50, silence=30), clock=clock)


@pytest.fixture
def liveness(watch: Watch) -> Liveness:
    return watch()


def run_in(state: RunState, clock: StillClock) -> Run:
    """A run that came into its state just now."""
    return new_run(make_job(new_user()), state=state).model_copy(update={"state_since": clock.now})


async def verdicts(liveness: Liveness, *runs: Run) -> list[tuple[Run, RunState, str]]:
    return [(verdict.run, verdict.state, verdict.reason) for verdict in await liveness.look(runs)]


async def watch_for(seconds: float, liveness: Liveness, clock: StillClock, *runs: Run) -> None:
    """Looks at them as often as they beat; they say nothing, and nothing is said of them yet."""
    assert await verdicts(liveness, *runs) == []
    for _ in range(round(seconds / BEAT_SECONDS)):
        clock.advance(BEAT_SECONDS)
        assert await verdicts(liveness, *runs) == []


async def test_nothing_is_said_of_nobody(liveness: Liveness) -> None:
    assert await liveness.look([]) == []


async def test_a_run_may_be_pending_for_its_limit_and_no_longer(liveness: Liveness, clock: StillClock) -> None:
    run, queued = run_in(RunState.PENDING, clock), run_in(RunState.QUEUED, clock)
    await watch_for(50, liveness, clock, run, queued)
    clock.advance(INSTANT)
    assert await verdicts(liveness, run, queued) == [(run, RunState.CRASHED, NOT_STARTED)]


async def test_how_long_a_run_is_pending_is_not_told_by_prefects_clock(liveness: Liveness, clock: StillClock) -> None:
    run = run_in(RunState.PENDING, clock)
    clock.advance(300)
    await watch_for(50, liveness, clock, run)


async def test_the_first_beat_may_take_a_minute(liveness: Liveness, clock: StillClock) -> None:
    run = run_in(RunState.RUNNING, clock)
    await watch_for(60, liveness, clock, run)
    clock.advance(INSTANT)
    assert await verdicts(liveness, run) == [(run, RunState.CRASHED, SILENT)]


async def test_one_that_has_beaten_may_be_silent_for_half_of_that(
    liveness: Liveness, clock: StillClock, redis: Redis
) -> None:
    run, beats_on = run_in(RunState.RUNNING, clock), run_in(RunState.RUNNING, clock)
    await redis.set(names.beat_key(run.flow_run_id), 7)
    await watch_for(30, liveness, clock, run, beats_on)
    await redis.incr(names.beat_key(beats_on.flow_run_id))
    assert await verdicts(liveness, run, beats_on) == []
    clock.advance(INSTANT)
    assert await verdicts(liveness, run, beats_on) == [(run, RunState.CRASHED, SILENT)]


@pytest.mark.parametrize("change", ["state", "beat"])
async def test_what_changes_is_watched_anew(liveness: Liveness, clock: StillClock, redis: Redis, change: str) -> None:
    run = run_in(RunState.RUNNING, clock)
    await redis.set(names.beat_key(run.flow_run_id), 7)
    await watch_for(30, liveness, clock, run)
    if change == "state":
        run = run.model_copy(update={"state_id": uuid4()})
    else:
        await redis.incr(names.beat_key(run.flow_run_id))
    assert await verdicts(liveness, run) == []
    clock.advance(300)
    assert await verdicts(liveness, run) == []
    clock.advance(5)
    assert await verdicts(liveness, run) == [(run, RunState.CRASHED, SILENT)]


@pytest.mark.parametrize("state", [RunState.PENDING, RunState.RUNNING, RunState.CANCELLING])
async def test_after_a_gap_in_the_watch_a_run_has_time_to_show_that_it_lives(
    liveness: Liveness, clock: StillClock, state: RunState
) -> None:
    run, moves_on = run_in(state, clock), run_in(state, clock)
    await watch_for(30, liveness, clock, run, moves_on)
    liveness.pause()
    clock.advance(300)
    assert await verdicts(liveness, run, moves_on) == []
    clock.advance(10 - INSTANT)
    moves_on = moves_on.model_copy(update={"state_id": uuid4()})
    assert await verdicts(liveness, run, moves_on) == []
    clock.advance(INSTANT)
    (dead,) = await liveness.look([run, moves_on])
    assert dead.run == run


@pytest.mark.parametrize(
    ("state", "beat", "half"),
    [(RunState.PENDING, "", 25), (RunState.RUNNING, "", 30), (RunState.RUNNING, "7", 15)],
)
async def test_a_run_is_watched_for_half_of_its_time(  # noqa: PLR0913 - fixtures and cases
    watch: Watch, clock: StillClock, redis: Redis, state: RunState, *, beat: str, half: float
) -> None:
    run = run_in(state, clock)
    if beat:
        await redis.set(names.beat_key(run.flow_run_id), beat)
    assert await verdicts(watch(), run) == []
    clock.advance(300)
    for _ in range(round(half / 5) - 3):  # keepers that follow each other too fast to tell by themselves
        await watch_for(5, watch(), clock, run)
        clock.advance(20)
    keeper = watch()
    await watch_for(10, keeper, clock, run)
    clock.advance(5 - INSTANT)
    assert await verdicts(keeper, run) == []
    clock.advance(INSTANT)
    assert [dead.run for dead in await keeper.look([run])] == [run]


async def test_a_gap_is_not_watched(liveness: Liveness, clock: StillClock, redis: Redis) -> None:
    run = run_in(RunState.RUNNING, clock)
    await redis.set(names.beat_key(run.flow_run_id), 7)
    await liveness.look([run])
    liveness.pause()
    clock.advance(300)
    await watch_for(10, liveness, clock, run)
    clock.advance(5)
    assert await verdicts(liveness, run) == [(run, RunState.CRASHED, SILENT)]


async def test_half_a_minute_of_watch_is_enough(redis: Redis, clock: StillClock) -> None:
    patient = Liveness(redis, SlotSettings(silence=600), clock=clock)
    run = run_in(RunState.RUNNING, clock)
    await redis.set(names.beat_key(run.flow_run_id), 7)
    await patient.look([run])
    clock.advance(600)
    assert await verdicts(patient, run) == []
    await watch_for(15, patient, clock, run)
    clock.advance(5)
    assert await verdicts(patient, run) == [(run, RunState.CRASHED, SILENT)]


@pytest.mark.parametrize(("away", "excused"), [(20, 20), (300, 40)])
async def test_a_run_that_has_not_begun_has_as_long_as_prefect_was_away(
    liveness: Liveness, clock: StillClock, away: float, excused: float
) -> None:
    pending, unheard = run_in(RunState.PENDING, clock), run_in(RunState.RUNNING, clock)
    await watch_for(50, liveness, clock, pending, unheard)
    liveness.note_outage()
    clock.advance(away)
    assert await verdicts(liveness, pending, unheard) == []
    clock.advance(excused - INSTANT)
    assert await verdicts(liveness, pending, unheard) == []
    clock.advance(INSTANT)
    assert [dead.run for dead in await liveness.look([pending, unheard])] == [pending, unheard]


async def test_a_run_that_has_begun_is_heard_without_prefect(
    liveness: Liveness, clock: StillClock, redis: Redis
) -> None:
    run = run_in(RunState.RUNNING, clock)
    await redis.set(names.beat_key(run.flow_run_id), 7)
    await watch_for(30, liveness, clock, run)
    liveness.note_outage()
    clock.advance(INSTANT)
    assert await verdicts(liveness, run) == [(run, RunState.CRASHED, SILENT)]


async def test_a_clock_set_back_does_not_excuse_for_longer(liveness: Liveness, clock: StillClock) -> None:
    run = run_in(RunState.PENDING, clock)
    liveness.note_outage()
    await liveness.look([run])
    clock.advance(-3600)
    await watch_for(50, liveness, clock, run)
    clock.advance(INSTANT)
    assert await verdicts(liveness, run) == [(run, RunState.CRASHED, NOT_STARTED)]


async def test_a_verdict_holds_until_the_run_beats_again(liveness: Liveness, clock: StillClock, redis: Redis) -> None:
    run = run_in(RunState.RUNNING, clock)
    await redis.set(names.beat_key(run.flow_run_id), 7)
    await watch_for(30, liveness, clock, run)
    clock.advance(INSTANT)
    (verdict,) = await liveness.look([run])
    assert await liveness.confirm(verdict)
    await redis.incr(names.beat_key(run.flow_run_id))
    assert not await liveness.confirm(verdict)


async def test_a_long_time_between_two_looks_counts_as_two_beats(
    liveness: Liveness, clock: StillClock, redis: Redis
) -> None:
    run = run_in(RunState.RUNNING, clock)
    await redis.set(names.beat_key(run.flow_run_id), 7)
    await liveness.look([run])
    clock.advance(300)
    assert await verdicts(liveness, run) == []
    clock.advance(5 - INSTANT)
    assert await verdicts(liveness, run) == []
    clock.advance(INSTANT)
    assert await verdicts(liveness, run) == [(run, RunState.CRASHED, SILENT)]


async def test_each_keeper_knows_what_the_last_one_saw(watch: Watch, clock: StillClock, redis: Redis) -> None:
    run, beats_on = run_in(RunState.RUNNING, clock), run_in(RunState.RUNNING, clock)
    for one in (run, beats_on):
        await redis.set(names.beat_key(one.flow_run_id), 7)
    assert await verdicts(watch(), run, beats_on) == []
    clock.advance(10)
    await redis.incr(names.beat_key(beats_on.flow_run_id))
    keeper = watch()
    await watch_for(20, keeper, clock, run, beats_on)
    clock.advance(INSTANT)
    assert await verdicts(keeper, run, beats_on) == [(run, RunState.CRASHED, SILENT)]


async def test_a_keeper_that_leads_again_trusts_what_another_saw_meanwhile(
    watch: Watch, clock: StillClock, redis: Redis
) -> None:
    run = run_in(RunState.RUNNING, clock)
    ours, other = watch(), watch()
    await redis.set(names.beat_key(run.flow_run_id), 7)
    await ours.look([run])
    ours.pause()
    clock.advance(30)
    await redis.incr(names.beat_key(run.flow_run_id))
    await other.look([run])
    await redis.decr(names.beat_key(run.flow_run_id))  # so that only the other one can tell that it beat
    await other.look([run])
    await watch_for(30, ours, clock, run)


async def test_a_clock_that_was_ahead_delays_nothing(watch: Watch, clock: StillClock, redis: Redis) -> None:
    run = run_in(RunState.RUNNING, clock)
    await redis.set(names.beat_key(run.flow_run_id), 7)
    keeper, next_keeper = watch(), watch()
    clock.advance(3600)
    await keeper.look([run])
    clock.advance(-3600)
    for one in keeper, next_keeper:
        assert await verdicts(one, run) == []
    for _ in range(6):
        clock.advance(BEAT_SECONDS)
        for one in keeper, next_keeper:
            assert await verdicts(one, run) == []
    clock.advance(INSTANT)
    for one in keeper, next_keeper:
        assert await verdicts(one, run) == [(run, RunState.CRASHED, SILENT)]


@pytest.mark.parametrize("since", ["yesterday", "2026-01-01T00:00:00"])
async def test_what_a_keeper_of_another_version_saw_begins_anew(
    watch: Watch, clock: StillClock, redis: Redis, since: str
) -> None:
    run = run_in(RunState.RUNNING, clock)
    await redis.set(names.beat_key(run.flow_run_id), 7)
    sight = {"state_id": str(run.state_id), "beat": "7", "since": since}
    await redis.set(names.KEEPER_SIGHTS_KEY, json.dumps({str(run.flow_run_id): sight}))
    keeper = watch()
    await watch_for(30, keeper, clock, run)
    clock.advance(INSTANT)
    assert await verdicts(keeper, run) == [(run, RunState.CRASHED, SILENT)]


async def test_what_was_seen_is_kept_for_as_long_as_the_beats(
    liveness: Liveness, clock: StillClock, redis: Redis
) -> None:
    run = run_in(RunState.RUNNING, clock)
    async with beating(redis, run.flow_run_id):
        await liveness.look([run])
    of_beat, of_sights = await redis.ttl(names.beat_key(run.flow_run_id)), await redis.ttl(names.KEEPER_SIGHTS_KEY)
    assert of_beat - 1 <= of_sights <= of_beat + 1


@pytest.mark.parametrize(("beat", "seconds"), [(None, 60), (7, 30)])
async def test_a_cancelling_run_ends_when_it_falls_silent(
    liveness: Liveness, clock: StillClock, redis: Redis, beat: int | None, seconds: float
) -> None:
    run = run_in(RunState.CANCELLING, clock)
    if beat is not None:
        await redis.set(names.beat_key(run.flow_run_id), beat)
    clock.advance(300)  # its process works on what it was asked to stop
    await watch_for(seconds, liveness, clock, run)
    clock.advance(INSTANT)
    assert await verdicts(liveness, run) == [(run, RunState.CANCELLED, SILENT)]
