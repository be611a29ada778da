"""A directory in which a test writes its configuration."""

from collections.abc import Callable
from pathlib import Path

import pytest

from matrixd.config import Config, ConfigError, load
from matrixd.config.generate import write_signing_key

Loader = Callable[..., Config]
Complainer = Callable[..., list[str]]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Has a signing key for `test.example`."""
    assert write_signing_key(tmp_path / "test.example.signing.key")
    return tmp_path


@pytest.fixture
def load_text(directory: Path) -> Loader:
    """Loads the text, put behind a server name, and further texts as further files."""

    def load_texts(text: str, *more: str) -> Config:
        paths = []
        for at, content in enumerate(["server_name: test.example\n" + text, *more]):
            path = directory / f"{at}.yaml"
            path.write_text(content)
            paths.append(path)
        return load(paths)

    return load_texts


@pytest.fixture
def faults(load_text: Loader) -> Complainer:
    """What is wrong with the text: `LINE option: reason`, in order. Line 1 is the server name's."""

    def complaints(text: str, *more: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load_text(text, *more)
        assert all(fault.cure for fault in caught.value.faults)
        return [
            f"{fault.place.line if fault.place else 0} {fault.option}: {fault.reason}" for fault in caught.value.faults
        ]

    return complaints
