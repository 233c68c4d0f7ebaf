"""`tabario doctor` finds each sabotage by name, on real servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from tabario import names
from tabario.cli.deployment import deploy
from tabario.cli.doctor import check_deployment
from tabario.doctor.clocks import judge_clock
from tabario.doctor.comfyui import check_comfyui, check_places
from tabario.doctor.disk import check_disk, check_store, judge_space
from tabario.doctor.examination import examine
from tabario.doctor.findings import Finding, Verdict, ok
from tabario.doctor.prefect import check_prefect, check_slot_limits, judge_version, require_durable_leases
from tabario.doctor.redis import check_redis
from tabario.doctor.users import check_supabase, check_tokens
from tabario.doctor.webhook import check_webhook
from tabario.errors import ConfigurationError, RetryLater
from tabario.places.board import Board
from tabario.settings import (
    AuthSettings,
    ComfyUISettings,
    Environment,
    MediaSettings,
    MetricsSettings,
    PrefectSettings,
    RedisSettings,
    Settings,
    SlotSettings,
    WebhookSettings,
)
from tabario.styles.workflow import load_workflow
from tests.support.comfyui import comfyui_running
from tests.support.findings import faults, verdicts
from tests.support.jobs import settings_for
from tests.support.orchestrator import prefect_client
from tests.support.receivers import receiving
from tests.support.servers import PrefectServer, RedisServer, free_port, prefect_running
from tests.support.supabase import SECRET_KEY, SupabaseProject, missing_tools, supabase_running

AUTH, SIGNING = "admin:b2f1c09d7ae84653", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"


def closed_address() -> str:
    return f"http://127.0.0.1:{free_port()}"


# --- Redis ---


def redis_settings(url: str) -> RedisSettings:
    return RedisSettings(url=SecretStr(url))


async def test_a_redis_as_it_should_be_has_no_fault(redis_server: RedisServer) -> None:
    found = verdicts(await check_redis(redis_settings(redis_server.url)))
    assert set(found) >= {
        "redis",
        "redis-password",
        "redis-persistence",
        "redis-eviction",
        "clock-redis",
        "slot-keeper",
    }
    assert Verdict.FAIL not in found.values()


async def test_sabotage_redis_is_down() -> None:
    assert set(faults(await check_redis(redis_settings(f"redis://:x@127.0.0.1:{free_port()}/0")))) == {"redis"}


async def test_sabotage_redis_has_another_password(redis_server: RedisServer) -> None:
    wrong = redis_settings(f"redis://:wrong@127.0.0.1:{redis_server.port}/0")
    assert faults(await check_redis(wrong)) == {"redis": "Redis refuses our password."}


@pytest.fixture
async def sabotaged_redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """The session's Redis, whose options are put back afterwards."""
    async with Redis.from_url(redis_server.url) as client:
        yield client
        for option, value in (
            ("appendonly", "yes"),
            ("maxmemory-policy", "noeviction"),
            ("requirepass", redis_server.password),
        ):
            await client.config_set(option, value)


@pytest.mark.parametrize(
    ("option", "value", "check"),
    [
        ("appendonly", "no", "redis-persistence"),
        ("maxmemory-policy", "allkeys-lru", "redis-eviction"),
        ("requirepass", "", "redis-password"),
    ],
)
async def test_sabotage_an_option_of_redis(
    redis_server: RedisServer, sabotaged_redis: Redis, option: str, value: str, check: str
) -> None:
    await sabotaged_redis.config_set(option, value)
    assert set(faults(await check_redis(redis_settings(redis_server.url)))) == {check}


# --- Prefect ---


async def test_sabotage_prefect_is_down() -> None:
    away = PrefectSettings(url=f"{closed_address()}/api")
    assert set(faults(await check_prefect(away, Environment.PRODUCTION))) == {"prefect"}


async def test_sabotage_something_else_answers_in_place_of_prefect(redis_server: RedisServer) -> None:
    wrong = PrefectSettings(url=f"http://127.0.0.1:{redis_server.port}/api")
    assert set(faults(await check_prefect(wrong, Environment.PRODUCTION))) == {"prefect"}


async def test_sabotage_prefect_serves_anybody(prefect_server: PrefectServer) -> None:
    settings = PrefectSettings(url=prefect_server.api_url)
    assert set(faults(await check_prefect(settings, Environment.PRODUCTION))) == {"prefect-auth"}
    at_home = verdicts(await check_prefect(settings, Environment.DEVELOPMENT))
    assert at_home["prefect-auth"] is Verdict.WARN
    assert at_home["prefect-leases"] is at_home["prefect-version"] is Verdict.OK
    await require_durable_leases(settings)


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[PrefectServer]:
    """A Prefect server that asks for credentials, and keeps leases in its own memory."""
    with prefect_running(
        tmp_path_factory.mktemp("forgetful"),
        redis_server,
        PREFECT_SERVER_API_AUTH_STRING=AUTH,
        PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE="prefect.server.concurrency.lease_storage.memory",
        PREFECT_REDIS_MESSAGING_DB="9",
    ) as server:
        yield server


