from __future__ import annotations

import base64
import io

from PIL import Image

from flows.artifacts import GALLERY_HEADING, gallery_row, plain, thumbnail
from tabario.scenes import Scene, ScenePicture


def test_a_thumbnail_is_a_small_picture_in_a_data_uri() -> None:
    buffer = io.BytesIO()
    Image.effect_noise((720, 1280), 80).convert("RGB").save(buffer, "PNG")

    uri = thumbnail(buffer.getvalue())

    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        assert image.size == (90, 160)
    assert len(uri) < 15_000


def test_the_words_of_a_script_cannot_become_markup() -> None:
    shown = plain("[here](javascript:x) | <img src=x>\n# *bold*")

    assert shown == r"\[here\]\(javascript:x\) \| \<img src=x\> \# \*bold\*"


def test_a_row_has_a_cell_for_each_heading() -> None:
    scene = Scene(index=2, text="a | b", image_prompt="c", start=0, end=4.5, seed=1)
    picture = ScenePicture(index=2, image_key="k", width=8, height=8, cached=False, seconds=1.25)

    row = gallery_row(scene, picture, "data:image/jpeg;base64,AAAA")

    assert row == r"| 2 | ![scene 2](data:image/jpeg;base64,AAAA) | a \| b | c | 0.0 to 4.5 s | 1.2 s |"
    assert row.replace(r"\|", "").count("|") == GALLERY_HEADING[0].count("|")
