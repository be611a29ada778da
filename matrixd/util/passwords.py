"""Password hashes: bcrypt, in the form that Synapse's `hash_password` and database have too."""

import base64
import hashlib
import unicodedata

import bcrypt

MAX_LENGTH = 512
"""Characters; a longer password is refused before it costs time."""
_BCRYPT_BYTES = 72


def hash_password(password: str, rounds: int, pepper: str = "") -> str:
    """The hash to store. Takes about 0.2 s with 12 rounds: never call it on the reactor's thread."""
    return bcrypt.hashpw(_material(password, pepper), bcrypt.gensalt(rounds)).decode("ascii")


def is_password(password: str, stored_hash: str, pepper: str = "") -> bool:
    """Whether the password belongs to the hash, in constant time. As slow as hashing.

    A hash that Synapse made of more than 72 bytes is of the first 72, so that form counts too.
    """
    if len(password) > MAX_LENGTH:
        return False
    stored = stored_hash.encode("ascii", errors="replace")
    try:
        if bcrypt.checkpw(_material(password, pepper), stored):
            return True
        text = _normal(password, pepper)
        return len(text) > _BCRYPT_BYTES and bcrypt.checkpw(text[:_BCRYPT_BYTES], stored)
    except ValueError:  # the stored text is no bcrypt hash
        return False


def _material(password: str, pepper: str) -> bytes:
    """What bcrypt gets: it takes 72 bytes at most, so that longer passwords are hashed down instead of cut off."""
    text = _normal(password, pepper)
    if len(text) <= _BCRYPT_BYTES:
        return text
    return base64.b64encode(hashlib.sha256(text).digest())


def _normal(password: str, pepper: str) -> bytes:
    """Unicode is normalised, since keyboards differ in how they write the same letter."""
    return (unicodedata.normalize("NFKC", password) + pepper).encode("utf-8", errors="surrogatepass")
