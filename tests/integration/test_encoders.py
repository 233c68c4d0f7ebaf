from __future__ import annotations

from tabario.clients.ffmpeg import FFmpeg
from tabario.film.encoders import SOFTWARE, Encoder, find_encoder
from tabario.settings import Quality

ABSENT = Encoder("h264_of_no_machine", ())
BROKEN = Encoder("libx264", ("-preset", "of no encoder"))
WORKING = Encoder("libx264", ("-preset", "ultrafast"))


async def test_the_first_encoder_that_encodes_is_chosen() -> None:
    chosen = await find_encoder(
        FFmpeg.find(), Quality.STANDARD, hardware=True, candidates=(ABSENT, BROKEN, WORKING, ABSENT)
    )
    assert chosen is WORKING


async def test_without_a_working_one_the_software_encodes_at_the_chosen_quality() -> None:
    chosen = await find_encoder(FFmpeg.find(), Quality.HIGH, hardware=True, candidates=(ABSENT, BROKEN))
    assert chosen is SOFTWARE[Quality.HIGH]


async def test_the_machines_own_encoder_is_left_alone_when_not_wanted() -> None:
    chosen = await find_encoder(FFmpeg.find(), Quality.DRAFT, hardware=False, candidates=(WORKING,))
    assert chosen is SOFTWARE[Quality.DRAFT]
