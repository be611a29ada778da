"""Messages of STUN, with the test vectors of RFC 5769, which RFC 8489 points to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrixd.net import stun
from matrixd.net.stun import Attribute, Credentials, Endpoint, Kind, Method, NotStun

# RFC 5769, section 2.2
IPV4_ANSWER = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
# section 2.3
IPV6_ANSWER = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9faa5d3f179"
    "bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
SHORT_TERM_PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
# section 2.4: long-term credentials
LONG_TERM_REQUEST = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b9000000150"
    "01c662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b6578616d706c652e6f72670000080014f67024656dd64a3e"
    "02b8e0712e85c9a28ca89666"
)
LONG_TERM = Credentials("マトリックス", "example.org", b"f//499k954d6OL34oL9FSTvy64sA", "TheMatrIX")


@pytest.mark.parametrize(
    ("data", "endpoint"),
    [
        (IPV4_ANSWER, Endpoint("192.0.2.1", 32853)),
        (IPV6_ANSWER, Endpoint("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    ],
)
def test_the_answers_of_the_rfc(data: bytes, endpoint: Endpoint) -> None:
    message = stun.decode(data)
    assert (message.method, message.kind) == (Method.BINDING, Kind.SUCCESS)
    assert message.mapped == endpoint
    assert message.text(Attribute.SOFTWARE) == "test vector"
    assert message.fits(SHORT_TERM_PASSWORD)
    assert not message.fits(b"another")


def test_the_long_term_credentials_of_the_rfc() -> None:
    message = stun.decode(LONG_TERM_REQUEST)
    assert message.text(Attribute.USERNAME) == LONG_TERM.username
    assert message.attributes[Attribute.NONCE] == LONG_TERM.nonce
    assert message.fits(LONG_TERM.key)


def test_a_request_is_read_again_and_proves_who_made_it() -> None:
    made = stun.request(Method.ALLOCATE, b"t" * 12, LONG_TERM, lifetime=600)
    message = stun.decode(made)
    assert (message.method, message.kind, message.transaction_id) == (Method.ALLOCATE, Kind.REQUEST, b"t" * 12)
    assert message.attributes[Attribute.REQUESTED_TRANSPORT] == b"\x11\0\0\0"
    assert message.lifetime_s == 600
    assert message.fits(LONG_TERM.key)
    assert "TheMatrIX" not in repr(LONG_TERM)


def test_an_error_has_a_code_and_a_reason() -> None:
    made = stun.encode(3, Kind.ERROR, b"t" * 12, [(Attribute.ERROR_CODE, b"\0\0\x04\x01Unauthorized")])
    assert stun.decode(made).error == (401, "Unauthorized")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 400 Bad Request",
        IPV4_ANSWER[:-1],
        IPV4_ANSWER[:-1] + b"\0",  # the fingerprint
        IPV4_ANSWER[:4] + b"\0" + IPV4_ANSWER[5:],
        stun.encode(1, Kind.SUCCESS, b"t" * 12, [])[:20] + b"\x80\x28\0\x09abcd",
    ],
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(NotStun):
        stun.decode(data)


@pytest.mark.parametrize(
    ("attribute", "value", "name"),
    [
        (Attribute.ERROR_CODE, b"\0", "error"),
        (Attribute.LIFETIME, b"\0", "lifetime_s"),
        (Attribute.XOR_RELAYED_ADDRESS, b"\0\x01\0\0", "relayed"),
        (Attribute.XOR_MAPPED_ADDRESS, b"\0\x02\0\0abcd", "mapped"),
    ],
)
def test_attributes_that_cannot_be_read(attribute: Attribute, value: bytes, name: str) -> None:
    message = stun.decode(stun.encode(3, Kind.SUCCESS, b"t" * 12, [(attribute, value)]))
    with pytest.raises(NotStun):
        getattr(message, name)


def test_messages_in_a_stream_are_told_apart() -> None:
    assert stun.whole_length(IPV4_ANSWER) == len(IPV4_ANSWER)
    assert stun.whole_length(b"\x01") is None
    with pytest.raises(NotStun):
        stun.whole_length(b"HTTP")


@settings(max_examples=100)
@given(st.binary(max_size=80), st.integers(0, 100))
def test_no_bytes_break_the_reader(data: bytes, cut: int) -> None:
    for attempt in (data, IPV4_ANSWER[:20] + data, IPV4_ANSWER[:cut] + data):
        try:
            message = stun.decode(attempt)
            _ = (message.error, message.mapped, message.relayed, message.lifetime_s, message.fits(b"x"))
        except NotStun:
            continue
