"""Pictures on which not every motion is seen: the film moves all the same, and passes its gate."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tabario.film.encoding import STRETCHES
from tabario.film.motion import Motion, choose_motion
from tabario.film.movement import choose_movement, choose_movements
from tabario.film.stills import Still, look_of
from tabario.film.stretches import Fault, Stretch, read_stretches
from tabario.formats import FrameSize
from tests.support.making import FRAME, make_film

LENGTH = 105  # frames
SHORT, LONG = 0.6, LENGTH / 30  # seconds


def sea() -> Image.Image:
    """A sky that is the same in every column, a flat sea, and a small boat."""
    picture = Image.new("RGB", FRAME, (20, 70, 110))
    draw = ImageDraw.Draw(picture)
    for y in range(FRAME.height // 2):
        shade = y * 120 // (FRAME.height // 2)
        draw.line((0, y, FRAME.width, y), fill=(90 + shade, 140 + shade // 2, 230))
    draw.polygon(((220, 640), (260, 640), (240, 600)), fill=(240, 240, 240))
    return picture


def wall() -> Image.Image:
    """Leaves over the top sixteenth of a plain wall."""
    picture = Image.new("RGB", FRAME, (200, 190, 170))
    chance = random.Random(3)  # noqa: S311 - a picture
    draw = ImageDraw.Draw(picture)
    for _ in range(400):
        x, y = chance.randrange(FRAME.width), chance.randrange(FRAME.height // 16 - 8)
        draw.ellipse((x, y, x + 12, y + 8), fill=(20, chance.randrange(60, 160), 30))
    return picture


def leaves() -> Image.Image:
    """Something on which every motion is seen."""
    return Image.effect_noise(FRAME, 90).convert("RGB")


PICTURES = {"sea": sea, "wall": wall}


async def film_with(directory: Path, picture: Image.Image, *, place: int) -> list[Stretch]:
    """The stretches of a film whose scene at that place, from 0, has this picture; all others are short."""
    seconds = [LONG if index == place else SHORT for index in range(place + 1)]
    stills: list[Still] = []
    for index, length in enumerate(seconds):
        path = directory / f"{index}.png"
        (picture if index == place else leaves()).save(path)
        start = stills[-1].end if stills else 0.0
        stills.append(Still(path, start, start + length))
    await make_film(directory, stills=stills, duration=sum(seconds), words=[])
    return read_stretches(directory / "work" / STRETCHES, sum(seconds))


@pytest.mark.parametrize(("name", "place"), [("sea", 2), ("wall", 2), ("wall", 4)])
async def test_a_picture_that_some_motion_leaves_still_is_seen_to_move(tmp_path: Path, name: str, place: int) -> None:
    stretches = await film_with(tmp_path, PICTURES[name](), place=place)
    assert [stretch for stretch in stretches if stretch.fault is Fault.FROZEN] == []


@pytest.mark.parametrize("motion", [Motion.PAN_RIGHT, Motion.PAN_LEFT])
def test_a_sky_that_is_the_same_in_every_column_is_still_under_a_horizontal_pan(motion: Motion) -> None:
    assert Fault.FROZEN in choose_movement(look_of(sea()), [motion], FRAME, length=LENGTH).excuses


def test_a_picture_on_which_every_motion_is_seen_moves_by_its_place_and_excuses_nothing() -> None:
    movements = choose_movements([(look_of(leaves()), LENGTH)] * 8, FRAME)
    assert [movement.motion for movement in movements] == [choose_motion(index) for index in range(8)]
    assert all(movement.excuses == frozenset() for movement in movements)


def test_scenes_of_one_picture_move_differently_as_long_as_it_can_be_seen() -> None:
    motions = [movement.motion for movement in choose_movements([(look_of(sea()), LENGTH)] * 8, FRAME)]
    assert all(one is not other for one, other in pairwise(motions))
    assert not {Motion.PAN_RIGHT, Motion.PAN_LEFT} & set(motions)


@pytest.mark.parametrize("length", [1, 9, LENGTH, 700])
def test_a_plain_picture_excuses_that_it_is_still_and_a_dark_one_that_it_is_black(length: int) -> None:
    fog, night = Image.new("RGB", FRAME, (190, 190, 200)), Image.new("RGB", FRAME, (3, 3, 8))
    night.paste((250, 240, 180), (200, 700, 260, 760))
    excused = [
        movement.excuses for movement in choose_movements([(look_of(fog), length), (look_of(night), length)], FRAME)
    ]
    assert excused == [{Fault.FROZEN}, {Fault.FROZEN, Fault.BLACK}]


def test_a_picture_whose_light_is_left_behind_may_turn_dark() -> None:
    lamps = Image.new("RGB", FRAME, (3, 3, 8))
    lamps.paste(leaves().crop((0, 0, FRAME.width, 50)), (0, 0))
    assert choose_movement(look_of(lamps), [Motion.ZOOM_IN], FRAME, length=LENGTH).excuses >= {Fault.BLACK}
    assert choose_movement(look_of(lamps), [Motion.PAN_RIGHT], FRAME, length=15).excuses == frozenset()


@pytest.mark.parametrize("frame", [FrameSize(854, 480), FrameSize(480, 480)])
def test_a_long_scene_is_watched_until_it_repeats_itself(frame: FrameSize) -> None:
    movement = choose_movement(look_of(leaves()), [Motion.ZOOM_OUT], frame, length=5400)
    assert movement.excuses == frozenset()
