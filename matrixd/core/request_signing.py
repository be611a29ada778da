"""Signatures on requests between servers, and the `Authorization: X-Matrix …` header that carries them.

https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from matrixd.core import canonical_json
from matrixd.core.identifiers import is_server_name, is_signing_key_id
from matrixd.core.signing import SigningKey, VerifyKey

#: The authentication scheme. Schemes are case insensitive (RFC 9110, section 11.1).
SCHEME: Final = "X-Matrix"

# Names are tokens (RFC 9110, section 5.6.2). Values are quoted, or, more widely than tokens, all that has no comma, no
# quote and no blank: older servers left the quotes away where they were needed. Elements of the list may be empty.
_PARAMETER = re.compile(
    r"""[ \t]*(?:([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))[ \t]*)?(?:,|\Z)"""
)
_ESCAPED = re.compile(r"\\(.)")
_TO_ESCAPE = re.compile(r'(["\\])')
_KNOWN = frozenset({"origin", "destination", "key", "sig", "signature"})


@dataclass(frozen=True, slots=True)
class RequestSignature:
    """What an X-Matrix header says: who sends the request, and with which key it is signed."""

    origin: str
    #: The server that the request is for; None from servers that are older than Matrix 1.3.
    destination: str | None
    #: `ed25519:version`
    key_id: str
    #: Unpadded base64.
    signature: str

    def fits(self, method: str, uri: str, body: bytes, key: VerifyKey) -> bool:
        """Whether the key made this signature of the request; `uri` is path and query, `body` is as it was received.

        Raises ValueError for a body that is not JSON, NotCanonical for one that nobody can have signed.
        """
        # Servers sign the canonical JSON of the body, and most send just that: then it need not be decoded for this.
        # No JSON but the canonical can fit, or its sender would have signed something else.
        message = signed_bytes(method, uri, self.origin, self.destination, body or None)
        if key.verifies(message, self.signature):
            return True
        if not body:
            return False
        canonical = canonical_json.encode(canonical_json.decode(body))
        if canonical == body:
            return False
        return key.verifies(signed_bytes(method, uri, self.origin, self.destination, canonical), self.signature)


def signed_request(
    method: str, uri: str, origin: str, destination: str | None, content: Any | None = None
) -> dict[str, Any]:
    """The object whose signature a request carries. `uri` is the path and the query as they are sent."""
    request: dict[str, Any] = {"method": method, "uri": uri, "origin": origin}
    if destination is not None:
        request["destination"] = destination
    if content is not None:
        request["content"] = content
    return request


def signed_bytes(method: str, uri: str, origin: str, destination: str | None, body: bytes | None) -> bytes:
    """The canonical JSON of `signed_request`. `body` is the canonical JSON of its content, None without a body."""
    request = canonical_json.encode(signed_request(method, uri, origin, destination))
    # "content" is the first of the names.
    return request if body is None else b'{"content":%b,%b' % (body, request[1:])


def authorization(
    method: str, uri: str, origin: str, destination: str, key: SigningKey, body: bytes | None = None
) -> bytes:
    """The value of the Authorization header. `body` is what is sent: canonical JSON (`canonical_json.encode`)."""
    signature = key.sign(signed_bytes(method, uri, origin, destination, body))
    return authorization_value(RequestSignature(origin, destination, key.key_id, signature))


def authorization_value(signature: RequestSignature) -> bytes:
    """The header as every server reads it: one space, small letters, all values quoted, no blanks."""
    fields = [("origin", signature.origin), ("key", signature.key_id), ("sig", signature.signature)]
    if signature.destination is not None:
        fields.insert(1, ("destination", signature.destination))
    return f"{SCHEME} {','.join(f'{name}={_quoted(value)}' for name, value in fields)}".encode("latin-1")


def is_request_signature(value: bytes) -> bool:
    """Whether the value of an Authorization header has our scheme; others are a reverse proxy's business."""
    return value.lstrip()[: len(SCHEME) + 1].lower() in (b"x-matrix ", b"x-matrix\t", b"x-matrix")


def parse_authorization(value: bytes) -> RequestSignature:
    """Reads the value of an Authorization header. Raises ValueError with a sentence that says what is wrong."""
    if not is_request_signature(value):
        raise ValueError(f"its scheme must be {SCHEME}")
    fields = _parameters(value.strip()[len(SCHEME) :].decode("latin-1"))
    for name in ("origin", "key"):
        if name not in fields:
            raise ValueError(f"'{name}' is missing")
    # The specification's list of the parameters says "signature"; its examples, and all servers, say "sig".
    signature = fields.get("sig", fields.get("signature"))
    if signature is None:
        raise ValueError("'sig' is missing")
    if not is_server_name(fields["origin"]):
        raise ValueError("'origin' is not a server name")
    if not is_signing_key_id(fields["key"]):
        raise ValueError("'key' is not the ID of a key")
    return RequestSignature(fields["origin"], fields.get("destination"), fields["key"], signature)


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None:
            raise ValueError("it is not a list of name=value, separated by commas")
        position = match.end()
        name = (match[1] or "").lower()
        if name in _KNOWN:
            if name in found:
                raise ValueError(f"'{name}' is there twice")
            found[name] = match[3] if match[2] is None else _ESCAPED.sub(r"\1", match[2])
    return found


def _quoted(value: str) -> str:
    return '"' + _TO_ESCAPE.sub(r"\\\1", value) + '"'