async def test_sabotage_leases_do_not_outlive_the_server(forgetful: PrefectServer) -> None:
    settings = PrefectSettings(url=forgetful.api_url, auth_string=SecretStr(AUTH))
    found = await check_prefect(settings, Environment.PRODUCTION)
    assert set(faults(found)) == {"prefect-leases"}
    assert verdicts(found)["prefect-auth"] is Verdict.OK
    assert verdicts(found)["workers"] is Verdict.WARN
    with pytest.raises(ConfigurationError, match="PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"):
        await require_durable_leases(settings)


async def test_sabotage_prefect_has_other_credentials(forgetful: PrefectServer) -> None:
    wrong = PrefectSettings(url=forgetful.api_url, auth_string=SecretStr("admin:another"))
    assert faults(await check_prefect(wrong, Environment.PRODUCTION)) == {
        "prefect-auth": "Prefect refuses our credentials."
    }


def test_sabotage_a_server_of_another_version() -> None:
    assert judge_version("3.4.1").verdict is Verdict.FAIL
    assert judge_version("3.8.2").verdict is Verdict.WARN


@pytest.fixture
async def deployed(prefect_server: PrefectServer, redis_server: RedisServer, tmp_path: Path) -> Settings:
    settings = settings_for(
        prefect_url=prefect_server.api_url,
        redis_url=redis_server.url,
        directory=tmp_path,
        comfyui=ComfyUISettings(url="http://127.0.0.1:8188"),
    )
    await deploy(settings)
    assert faults(await check_deployment(settings)) == {}
    return settings


async def test_sabotage_a_work_queue_is_missing(deployed: Settings) -> None:
    async with prefect_client(deployed.prefect.url) as prefect:
        (await prefect.delete(f"/work_pools/{names.WORK_POOL}/queues/premium")).raise_for_status()
    found = faults(await check_deployment(deployed))
    assert found == {"deployment": f"The work queue {names.WORK_POOL}/premium is missing."}


async def test_sabotage_a_setting_was_changed_and_not_deployed(deployed: Settings) -> None:
    moved = deployed.model_copy(update={"comfyui": ComfyUISettings(url="http://127.0.0.1:9999")})
    found = faults(await check_deployment(moved))
    assert found == {"deployment": "The block tabario-comfyui/tabario differs from the settings."}


async def test_sabotage_a_users_limit_is_switched_off(prefect_server: PrefectServer) -> None:
    settings = PrefectSettings(url=prefect_server.api_url)
    body = {"name": names.slot_limit("00000000-0000-0000-0000-00000000abcd"), "limit": 1, "active": False}
    async with prefect_client(settings.url) as prefect:
        made = (await prefect.post("/v2/concurrency_limits/", json=body)).raise_for_status().json()
        try:
            assert set(faults(await check_slot_limits(settings, SlotSettings()))) == {"slot-limits"}
        finally:
            await prefect.delete(f"/v2/concurrency_limits/{made['id']}")


# --- what makes the film ---


async def test_sabotage_comfyui_is_down() -> None:
    assert set(faults(await check_comfyui(ComfyUISettings(url=closed_address())))) == {"comfyui"}


async def test_comfyui_has_what_the_styles_need_until_a_model_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = load_workflow("text2image")
    with comfyui_running(tmp_path) as server:
        settings = ComfyUISettings(url=server.url)
        assert verdicts(await check_comfyui(settings)) == {"comfyui": Verdict.OK, "comfyui-workflows": Verdict.OK}
        checkpoint = next(node for node in workflow.nodes.values() if "ckpt_name" in node["inputs"])
        monkeypatch.setitem(checkpoint["inputs"], "ckpt_name", "not-installed.safetensors")
        found = faults(await check_comfyui(settings))
    assert set(found) == {"comfyui-workflows"}
    assert "not-installed.safetensors" in found["comfyui-workflows"]


async def test_each_of_several_comfyui_servers_is_looked_at(tmp_path: Path) -> None:
    with comfyui_running(tmp_path) as server:
        found = await check_comfyui(ComfyUISettings(url=f"{server.url},{closed_address()}"))
    assert verdicts(found) == {
        "comfyui-1": Verdict.OK,
        "comfyui-workflows-1": Verdict.OK,
        "comfyui-2": Verdict.FAIL,
    }


async def test_sabotage_servers_are_drained(redis_server: RedisServer, redis: Redis) -> None:
    settings, address = (
        ComfyUISettings(url="http://gpu-1:8188,http://gpu-2:8188"),
        redis_settings(f"{redis_server.url[:-1]}5"),
    )
    assert verdicts(await check_places(settings, address)) == {"comfyui-places": Verdict.OK}
    board = Board(redis, places=settings.places)
    await board.drain("gpu-1:8188")
    [one] = await check_places(settings, address)
    assert (one.verdict, "gpu-1:8188" in one.message) == (Verdict.WARN, True)
    await board.close("gpu-2:8188")
    found = faults(await check_places(settings, address))
    assert found == {
        "comfyui-places": "No server takes new pictures, and every job waits: "
        "gpu-1:8188 (it is drained), gpu-2:8188 (it failed)."
    }


