from __future__ import annotations

import re
from html import unescape
from itertools import pairwise
from pathlib import Path

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabario.film.burning import Typesetting, write_ass
from tabario.film.fonts import Fonts
from tabario.film.subtitles import MAX_CHARACTERS, MAX_WORDS, group_words, plain_text, srt_text, vtt_text
from tabario.formats import FrameSize
from tabario.scenes import Word
from tabario.styles.subtitles import DEFAULT_SUBTITLE_STYLE, SUBTITLE_STYLES
from tests.support.films import speak_evenly

SETTING = Typesetting(Fonts(), SUBTITLE_STYLES[DEFAULT_SUBTITLE_STYLE], "en")
PORTRAIT = FrameSize(720, 1280)
HOSTILE = r"{\b1}{\p1}m 0 0 l 9 9{\p0} \N \h {\pos(0,0)} Dialogue: 0,0:00:00.00,0:00:09.00"
OVERRIDES_PER_EVENT = 3  # the size, the highlight and its end

texts = st.text(st.characters() | st.sampled_from("{}\\\n\r,;<>&\u2028\u202e\U0001f419"), max_size=30)


def in_roboto(text: str) -> str:
    lacking = SETTING.fonts.latin.lacks(text)
    return "".join(char for char in text if char not in lacking)


def events(words: list[Word], path: Path, frame: FrameSize = PORTRAIT) -> list[pysubs2.SSAEvent]:
    write_ass(words, frame, SETTING, path)
    return pysubs2.SSAFile.load(str(path)).events


@given(st.lists(texts, min_size=1, max_size=8))
def test_no_text_adds_events_or_overrides(tmp_path_factory: pytest.TempPathFactory, spoken: list[str]) -> None:
    spoken = [in_roboto(text) for text in spoken]
    path = tmp_path_factory.getbasetemp() / "fuzzed.ass"
    words = speak_evenly(spoken, 4.0)
    found = events(words, path)
    assert len(found) == sum(bool(plain_text(text)) for text in spoken)
    for event in found:
        assert event.text.count("{") == event.text.count("}") == OVERRIDES_PER_EVENT
        assert re.sub(r"\{[^}]*\}", "", event.text).count("\\") == 0


@given(texts)
def test_plain_text_is_one_line_without_syntax(text: str) -> None:
    plain = plain_text(text)
    assert not set(plain) & set("{}\\\n\r\x00\x85\u2028\u2029\u202e")
    assert plain == plain_text(plain)


def test_hostile_words_stay_readable() -> None:
    assert plain_text(HOSTILE).startswith("(/b1)(/p1)m 0 0 l 9 9")


def test_pictograms_are_left_out_and_words_that_were_only_pictograms_vanish(tmp_path: Path) -> None:
    found = events(speak_evenly(["Look", "👩\u200d🚀", "up!🌙"], 3.0), tmp_path / "words.ass")
    assert ["🌙" in event.text for event in found] == [False, False]


@given(st.lists(st.from_regex(r"[a-z]{1,9}[.,]?", fullmatch=True), min_size=1, max_size=40))
def test_cues_are_short_and_keep_every_word_in_order(spoken: list[str]) -> None:
    cues = group_words(speak_evenly(spoken, len(spoken) * 0.3))
    assert [word.text for cue in cues for word in cue.words] == spoken
    assert all(len(cue.words) <= MAX_WORDS and len(cue.text) <= MAX_CHARACTERS for cue in cues)
    assert all(before.end <= after.start for before, after in pairwise(cues))


def test_a_sentence_ends_its_cue() -> None:
    cues = group_words(speak_evenly(["It", 'rains."', "So", "what?"], 2.0))
    assert [cue.text for cue in cues] == ['It rains."', "So what?"]


def test_a_pause_ends_its_cue_and_the_text_goes_soon_after() -> None:
    words = [Word(text="Wait", start=0, end=0.5), Word(text="here", start=3, end=3.5)]
    first, second = group_words(words)
    assert (first.text, second.text) == ("Wait", "here")
    assert first.end == pytest.approx(0.9)


def test_events_of_a_cue_follow_without_gap_or_overlap(tmp_path: Path) -> None:
    words = [Word(text=f"w{i}", start=i * 0.3333, end=i * 0.3333 + 0.3) for i in range(12)]
    found = events(words, tmp_path / "words.ass")
    assert all(before.end == after.start for before, after in pairwise(found))


