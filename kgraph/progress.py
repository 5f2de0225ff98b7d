"""Progress on one line of text, and keyboard interrupts that wait for the end of a step."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

DRAW_SECONDS = 0.1
BAR = 24


def on_terminal() -> bool:
    """Whether standard output is a terminal, where a line can be drawn again."""
    return bool(getattr(sys.stdout, "isatty", lambda: False)())


def write_line(text: str) -> None:
    """A line of its own."""
    print(text, flush=True)


def number(value: Any) -> str:
    """A value as logs show it.

    >>> number(0.12345), number(1.5e-5), number(3)
    ('0.1235', '1.5000e-05', '3.0000')
    """
    value = float(value)
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 or value != value else f"{value:.4e}"


class ProgressLine:
    """A line such as ``Epoch 2/5  30/45 [=====>    ]  0.4s  accuracy: 0.9123  loss: 0.3012``.

    Args:
        moving: draw it again and again while work goes on; otherwise only when it is finished.
    """

    def __init__(self, moving: bool) -> None:
        self._moving = moving
        self._title = ""
        self._steps = 0
        self._start = self._next = 0.0
        self._drawn = 0

    def start(self, title: str, steps: int, patience: float = DRAW_SECONDS) -> None:
        """Begin a piece of work of `steps` steps (0 if unknown); nothing is drawn for `patience` seconds."""
        self._title, self._steps = title, steps
        self._start = time.perf_counter()
        self._next = self._start + patience
        self._drawn = 0

    def due(self) -> bool:
        """Whether it is time to draw again; cheap enough to ask at every step."""
        return self._moving and time.perf_counter() >= self._next

    def show(self, step: int, values: Mapping[str, Any]) -> None:
        """Draw the line after `step` steps."""
        self._next = time.perf_counter() + DRAW_SECONDS
        done = BAR * step // self._steps if self._steps else 0
        bar = "=" * done + ">" * (done < BAR) + " " * (BAR - done - 1)
        self._draw(f"{self._title}  {step}/{self._steps or '?'} [{bar}]  {self._rest(values)}")

    def finish(self, values: Mapping[str, Any]) -> None:
        """Write the finished line."""
        text = self.text(values)
        if self._moving:
            self._draw(text)
            sys.stdout.write("\n")
            sys.stdout.flush()
        else:
            write_line(text)

    def text(self, values: Mapping[str, Any]) -> str:
        """The finished line."""
        head = f"{self._title}  " if self._title else ""
        steps = f"{self._steps}/{self._steps}  " if self._steps else ""
        return f"{head}{steps}{self._rest(values)}"

    def abandon(self) -> None:
        """Leave a line that is drawn in part as it stands."""
        if self._drawn:
            sys.stdout.write("\n")
            sys.stdout.flush()
            self._drawn = 0

    def _rest(self, values: Mapping[str, Any]) -> str:
        shown = [f"{name}: {number(value)}" for name, value in values.items()]
        seconds = time.perf_counter() - self._start
        return "  ".join([f"{seconds:.1f}s" if seconds >= 1 else f"{seconds * 1e3:.0f}ms", *shown])

    def _draw(self, text: str) -> None:
        sys.stdout.write("\r" + text.ljust(self._drawn))
        sys.stdout.flush()
        self._drawn = len(text)


class InterruptFlag:
    """Says whether Ctrl-C was pressed since the last look."""

    def __init__(self) -> None:
        self.pressed = False
        self._at_once = False

    def press(self) -> None:
        """Ctrl-C: raise KeyboardInterrupt if nothing must be completed first, or if this is the second time."""
        if self.pressed or self._at_once:
            self.pressed = False
            raise KeyboardInterrupt
        self.pressed = True

    def check(self) -> None:
        """Raise the KeyboardInterrupt that was held back."""
        if self.pressed:
            self.pressed = False
            raise KeyboardInterrupt

    def ask(self, question: Callable[[], bool]) -> bool:
        """The answer, for which Ctrl-C does not wait: the user's code may take long to give it, or never do."""
        self.check()
        self._at_once = True
        try:
            return question()
        finally:
            self._at_once = False


@contextmanager
def interrupts_between_steps() -> Iterator[InterruptFlag]:
    """Hold Ctrl-C back until `check` or `ask`, so that a model is never left in the middle of a step.

    A second Ctrl-C acts at once; one that nobody looked at acts at the end. Elsewhere than in the main thread, or where
    the program has its own handler for the signal, nothing changes.
    """
    flag = InterruptFlag()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield flag
        return

    def hold(number: int, frame: FrameType | None) -> None:
        flag.press()

    signal.signal(signal.SIGINT, hold)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    flag.check()
