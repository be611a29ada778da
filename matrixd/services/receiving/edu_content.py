"""What the contents of all types of EDUs have in common."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from matrixd.core.identifiers import domain_of, is_user_id
from matrixd.services.receiving.edus import Refuse

T = TypeVar("T")

#: Bytes of strings that are no identifiers: types of events, IDs of messages, names of devices.
MAX_STRING_BYTES = 255
MAX_INTEGER = 2**53 - 1


def decoded(content: Mapping[str, Any], form: type[T], refuse: Refuse) -> T | None:
    """The content in its form; None, and refused with the place that is wrong, if it is not of that form."""
    try:
        return msgspec.convert(content, form)
    except msgspec.ValidationError as error:
        refuse(str(error)[:300])
        return None


def is_of(user_id: str, origin: str) -> bool:
    """Whether this is the ID of a user of the server that sent it."""
    return is_user_id(user_id) and domain_of(user_id) == origin
