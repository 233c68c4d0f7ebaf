"""What a URL must look like before anything is sent to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

MAX_URL_LENGTH: Final = 2_048


@dataclass(frozen=True, slots=True)
class AddressRules:
    """`plain_http` also allows http, `private` also the hosts that only we can reach, loopback included."""

    plain_http: bool = False
    private: bool = False

    def check_url(self, url: str) -> None:
        """Raises ValueError that says what is wrong with the URL, without repeating it."""
        if len(url) > MAX_URL_LENGTH or not url.isascii() or any(character <= " " for character in url):
            raise ValueError("it is too long, or holds spaces or characters outside ASCII")
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError("it is not a URL") from None
        if parts.scheme != "https" and not (self.plain_http and parts.scheme == "http"):
            raise ValueError("it must begin with https://")
        if not host:
            raise ValueError("it names no host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("it must not hold a user or a password")
        if parts.fragment:
            raise ValueError("it must not hold a fragment (#)")
