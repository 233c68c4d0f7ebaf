"""Slots: how many jobs a user runs at once, claimed, kept and released."""
