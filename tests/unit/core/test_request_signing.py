"""X-Matrix: what is signed, the header as we write it, and the headers of all kinds of servers as we read them."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from signedjson.key import decode_verify_key_base64
from signedjson.sign import verify_signed_json

from matrixd.core import canonical_json
from matrixd.core.request_signing import (
    RequestSignature,
    authorization,
    authorization_value,
    is_request_signature,
    parse_authorization,
    signed_bytes,
    signed_request,
)
from matrixd.core.signing import SigningKey, signable_bytes, with_signature

KEY = SigningKey.from_seed("key1", b"\x01" * 32)
OTHER = SigningKey.from_seed("key1", b"\x02" * 32)
ORIGIN, DESTINATION = "origin.hs.example.com", "destination.hs.example.com"
#: The object of step 1 in the specification.
SPECIFIED = {
    "method": "POST",
    "uri": "/target",
    "origin": ORIGIN,
    "destination": DESTINATION,
    "content": {"b": 1, "a": "é"},
}


def test_the_signed_object_is_the_specified_one() -> None:
    request = signed_request("POST", "/target", ORIGIN, DESTINATION, SPECIFIED["content"])
    assert request == SPECIFIED
    body = canonical_json.encode(SPECIFIED["content"])
    assert signed_bytes("POST", "/target", ORIGIN, DESTINATION, body) == signable_bytes(SPECIFIED)
    assert "content" not in signed_request("GET", "/target", ORIGIN, DESTINATION)
    assert "destination" not in signed_request("GET", "/target", ORIGIN, None)
    assert signed_bytes("GET", "/a", ORIGIN, None, None) == signable_bytes(
        {"method": "GET", "uri": "/a", "origin": ORIGIN}
    )


def test_the_header_is_the_specified_one_and_the_library_accepts_its_signature() -> None:
    body = canonical_json.encode(SPECIFIED["content"])
    header = authorization("POST", "/target", ORIGIN, DESTINATION, KEY, body)
    found = parse_authorization(header)
    assert header == (
        f'X-Matrix origin="{ORIGIN}",destination="{DESTINATION}",key="ed25519:key1",sig="{found.signature}"'.encode()
    )
    library_key = decode_verify_key_base64("ed25519", "key1", KEY.verify_key.to_base64())
    verify_signed_json(with_signature(SPECIFIED, ORIGIN, KEY.key_id, found.signature), ORIGIN, library_key)


@pytest.mark.parametrize(
    "value",
    [
        'X-Matrix origin="a.example",destination="b.example",key="ed25519:key1",sig="AB/C"',
        "X-Matrix origin=a.example,destination=b.example,key=ed25519:key1,sig=AB/C",
        'x-matrix   key="ed25519:key1" ,\tsig="AB/C" , ORIGIN=a.example,Destination=b.example',
        'X-Matrix origin="a.ex\\ample",destination="b.example",key="ed25519\\:key1",sig="AB/C"',
        'X-Matrix extra="a,b=\\"c",origin=a.example,,key=ed25519:key1,destination="b.example",'
        "sig=AB/C,sort=1,",
        ' X-MATRIX\torigin = "a.example", destination ="b.example",key= ed25519:key1,signature=AB/C',
    ],
)
def test_headers_of_all_kinds_of_servers_are_read(value: str) -> None:
    assert parse_authorization(value.encode()) == RequestSignature("a.example", "b.example", "ed25519:key1", "AB/C")


def test_servers_with_ports_and_literals_need_no_quotes() -> None:
    found = parse_authorization(b"X-Matrix origin=[2001:db8::1]:8448,key=ed25519:a,sig=x")
    assert (found.origin, found.destination) == ("[2001:db8::1]:8448", None)
    assert parse_authorization(b"X-Matrix origin=localhost:8448,key=ed25519:a,sig=x").origin == "localhost:8448"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "scheme"),
        (b"Bearer abc", "scheme"),
        (b"X-Matrixx origin=a,key=ed25519:a,sig=x", "scheme"),
        (b"X-Matrix", "'origin' is missing"),
        (b"X-Matrix key=ed25519:a,sig=x", "'origin' is missing"),
        (b"X-Matrix origin=a,sig=x", "'key' is missing"),
        (b"X-Matrix origin=a,key=ed25519:a", "'sig' is missing"),
        (b"X-Matrix origin=a,origin=b,key=ed25519:a,sig=x", "'origin' is there twice"),
        (b"X-Matrix origin=a_b,key=ed25519:a,sig=x", "'origin' is not a server name"),
        (b"X-Matrix origin=\xff,key=ed25519:a,sig=x", "'origin' is not a server name"),
        (b"X-Matrix origin=a,key=ed25519,sig=x", "'key' is not the ID of a key"),
        (b'X-Matrix origin="a,key=ed25519:a,sig=x', "name=value"),
        (b'X-Matrix origin="a"b,key=ed25519:a,sig=x', "name=value"),
        (b"X-Matrix origin=a b,key=ed25519:a,sig=x", "name=value"),
        (b"X-Matrix origin,key=ed25519:a,sig=x", "name=value"),
        (b'X-Matrix origin="a\\', "name=value"),
        (b"X-Matrix " + b" " * 16_000 + b"=", "name=value"),
        (b'X-Matrix a="' + b"\\" * 16_000, "name=value"),
    ],
)
def test_what_cannot_be_read_is_said(value: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_authorization(value)


def test_other_schemes_are_recognised() -> None:
    assert is_request_signature(b"x-MATRIX origin=a")
    assert not is_request_signature(b"Basic Zm9vOmJhcg==")
    assert not is_request_signature(b"")


_names = st.from_regex(r"[a-z0-9.-]{1,40}(:[0-9]{1,5})?", fullmatch=True)


@settings(max_examples=100)
@given(
    origin=_names,
    destination=st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40),
    key=st.from_regex(r"ed25519:[0-9A-Za-z_]{1,20}", fullmatch=True),
    signature=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)
def test_what_is_written_is_read(origin: str, destination: str | None, key: str, signature: str) -> None:
    written = RequestSignature(origin, destination, key, signature)
    assert parse_authorization(authorization_value(written)) == written


@settings(max_examples=200)
@given(st.binary(max_size=60) | st.text('abkeyorigns="\\,: \t', max_size=60).map(str.encode))
def test_no_header_does_harm(rest: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert parse_authorization(b"X-Matrix " + rest).origin


def _signature(body: bytes | None, uri: str = "/x?a=1") -> RequestSignature:
    return parse_authorization(authorization("PUT", uri, ORIGIN, DESTINATION, KEY, body))


@pytest.mark.parametrize(
    "content",
    [{}, {"b": [1, 2], "a": "ü"}, {"a": 10**30}, {"a": 1.5e300, "b": -0.0}, {"a": 2**53}, [], "text"],
)
def test_a_request_fits_its_signature_however_its_body_is_written(content: object) -> None:
    canonical = canonical_json.encode(content)
    signature = _signature(canonical)
    assert signature.fits("PUT", "/x?a=1", canonical, KEY.verify_key)
    assert signature.fits("PUT", "/x?a=1", json.dumps(content, indent=1).encode(), KEY.verify_key)
    assert signature.fits("PUT", "/x?a=1", json.dumps(content, ensure_ascii=False).encode(), KEY.verify_key)


def test_another_request_does_not_fit() -> None:
    body = b'{"a":1}'
    signature = _signature(body)
    assert signature.fits("PUT", "/x?a=1", body, KEY.verify_key)
    assert not signature.fits("POST", "/x?a=1", body, KEY.verify_key)
    assert not signature.fits("PUT", "/x?a=2", body, KEY.verify_key)
    assert not signature.fits("PUT", "/x", body, KEY.verify_key)
    assert not signature.fits("PUT", "/x?a=1", b'{"a":2}', KEY.verify_key)
    assert not signature.fits("PUT", "/x?a=1", b'{ "a": 2}', KEY.verify_key)
    assert not signature.fits("PUT", "/x?a=1", b"", KEY.verify_key)
    assert not signature.fits("PUT", "/x?a=1", body, OTHER.verify_key)
    assert not _signature(None).fits("PUT", "/x?a=1", b"{}", KEY.verify_key)
    assert _signature(None).fits("PUT", "/x?a=1", b"", KEY.verify_key)


def test_a_body_that_is_no_json_is_said() -> None:
    with pytest.raises(ValueError, match="char"):
        _signature(None).fits("PUT", "/x?a=1", b"{", KEY.verify_key)
