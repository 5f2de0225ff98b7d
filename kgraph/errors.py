"""Error classes: one line that says where, what was expected, what came, and how to mend it."""

from __future__ import annotations


class KgraphError(Exception):
    """Base of every error that kgraph raises on purpose.

    The message is one line: ``<what>: expected <expected>, received <received>. <fix>``; parts that were not
    given are left out. The parts stay readable as attributes.

    Args:
        what: the place: a layer, an argument, a file.
        expected: what would have been right.
        received: what came, as the user wrote it.
        fix: one hint how to mend it.
    """

    def __init__(self, what: str, *, expected: str = "", received: str = "", fix: str = "") -> None:
        self.what, self.expected, self.received, self.fix = what, expected, received, fix
        parts = [f"expected {expected}"] if expected else []
        parts += [f"received {received}"] if received else []
        message = what + (": " + ", ".join(parts) if parts else "")
        super().__init__(f"{message}. {fix}" if fix else message)

    def within(self, place: str) -> KgraphError:
        """The same error with `place` named first; itself if that is so already.

        >>> str(ShapeError("axis", expected="an axis in -2..1", received="5").within("sum"))
        'sum: axis: expected an axis in -2..1, received 5'
        """
        if self.what.startswith(place):
            return self
        return type(self)(f"{place}: {self.what}", expected=self.expected, received=self.received, fix=self.fix)


class ShapeError(KgraphError, ValueError):
    """A shape does not fit."""


class ArgumentError(KgraphError, ValueError):
    """An argument has a value outside its range."""


class DTypeError(KgraphError, TypeError):
    """An element type or a Python type does not fit."""


class DataError(KgraphError, ValueError):
    """The user's data cannot be used as they are."""


class GraphError(KgraphError, ValueError):
    """A model or graph is not connected or not well formed."""


class SymbolicError(KgraphError, TypeError):
    """Python or NumPy asked a symbolic tensor for values: it has none while a model is built."""

    place = ""

    def locate(self, place: str) -> None:
        """Put `place` before the message, unless it has a place already."""
        if not self.place:
            self.place, self.what = place, f"{place}: {self.what}"
            self.args = (f"{place}: {self}",)


class NumericError(KgraphError, FloatingPointError):
    """A computation gave NaN or Inf, and the user asked to be told."""


class OutOfMemoryError(KgraphError, MemoryError):
    """A run needs more memory than there is."""


class StateError(KgraphError, RuntimeError):
    """A call came at the wrong time, such as fit before compile."""


class ParseError(KgraphError, ValueError):
    """IR text cannot be read."""


class InternalError(KgraphError, RuntimeError):
    """A fault of kgraph itself, never of the user."""


class VerifyError(KgraphError, ValueError):
    """A graph or kernel breaks a rule of the IR; a note shows the place in the printed text."""


class KgraphWarning(UserWarning):
    """Something that will run but is likely to be wrong, such as NaN in the data."""
