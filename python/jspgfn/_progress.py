"""Progress bars, and the words for times."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ._validation import describe

Callback = Callable[[Any, dict[str, Any]], Any]


def check_callback(callback: object) -> Callback | None:
    if callback is not None and not callable(callback):
        raise TypeError(
            "callback must be None or a function of the estimator and a dict, "
            f"got {describe(callback)}"
        )
    return callback


class Bar:
    """A tqdm bar, or nothing. `done` counts from 0 to `total`."""

    def __init__(self, bar: Any) -> None:
        self.bar = bar

    @property
    def is_shown(self) -> bool:
        return self.bar is not None and not self.bar.disable

    def show(self, done: float, words: dict[str, str]) -> None:
        if self.is_shown:
            self.bar.set_postfix(words, refresh=False)
            self.bar.update(min(done, self.bar.total) - self.bar.n)

    def write(self, line: str) -> None:
        """A line that does not tear the bar."""
        if self.is_shown:
            self.bar.write(line, file=sys.stdout)
        else:
            print(line, flush=True)


@contextmanager
def progress_bar(total: float, unit: str, wanted: bool) -> Iterator[Bar]:
    """A bar where someone can see it: on a terminal, or in a notebook."""
    if not wanted:
        yield Bar(None)
        return
    from tqdm import auto

    bar = auto.tqdm(
        total=total,
        unit=unit,
        desc="jspgfn",
        disable=False if in_notebook() else None,  # None = only on a terminal
        bar_format="{l_bar}{bar}| {n:.0f}/{total:.0f} {unit} "
        "[{elapsed}<{remaining}{postfix}]",
    )
    try:
        yield Bar(bar)
    finally:
        bar.close()


def in_notebook() -> bool:
    """Whether output goes to a notebook, which is no terminal but has a reader."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(
        shell, "kernel"
    )  # not a plain IPython, nor one imported for other ends


def duration(seconds: float) -> str:
    """'0.4 s', '35 s', '12 min', '3.2 h'"""
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