async def test_sabotage_the_media_store_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("in the way")
    settings = MediaSettings(root=tmp_path / "media")
    found = await examine({"media-store": lambda: check_store(settings)})
    assert set(faults(found)) == {"media-store"}


async def test_a_media_store_that_works(tmp_path: Path) -> None:
    settings = MediaSettings(root=tmp_path / "media")
    assert verdicts(await check_store(settings)) == {"media-store": Verdict.OK}
    found = verdicts(await check_disk(settings, MetricsSettings.model_validate({"directory": tmp_path / "new"})))
    assert set(found) == {"disk-media", "disk-work", "disk-metrics"}


def test_sabotage_a_full_disk_and_a_wrong_clock() -> None:
    assert judge_space("media", 1_000_000).verdict is Verdict.FAIL
    assert judge_space("media", 5 * 2**30).verdict is Verdict.WARN
    assert judge_space("media", 500 * 2**30).verdict is Verdict.OK
    assert [judge_clock("redis", skew).verdict for skew in (0.1, -3, 20)] == [Verdict.OK, Verdict.WARN, Verdict.FAIL]


# --- users and the app ---


async def test_sabotage_no_token_can_be_honoured(deployed: Settings) -> None:
    found = await examine({"tokens": lambda: check_tokens(deployed)})
    assert set(faults(found)) == {"tokens"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupabaseProject]:
    with supabase_running(tmp_path_factory.mktemp("supabase")) as running:
        yield running


@pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))
async def test_sabotage_rights_in_supabase(project: SupabaseProject) -> None:
    settings = AuthSettings.model_validate({"supabase_url": project.url, "supabase_secret_key": SECRET_KEY})
    assert verdicts(await check_supabase(settings)) == {"supabase": Verdict.OK, "supabase-grants": Verdict.OK}

    project.database.execute("grant execute on function public.tier_of_user to anon")
    project.database.execute("grant update on public.subscriptions to authenticated")
    found = faults(await check_supabase(settings))

    assert set(found) == {"supabase-grants"}
    assert "anon may look up tiers" in found["supabase-grants"]
    assert "authenticated may write subscriptions" in found["supabase-grants"]


@pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))
async def test_sabotage_a_wrong_key_of_supabase(project: SupabaseProject) -> None:
    settings = AuthSettings.model_validate({"supabase_url": project.url, "supabase_secret_key": "sb_secret_wrong"})
    assert set(faults(await check_supabase(settings))) == {"supabase"}


async def test_sabotage_the_webhook_cannot_be_reached() -> None:
    def webhook(url: str) -> WebhookSettings:
        return WebhookSettings.model_validate({"url": url, "secret": SIGNING})

    with receiving() as app:
        assert verdicts(await check_webhook(webhook(app.url), Environment.DEVELOPMENT)) == {"webhook": Verdict.OK}
        assert app.requests == []
        inside = webhook(app.url.replace("http://", "https://"))
        assert "public internet" in faults(await check_webhook(inside, Environment.PRODUCTION))["webhook"]
    assert set(faults(await check_webhook(webhook(closed_address()), Environment.DEVELOPMENT))) == {"webhook"}
    assert verdicts(await check_webhook(WebhookSettings(), Environment.PRODUCTION)) == {"webhook": Verdict.WARN}


# --- the whole ---


async def test_a_check_that_hangs_or_breaks_does_not_hide_the_others() -> None:
    async def hang() -> Sequence[Finding]:
        await anyio.sleep_forever()
        raise AssertionError

    async def stumble() -> Sequence[Finding]:
        raise RetryLater("The part is away.")

    async def break_down() -> Sequence[Finding]:
        raise ZeroDivisionError

    async def pass_by() -> Sequence[Finding]:
        return [ok("well", "All is well.")]

    found = await examine({"slow": hang, "away": stumble, "broken": break_down, "well": pass_by}, seconds=0.2)
    assert verdicts(found) == {
        "slow": Verdict.FAIL,
        "away": Verdict.FAIL,
        "broken": Verdict.FAIL,
        "well": Verdict.OK,
    }


def test_sabotage_settings_are_missing_or_weak(tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TABARIO_STATE_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "tabario.cli", "doctor", "--json"]
    nothing = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert nothing.returncode == 1
    (finding,) = json.loads(nothing.stdout)
    assert finding["verdict"] == "fail"
    assert "`make up`" in finding["mend"]

    environment |= {"TABARIO_REDIS_URL": "redis://:short@127.0.0.1:1/0", "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (missing,) = json.loads(done.stdout)
    assert (missing["check"], missing["verdict"]) == ("settings", "fail")
    assert "TABARIO_COMFYUI_URL" in missing["message"]

    environment["TABARIO_COMFYUI_URL"] = "http://127.0.0.1:1"
    weak = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    messages = " ".join(finding["message"] for finding in json.loads(weak.stdout))
    assert "TABARIO_REDIS_PASSWORD" in messages
    assert "PREFECT_API_AUTH_STRING" in messages
    assert "short@" not in weak.stdout
