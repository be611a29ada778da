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
    """Whether the password belongs to the hash, in constant time. As slow as hashing."""
    if len(password) > MAX_LENGTH:
        return False
    try:
        return bcrypt.checkpw(_material(password, pepper), stored_hash.encode("ascii"))
    except ValueError:  # the stored text is no bcrypt hash
        return False


def _material(password: str, pepper: str) -> bytes:
    """What bcrypt gets: it takes 72 bytes at most, so that longer passwords are hashed down instead of cut off.

    Unicode is normalised, since keyboards differ in how they write the same letter.
    """
    material = (unicodedata.normalize("NFKC", password) + pepper).encode("utf-8", errors="surrogatepass")
    if len(material) <= _BCRYPT_BYTES:
        return material
    return base64.b64encode(hashlib.sha256(material).digest())
