"""`well_known_support`."""

import pytest

from .conftest import Complainer, Loader


def test_it_is_served_as_written(load_text: Loader) -> None:
    text = "well_known_support: {contacts: [{role: m.role.admin, matrix_id: '@a:test.example'}]}"
    contacts = [{"role": "m.role.admin", "matrix_id": "@a:test.example"}]
    assert load_text(text).server.well_known_support == {"contacts": contacts}
    assert load_text("").server.well_known_support == {}


@pytest.mark.parametrize("value", ["{contacts: []}", "{support: https://test.example}"])
def test_it_must_help(faults: Complainer, value: str) -> None:
    (fault,) = faults(f"well_known_support: {value}")
    assert fault == "2 well_known_support: has neither `contacts` nor `support_page`."
