"""The form of the keys that other servers tell of their users: what is stored is of that form, whatever else it says.

https://spec.matrix.org/v1.19/client-server-api/#device-keys
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

T = TypeVar("T")

#: Bytes of the JSON of a device's keys, or of a cross-signing key with its signatures.
MAX_JSON = 65_536
MAX_DISPLAY_NAME = 512

_Signatures = dict[str, dict[str, str]]


class _DeviceKeys(Struct):
    user_id: str
    device_id: str
    algorithms: list[str]
    keys: dict[str, str]
    signatures: _Signatures


class _SigningKey(Struct):
    user_id: str
    usage: list[str]
    keys: Annotated[dict[str, str], Meta(min_length=1, max_length=1)]
    signatures: _Signatures = {}


def check_device_keys(keys: Mapping[str, Any], user_id: str, device_id: str) -> None:
    """Raises ValueError, with what is wrong, unless these are the keys of that device."""
    form = _convert(keys, _DeviceKeys)
    if (form.user_id, form.device_id) != (user_id, device_id):
        raise ValueError("the keys are of another device")


def check_signing_key(key: Mapping[str, Any], user_id: str, usage: str) -> None:
    """Raises ValueError, with what is wrong, unless this is a cross-signing key of the user for that usage."""
    form = _convert(key, _SigningKey)
    if form.user_id != user_id or usage not in form.usage:
        raise ValueError("the key is of another user, or for another usage")
    name, public = next(iter(form.keys.items()))
    if name.partition(":")[2] != public:
        raise ValueError("the key does not have the name that its value gives it")


def device(
    user_id: str, device_id: str, display_name: str | None, keys: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A device as `GET /user/devices` gives it. Raises ValueError, with what is wrong."""
    content: dict[str, Any] = {"device_id": device_id}
    if display_name is not None:
        content["device_display_name"] = display_name[:MAX_DISPLAY_NAME]
    if keys is not None:
        check_device_keys(keys, user_id, device_id)
        content["keys"] = keys
    return content


def _convert(value: Mapping[str, Any], form: type[T]) -> T:
    try:
        found = msgspec.convert(value, form)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    if len(msgspec.json.encode(value)) > MAX_JSON:
        raise ValueError(f"keys of more than {MAX_JSON} bytes")
    return found
