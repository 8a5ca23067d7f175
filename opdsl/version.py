"""The version of opdsl, which files and runs state."""

VERSION = "0.1.0"  # that of pyproject.toml
