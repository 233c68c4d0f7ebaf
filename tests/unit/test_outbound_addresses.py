from __future__ import annotations

import pytest

from tabario.clients.outbound import AddressRules, is_public

PUBLIC = [
    "8.8.8.8",
    "93.184.216.34",
    "2606:2800:220:1:248:1893:25c8:1946",
    "::ffff:8.8.8.8",  # mapped
    "64:ff9b::808:808",  # NAT64
    "2002:808:808::1",  # 6to4
]
NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",  # carrier-grade NAT
    "100.127.255.255",
    "169.254.169.254",  # metadata of cloud machines
    "192.0.0.8",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # IPv4-compatible
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:100.64.0.1",
    "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",  # NAT64 with a prefix for local use
    "2002:7f00:1::1",  # 6to4 of 127.0.0.1
    "2002:c0a8:101::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo of 192.0.2.45
    "fd00:ec2::254",  # metadata of cloud machines
    "fc00::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "2001:db8::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_on_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_leads_elsewhere_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://app.example/hook", "https"),
        ("ftp://app.example/hook", "https"),
        ("file:///etc/passwd", "https"),
        ("//app.example/hook", "https"),
        ("https:///hook", "host"),
        ("https://user:pass@app.example/hook", "user"),
        ("https://@app.example/hook", "user"),
        ("https://app.example/hook#part", "fragment"),
        ("https://app.example:99999/hook", "URL"),
        ("https://[::1/hook", "URL"),
        ("https://app.example/a b", "spaces"),
        ("https://app.example/\r\nHost: other", "spaces"),
        ("https://äpp.example/hook", "ASCII"),
        ("https://app.example/" + "x" * 3000, "long"),
    ],
)
def test_a_url_against_the_rules_is_named_by_its_fault(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        AddressRules().check_url(url)


def test_a_plain_url_of_the_internet_keeps_the_rules() -> None:
    AddressRules().check_url("https://app.example:8443/hook?key=1")
    AddressRules(plain_http=True).check_url("http://app.example/hook")
