from __future__ import annotations

import asyncio

import pytest

from flows.images import all_or_first_error, graph_of, picture_key, prompt_id_of
from tabario.errors import ImageFailed
from tabario.scenes import Scene
from tests.support.jobs import new_job

SCENE = Scene(index=1, text="A fox.", image_prompt="a fox", start=0, end=3, seed=7)


def test_the_same_scene_of_two_jobs_has_the_same_picture() -> None:
    assert picture_key(new_job(), SCENE) == picture_key(new_job(), SCENE)


@pytest.mark.parametrize("change", [{"image_prompt": "an owl"}, {"seed": 8}])
def test_another_prompt_or_seed_is_another_picture(change: dict[str, object]) -> None:
    job = new_job()

    assert picture_key(job, SCENE.model_copy(update=change)) != picture_key(job, SCENE)


def test_another_size_or_style_is_another_picture() -> None:
    keys = {
        picture_key(job, SCENE)
        for job in (new_job(), new_job(image_width=512, image_height=512), new_job(image_style="crayon-drawing"))
    }

    assert len(keys) == 3


def test_a_second_attempt_has_its_own_prompt_and_graph() -> None:
    job = new_job()
    first, second = (graph_of(job, SCENE, attempt=attempt, filename_prefix="x") for attempt in (1, 2))

    assert prompt_id_of("key", 1) != prompt_id_of("key", 2)
    assert first.nodes != second.nodes


async def test_results_keep_the_order_of_the_items() -> None:
    gates = [asyncio.Event() for _ in range(3)]

    async def work(index: int) -> int:
        if index < 2:
            await gates[index + 1].wait()
        gates[index].set()
        return index

    assert await all_or_first_error(work, [0, 1, 2]) == (0, 1, 2)


async def test_the_first_error_stops_the_others() -> None:
    stopped = asyncio.Event()

    async def work(name: str) -> None:
        if name == "fails":
            raise ImageFailed("broken")
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    with pytest.raises(ImageFailed, match="broken"):
        await all_or_first_error(work, ["waits", "fails"])
    assert stopped.is_set()
