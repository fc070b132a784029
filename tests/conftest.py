"""Puts tests/ on the import path, so that tests can import `reference` and `checks`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
