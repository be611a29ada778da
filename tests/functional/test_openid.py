"""A third party learns who a user is from the token that the user hands it."""

from __future__ import annotations

from tests.support.client import MatrixClient, quoted

USER_INFO = "/_matrix/federation/v1/openid/userinfo"


def test_a_token_tells_who_made_it(alice: MatrixClient, client: MatrixClient) -> None:
    token = alice.post(f"/user/{quoted(alice.user_id)}/openid/request_token", {})["access_token"]
    assert client.get(USER_INFO, query={"access_token": token}).json == {"sub": alice.user_id}
    assert client.get(USER_INFO, query={"access_token": "guess"}, expect=401).errcode == "M_UNKNOWN_TOKEN"
    assert client.get(USER_INFO, expect=401, validate=False).errcode == "M_MISSING_TOKEN"


def test_an_access_token_is_none(alice: MatrixClient, client: MatrixClient) -> None:
    client.get(USER_INFO, query={"access_token": alice.token}, expect=401)