def test_each_event_colours_its_own_word(tmp_path: Path) -> None:
    found = events(speak_evenly(["one", "two", "three"], 3.0), tmp_path / "words.ass")
    assert [re.findall(r"\{\\c&[^}]*\}(\w+)\{\\c\}", event.text) for event in found] == [["one"], ["two"], ["three"]]


def test_a_word_too_long_for_the_line_is_set_smaller(tmp_path: Path) -> None:
    long, short = events(speak_evenly(["Donaudampfschifffahrtsgesellschaft.", "ahoy"], 2.0), tmp_path / "words.ass")
    sizes = [int(re.findall(r"\\fs(\d+)", event.text)[0]) for event in (long, short)]
    assert sizes[0] < sizes[1] == 64


def test_an_address_is_shown_in_pieces_that_are_large_enough_to_read() -> None:
    address = "https://example.org/" + "a-long-path/" * 5
    spoken = speak_evenly(["See", address, "now"], 6.0)
    cues = group_words(spoken)
    assert "".join(word.text for cue in cues for word in cue.words) == f"See{address}now"
    assert all(len(cue.text) <= MAX_CHARACTERS for cue in cues)
    assert all(before.end <= after.start for before, after in pairwise(cues))
    assert cues[-1].words[-1].end == spoken[-1].end


@pytest.mark.parametrize("frame", [FrameSize(480, 854), FrameSize(720, 1280), FrameSize(1080, 1920)])
def test_portrait_text_keeps_clear_of_the_platforms_controls(tmp_path: Path, frame: FrameSize) -> None:
    write_ass(speak_evenly(["a"], 1.0), frame, SETTING, tmp_path / "words.ass")
    (style,) = pysubs2.SSAFile.load(str(tmp_path / "words.ass")).styles.values()
    assert style.marginv >= 0.35 * frame.height
    assert style.marginr >= 0.17 * frame.width


@pytest.mark.parametrize("name", SUBTITLE_STYLES)
def test_every_style_is_set_as_it_says(tmp_path: Path, name: str) -> None:
    style = SUBTITLE_STYLES[name]
    write_ass(speak_evenly(["Low", "tide"], 2.0), PORTRAIT, Typesetting(Fonts(), style, "en"), tmp_path / "words.ass")
    script = pysubs2.SSAFile.load(str(tmp_path / "words.ass"))
    (setting,) = script.styles.values()
    assert (setting.borderstyle == 4) == style.box  # libass's box behind the whole text
    shown = " ".join(re.sub(r"\{[^}]*\}", "", event.text) for event in script.events)
    assert ("LOW" in shown, "Low" in shown) == (style.capitals, not style.capitals)
    words_at_once = max(len(re.sub(r"\{[^}]*\}", "", event.text).split()) for event in script.events)
    assert words_at_once == min(2, style.words)


def test_srt_and_vtt_carry_the_words_without_markup() -> None:
    words = speak_evenly(["<b>Tom", "&", "{i}Jerry"], 3.0)
    srt, vtt = srt_text(words, film_seconds=3.2), vtt_text(words, film_seconds=3.2)
    assert srt.splitlines()[:3] == ["1", "00:00:00,000 --> 00:00:03,200", "\u2039b\u203aTom & (i)Jerry"]
    assert vtt.startswith("WEBVTT")
    assert "00:00:00.000 --> 00:00:03.200" in vtt
    assert "&lt;b&gt;Tom &amp; (i)Jerry" in vtt


@given(st.lists(texts, min_size=1, max_size=4))
def test_a_player_shows_the_words_of_both_files_as_they_are(spoken: list[str]) -> None:
    words = speak_evenly([*spoken, "R&D", "wins", "AT&amp;T", "2<3"], 8.0)
    shown = [cue.text for cue in group_words(words)]
    srt, vtt = (text(words, film_seconds=9.0) for text in (srt_text, vtt_text))
    assert shown_lines(srt) == [line.replace("<", "\u2039").replace(">", "\u203a") for line in shown]
    assert [unescape(line) for line in shown_lines(vtt)] == shown
    assert all(
        "<" not in line and "&" not in line.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        for line in shown_lines(vtt)
    )


def shown_lines(file: str) -> list[str]:
    """The text of each cue, one line each."""
    return [block.split("\n", 2)[-1] for block in file.strip().split("\n\n") if "-->" in block]
