"""The configuration: one YAML file, read into frozen, typed sections."""

from matrixd.config.faults import ConfigError
from matrixd.config.load import Config, load

__all__ = ["Config", "ConfigError", "load"]
