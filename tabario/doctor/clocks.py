"""Whether the clocks agree: tokens, leases and signatures are dated."""

from __future__ import annotations

from typing import Final

from tabario.doctor.findings import Finding, fail, ok, warn

UNEASY_SECONDS: Final = 2.0
WRONG_SECONDS: Final = 8.0  # tokens are given 10 s of leeway


def judge_clock(whose: str, skew: float) -> Finding:
    """A finding about a clock that is `skew` seconds ahead of ours."""
    direction = "ahead of" if skew > 0 else "behind"
    check, text = f"clock-{whose}", f"The clock of {whose} is {abs(skew):.1f} s {direction} ours."
    if abs(skew) > WRONG_SECONDS:
        return fail(check, text, "Let NTP set the clocks of all hosts.")
    if abs(skew) > UNEASY_SECONDS:
        return warn(check, text, "Let NTP set the clocks of all hosts.")
    return ok(check, text)
