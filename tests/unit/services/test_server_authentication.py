"""Requests of other servers: whose signature is taken, and what the others are told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from matrixd.core.errors import MatrixError, NotCanonical
from matrixd.core.request_signing import RequestSignature, authorization, authorization_value, signed_bytes
from matrixd.core.signing import SigningKey, VerifyKey
from matrixd.net.key_ring import KeyRing, Purpose
from matrixd.services.server_authentication import ServerAuthentication
from tests.support.clock import TestClock

KEY = SigningKey.from_seed("a", b"a" * 32)
SECOND = SigningKey.from_seed("b", b"b" * 32)
URI = "/_matrix/federation/v1/query/profile?user_id=%40a%3Atest"


class Ring:
    """In the place of the key ring: it has the keys that are good at the time, and remembers what was wanted."""

    def __init__(self, *keys: VerifyKey) -> None:
        self._keys = {key.key_id: key for key in keys}
        self.wanted: list[Mapping[str, Mapping[str, int]]] = []

    async def keys(
        self, wanted: Mapping[str, Mapping[str, int]], purpose: Purpose
    ) -> dict[str, dict[str, VerifyKey]]:
        assert purpose is Purpose.REQUEST
        self.wanted.append(wanted)
        ((server_name, key_ids),) = wanted.items()
        found = {key_id: self._keys[key_id] for key_id in key_ids if key_id in self._keys}
        return {server_name: found} if found else {}


class Door:
    """The authentication of the server `test`."""

    def __init__(self, *keys: VerifyKey, whitelist: frozenset[str] | None = None) -> None:
        self.ring = Ring(*(keys or (KEY.verify_key,)))
        self.clock = TestClock()
        self.contacted: list[str] = []
        self._authentication = ServerAuthentication(
            "test", cast(KeyRing, self.ring), whitelist, self.clock, self.contacted.append
        )

    def enter(self, headers: Sequence[bytes], body: bytes = b"", method: str = "GET", uri: str = URI) -> str:
        return asyncio.run(self._authentication.authenticate(method, uri, headers, body))

    def refusal(self, headers: Sequence[bytes], body: bytes = b"", **request: Any) -> MatrixError:
        with pytest.raises(MatrixError) as caught:
            self.enter(headers, body, **request)
        assert self.contacted == []
        return caught.value


def _signed(
    key: SigningKey = KEY, body: bytes | None = None, *, origin: str = "remote", destination: str = "test"
) -> bytes:
    return authorization("GET", URI, origin, destination, key, body)


def test_a_signed_request_is_its_servers() -> None:
    door = Door()
    assert door.enter([_signed()]) == "remote"
    assert door.enter([_signed(body=b'{"a":1}')], b'{ "a": 1 }') == "remote"
    assert door.contacted == ["remote", "remote"]
    assert door.ring.wanted[0] == {"remote": {KEY.key_id: door.clock.now_ms()}}


def test_headers_of_a_proxy_do_not_matter() -> None:
    assert Door().enter([b"Basic Zm9vOmJhcg==", _signed()]) == "remote"


def test_of_several_signatures_one_key_has_to_be_known() -> None:
    headers = [_signed(SECOND), _signed()]
    assert Door().enter(headers) == "remote"
    assert Door(KEY.verify_key, SECOND.verify_key).enter(headers) == "remote"
    forged = VerifyKey(SECOND.key_id, KEY.public)
    assert Door(KEY.verify_key, forged).refusal(headers).status == 401


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ([], "must be signed"),
        ([b"Bearer abc"], "must be signed"),
        ([b"X-Matrix origin=remote"], "'key' is missing"),
        ([_signed(destination="another")], "another server"),
        ([_signed(SECOND, origin="test")], "no current key ed25519:b"),
        ([_signed(body=b"{}", origin="test")], "not that of this request"),
        ([_signed(), _signed(origin="other")], "not all of one"),
        ([_signed()] * 9, "more than 8"),
        ([_signed(SECOND)], "no current key ed25519:b"),
        ([_signed(body=b"{}")], "not that of this request"),
        ([authorization_value(RequestSignature("remote", None, "rsa:a", "x"))], "no current key rsa:a"),
    ],
)
def test_who_is_not_let_in(headers: Sequence[bytes], says: str) -> None:
    refusal = Door().refusal(headers)
    assert (refusal.status, refusal.errcode) == (401, "M_UNAUTHORIZED")
    assert says in refusal.error


def test_the_server_itself_is_known_and_not_let_in() -> None:
    for door in (Door(), Door(whitelist=frozenset({"friend"}))):
        refusal = door.refusal([_signed(origin="test")])
        assert (refusal.status, refusal.errcode) == (403, "M_FORBIDDEN")
        assert "itself" in refusal.error


def test_another_request_with_the_same_header_is_refused() -> None:
    door = Door()
    for request in ({"method": "PUT"}, {"uri": URI + "x"}, {"body": b"{}"}):
        assert door.refusal([_signed()], **cast(Any, request)).status == 401


def test_a_header_without_destination_is_taken() -> None:
    signature = KEY.sign(signed_bytes("GET", URI, "remote", None, None))
    assert Door().enter([authorization_value(RequestSignature("remote", None, KEY.key_id, signature))]) == "remote"


def test_old_keys_sign_no_requests() -> None:
    old = VerifyKey(KEY.key_id, KEY.public, expired_ts=2**52)
    assert Door(old).refusal([_signed()]).status == 401


def test_only_servers_of_the_whitelist_are_let_in() -> None:
    assert Door(whitelist=frozenset({"remote"})).enter([_signed()]) == "remote"
    door = Door(whitelist=frozenset({"friend"}))
    refusal = door.refusal([_signed()])
    assert (refusal.status, refusal.errcode) == (403, "M_FORBIDDEN")
    assert door.ring.wanted == []


def test_a_body_that_is_no_json_is_said() -> None:
    refusal = Door().refusal([_signed(body=b"{}")], b"{")
    assert (refusal.status, refusal.errcode) == (400, "M_NOT_JSON")
    deep = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises((MatrixError, NotCanonical)):
        Door().enter([_signed(body=b"{}")], deep)
