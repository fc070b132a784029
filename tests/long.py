"""How long tests go on that have a longer version: JSPGFN_LONG_TESTS=1 (make long)."""

import os

LONG = os.environ.get("JSPGFN_LONG_TESTS", "") not in ("", "0")


def short_or_long(short, long):
    return long if LONG else short
