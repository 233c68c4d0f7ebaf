"""Arguments of the commands that measure."""

from __future__ import annotations

import argparse


def positive(text: str) -> float:
    """A number above 0, for `type=`."""
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def at_least_one(text: str) -> int:
    """A whole number above 0, for `type=`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number
