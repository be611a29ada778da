"""Password hashes."""

from matrixd.util.passwords import hash_password, is_password


def test_a_password_fits_only_its_hash() -> None:
    stored = hash_password("correct horse", 4)
    assert is_password("correct horse", stored)
    assert not is_password("correct horsf", stored)
    assert not is_password("", stored)


def test_passwords_longer_than_bcrypt_takes_count_to_their_end() -> None:
    stored = hash_password("x" * 100 + "a", 4, "pepper")
    assert is_password("x" * 100 + "a", stored, "pepper")
    assert not is_password("x" * 100 + "b", stored, "pepper")
    assert not is_password("x" * 100 + "a", stored, "papper")


def test_the_same_letter_written_differently() -> None:
    assert is_password("e\u0301", hash_password("\u00e9", 4))


def test_a_hash_made_elsewhere() -> None:
    # the test vector of crypt_blowfish, John the Ripper's and OpenBSD's: "U*U" with cost 5
    assert is_password("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")


def test_what_is_no_hash_fits_nothing() -> None:
    assert not is_password("x", "")
    assert not is_password("x", "plain")
    assert not is_password("x" * 513, hash_password("x", 4))
    assert not is_password("a\0b", hash_password("a", 4))
