"""The tier lookup against our migrations in a real PostgreSQL behind a real PostgREST."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from tabario.entitlements.cache import TierCache
from tabario.entitlements.entitlement import Entitlement, Entitlements, open_entitlements
from tabario.entitlements.source import TierAnswer
from tabario.entitlements.supabase import SupabaseTiers, open_supabase
from tabario.errors import ConfigurationError, RetryLater
from tabario.metrics.recorder import NullRecorder
from tabario.settings import AuthSettings
from tabario.tiers import Tier
from tabario.tokens.claims import read_identity
from tests.support.front_door_process import FrontDoorProcess, front_door_process
from tests.support.orchestrator import SettableClock, ensure_deployment, prefect_client
from tests.support.servers import PrefectServer, RedisServer, free_port
from tests.support.supabase import PUBLISHABLE_KEY, SECRET_KEY, SupabaseProject, missing_tools, supabase_running
from tests.support.tokens import token

pytestmark = pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupabaseProject]:
    with supabase_running(tmp_path_factory.mktemp("supabase")) as running:
        yield running


@pytest.fixture
async def tiers(project: SupabaseProject) -> AsyncIterator[SupabaseTiers]:
    async with open_supabase(project.url, secret_key=SECRET_KEY) as source:
        yield source


@pytest.fixture
async def entitlements(project: SupabaseProject, redis: Redis) -> AsyncIterator[Entitlements]:
    settings = AuthSettings.model_validate({"supabase_url": project.url, "supabase_secret_key": SecretStr(SECRET_KEY)})
    async with open_entitlements(settings, redis, NullRecorder()) as opened:
        yield opened


def sign_up(project: SupabaseProject, *, tier: str | None = None, status: str = "active") -> str:
    user_id = str(uuid4())
    project.database.execute("insert into auth.users values (:'user')", user=user_id)
    if tier:
        insert = "insert into public.subscriptions (user_id, tier, status) values (:'user', :'tier', :'status')"
        project.database.execute(insert, user=user_id, tier=tier, status=status)
    return user_id


def set_status(project: SupabaseProject, user_id: str, status: str) -> None:
    update = "update public.subscriptions set status = :'status', tier_changed_at = 'infinity' where user_id = :'user'"
    project.database.execute(update, user=user_id, status=status)


def issue(project: SupabaseProject, user_id: str, **claims: object) -> dict[str, object]:
    """The claims that the auth service would sign, after the hook."""
    now = int(time.time())
    plain = {"sub": user_id, "role": "authenticated", "iat": now, "exp": now + 3600, **claims}
    answer = project.database.execute(
        "set local role supabase_auth_admin; select tabario.add_tier_to_token(:'event') -> 'claims'",
        event=json.dumps({"user_id": user_id, "claims": plain}),
    )
    hooked: dict[str, object] = json.loads(answer)
    return hooked


def as_user(project: SupabaseProject, user_id: str) -> httpx.Client:
    headers = {"apikey": PUBLISHABLE_KEY, "authorization": f"Bearer {project.token(user_id)}"}
    return httpx.Client(base_url=f"{project.url}/rest/v1", headers=headers)


# --- the lookup ---


@pytest.mark.parametrize(
    ("bought", "status", "expected"),
    [
        ("premium", "active", Tier.PREMIUM),
        ("premium", "trialing", Tier.PREMIUM),
        ("premium", "past_due", Tier.STANDARD),
        ("premium", "canceled", Tier.STANDARD),
        ("standard", "active", Tier.STANDARD),
    ],
)
async def test_only_a_subscription_in_good_standing_gives_a_right_to_its_tier(
    project: SupabaseProject, tiers: SupabaseTiers, bought: str, status: str, expected: Tier
) -> None:
    user_id = sign_up(project, tier=bought, status=status)
    assert (await tiers.tier_of(user_id)).tier is expected


async def test_a_user_without_a_subscription_has_the_standard_tier(
    project: SupabaseProject, tiers: SupabaseTiers
) -> None:
    assert await tiers.tier_of(sign_up(project)) == TierAnswer(Tier.STANDARD, changed_at=None)


async def test_the_date_of_change_follows_the_right_and_not_the_row(
    project: SupabaseProject, tiers: SupabaseTiers
) -> None:
    user_id = sign_up(project, tier="premium", status="trialing")
    bought = await tiers.tier_of(user_id)
    set_status(project, user_id, "active")
    assert await tiers.tier_of(user_id) == bought
    set_status(project, user_id, "past_due")
    lost = await tiers.tier_of(user_id)
    assert bought.changed_at is not None
    assert lost.changed_at is not None
    assert lost.changed_at > bought.changed_at


@pytest.mark.parametrize("key", [PUBLISHABLE_KEY, "sb_secret_of_another_project"])
async def test_a_wrong_key_is_a_configuration_error_and_not_the_standard_tier(
    project: SupabaseProject, redis: Redis, key: str
) -> None:
    user_id = sign_up(project, tier="premium")
    async with open_supabase(project.url, secret_key=key) as tiers:
        with pytest.raises(ConfigurationError, match="SUPABASE_SECRET_KEY"):
            await tiers.tier_of(user_id)
        with pytest.raises(ConfigurationError):
            await Entitlements(tiers, TierCache(redis), NullRecorder()).probe()


async def test_missing_migrations_are_a_configuration_error(project: SupabaseProject, tiers: SupabaseTiers) -> None:
    project.database.execute("alter function public.tier_of_user rename to gone")
    try:
        with pytest.raises(ConfigurationError, match="migrations"):
            await tiers.tier_of(str(uuid4()))
    finally:
        project.database.execute("alter function public.gone rename to tier_of_user")


# --- what users can do themselves ---


def test_users_see_their_own_subscription_and_nobody_elses(project: SupabaseProject) -> None:
    mine, other = sign_up(project, tier="standard"), sign_up(project, tier="premium")
    with as_user(project, mine) as client:
        assert [row["user_id"] for row in client.get("/subscriptions").json()] == [mine]
        assert client.get("/subscriptions", params={"user_id": f"eq.{other}"}).json() == []


async def test_users_cannot_change_their_tier(project: SupabaseProject, tiers: SupabaseTiers) -> None:
    user_id, newcomer = sign_up(project, tier="standard"), sign_up(project)
    premium = {"tier": "premium", "status": "active"}
    with as_user(project, user_id) as client:
        assert client.patch("/subscriptions", params={"user_id": f"eq.{user_id}"}, json=premium).is_client_error
        assert client.delete("/subscriptions", params={"user_id": f"eq.{user_id}"}).is_client_error
    with as_user(project, newcomer) as client:
        assert client.post("/subscriptions", json={"user_id": newcomer, **premium}).is_client_error
    assert [(await tiers.tier_of(user)).tier for user in (user_id, newcomer)] == [Tier.STANDARD] * 2


def test_users_and_strangers_cannot_ask_for_tiers(project: SupabaseProject) -> None:
    user_id = sign_up(project, tier="premium")
    with as_user(project, user_id) as client:
        assert client.post("/rpc/tier_of_user", json={"subject": user_id}).is_client_error
        assert client.post("/rpc/entitled_tier", json={"tier": "premium", "status": "active"}).is_client_error
    stranger = {"apikey": PUBLISHABLE_KEY}
    assert httpx.get(f"{project.url}/rest/v1/subscriptions", headers=stranger).is_client_error
    assert httpx.get(f"{project.url}/rest/v1/subscriptions").is_client_error


async def test_the_billing_back_end_can_change_a_tier(project: SupabaseProject, tiers: SupabaseTiers) -> None:
    user_id = sign_up(project, tier="standard")
    async with httpx.AsyncClient(headers={"apikey": SECRET_KEY}) as billing:
        url, row = f"{project.url}/rest/v1/subscriptions", {"user_id": f"eq.{user_id}"}
        reply = await billing.patch(url, params=row, json={"tier": "premium"})
    assert reply.is_success
    assert (await tiers.tier_of(user_id)).tier is Tier.PREMIUM


# --- tokens ---


async def test_the_hook_puts_the_tier_and_its_change_into_a_token(
    project: SupabaseProject, tiers: SupabaseTiers
) -> None:
    user_id = sign_up(project, tier="premium")
    claims = issue(project, user_id, app_metadata={"provider": "email", "tier": "standard"})
    changed_at = (await tiers.tier_of(user_id)).changed_at
    assert changed_at is not None
    assert claims["app_metadata"] == {
        "provider": "email",
        "tier": "premium",
        "tier_changed_at": int(changed_at.timestamp()),
    }
    assert read_identity(claims).tier is Tier.PREMIUM


@pytest.mark.parametrize("app_metadata", [{}, {"app_metadata": None}, {"app_metadata": {"tier": "premium"}}])
async def test_the_hook_gives_a_user_without_a_subscription_the_standard_tier(
    project: SupabaseProject, app_metadata: dict[str, object]
) -> None:
    claims = issue(project, sign_up(project), **app_metadata)
    assert claims["app_metadata"] == {"tier": "standard", "tier_changed_at": None}


async def test_what_users_write_about_themselves_is_never_read(
    project: SupabaseProject, entitlements: Entitlements
) -> None:
    user_id = sign_up(project)
    now = int(time.time())
    mine = {"user_metadata": {"tier": "premium", "app_metadata": {"tier": "premium"}}}
    identity = read_identity({"sub": user_id, "role": "authenticated", "iat": now, "exp": now + 60, **mine})
    found = await entitlements.tier_of(user_id, claimed=identity.tier, issued_at=identity.issued_at)
    assert found == Entitlement(Tier.STANDARD, certain=True, changed_at=None)
    metadata = issue(project, user_id, **mine)["app_metadata"]
    assert isinstance(metadata, dict)
    assert metadata["tier"] == "standard"


async def test_a_token_from_before_a_downgrade_no_longer_counts_once_it_is_known(
    project: SupabaseProject, entitlements: Entitlements
) -> None:
    user_id = sign_up(project, tier="premium")
    issued_at = datetime.fromtimestamp(time.time() - 600, UTC)
    before = await entitlements.tier_of(user_id, claimed=Tier.PREMIUM, issued_at=issued_at)
    set_status(project, user_id, "canceled")
    await entitlements.tier_of(user_id, claimed=None, issued_at=issued_at)
    after = await entitlements.tier_of(user_id, claimed=Tier.PREMIUM, issued_at=issued_at)
    assert (before.tier, after.tier, after.certain) == (Tier.PREMIUM, Tier.STANDARD, True)


# --- outages ---


async def test_a_stopped_database_service_leaves_tiers_as_they_were_last_known(
    project: SupabaseProject, tiers: SupabaseTiers, redis: Redis
) -> None:
    clock = SettableClock()
    entitlements = Entitlements(tiers, TierCache(redis), NullRecorder(), clock=clock)
    known, unknown = sign_up(project, tier="premium"), sign_up(project, tier="premium")
    now = datetime.now(UTC)
    await entitlements.tier_of(known, claimed=None, issued_at=now)
    clock.advance(61)
    with project.outage():
        stale = await entitlements.tier_of(known, claimed=None, issued_at=now)
        assumed = await entitlements.tier_of(unknown, claimed=None, issued_at=now)
        with pytest.raises(RetryLater):
            await entitlements.probe()
    healed = await entitlements.tier_of(unknown, claimed=None, issued_at=now)
    assert (stale.tier, stale.certain) == (Tier.PREMIUM, False)
    assert (assumed.tier, assumed.certain) == (Tier.STANDARD, False)
    assert (healed.tier, healed.certain) == (Tier.PREMIUM, True)


async def test_an_address_where_nobody_listens_is_an_outage() -> None:
    async with open_supabase(f"http://127.0.0.1:{free_port()}", secret_key=SECRET_KEY) as tiers:
        with pytest.raises(RetryLater):
            await tiers.tier_of(str(uuid4()))


# --- a front door of the project ---


@pytest.fixture(scope="module")
async def deployed_prefect(prefect_server: PrefectServer) -> PrefectServer:
    async with prefect_client(prefect_server.api_url) as client:
        await ensure_deployment(client)
    return prefect_server


@pytest.fixture(scope="module")
def door(
    project: SupabaseProject,
    deployed_prefect: PrefectServer,
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FrontDoorProcess]:
    with front_door_process(
        tmp_path_factory.mktemp("door"),
        redis_url=f"{redis_server.url[:-1]}8",
        prefect=deployed_prefect,
        TABARIO_ENVIRONMENT="production",
        TABARIO_DEVELOPMENT_KEY="",
        PREFECT_API_AUTH_STRING=f"tabario:{secrets.token_hex(16)}",  # production asks for one
        SUPABASE_URL=project.url,
        SUPABASE_SECRET_KEY=SECRET_KEY,
    ) as opened:
        yield opened


async def ask_for_slots(door: FrontDoorProcess, access_token: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=door.url, timeout=30) as client:
        return await client.get("/orchestrate/slots", headers={"Authorization": f"Bearer {access_token}"})


@pytest.mark.parametrize(("bought", "limit"), [("premium", 3), ("standard", 1), (None, 1)])
async def test_users_of_the_project_have_the_slots_of_their_subscription(
    project: SupabaseProject, door: FrontDoorProcess, bought: str | None, limit: int
) -> None:
    reply = await ask_for_slots(door, project.token(sign_up(project, tier=bought)))
    assert (reply.status_code, reply.json()["limit"]) == (200, limit)


async def test_development_token_is_worth_nothing_in_production(door: FrontDoorProcess) -> None:
    reply = await ask_for_slots(door, token())
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_token")


def test_wrong_secret_key_stops_the_start_with_a_sentence(
    project: SupabaseProject, prefect_server: PrefectServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    with (
        pytest.raises(AssertionError, match="Check SUPABASE_URL, SUPABASE_SECRET_KEY"),
        front_door_process(
            tmp_path,
            redis_url=f"{redis_server.url[:-1]}8",
            prefect=prefect_server,
            SUPABASE_URL=project.url,
            SUPABASE_SECRET_KEY="sb_secret_of_another_project",
        ),
    ):
        pass
