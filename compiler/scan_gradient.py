"""The gradient of `scan`: another scan, in the opposite direction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

from kgraph.compiler.analysis.uses import needed, smooth_dependents
from kgraph.compiler.rewrite import Rewriter
from kgraph.errors import GraphError
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.opdef import Alias, Pointwise, Scalar, emitting
from kgraph.ir.types import TensorType
from kgraph.primitives.control_flow import roles

# From cotangents of some values of the graph of a rewriter: those of all values between given inputs and them.
Accumulate: TypeAlias = "Callable[[Rewriter, Mapping[Value, Value], Collection[Value]], dict[Value, Value]]"

# Made again from what they were made of: no larger than their result, and nothing to compute.
_VIEWS = frozenset({"broadcast", "reshape"})


def scan_cotangents(
    rewriter: Rewriter, node: Node, dys: Sequence[Value | None], active: Collection[Value], accumulate: Accumulate
) -> list[Value | None]:
    """Cotangents of the operands of a `scan` from those of its results.

    The scan backwards carries the cotangents of the carries, and sums of those of the constants; for each step it gives
    the cotangents of the pieces of the sequences. What it needs of the steps forwards comes in three ways: pieces of
    sequences and constants come again; what is cheap or depends on those only is computed again; the rest is saved by
    the scan forwards, which gets a further result for each.

    Before: y = scan(h0, x, w) {body: h' = tanh(h @ w + x)}
    After:  y, hs, ts = scan(h0, x, w)  and  dh0, dw, dx = scan(dy, 0, hs, ts, w) {reverse=true}

    Raises: GraphError for a conditional loop.

    Args:
        rewriter: continues the graph of `node`; its node is replaced if something must be saved.
        node: the scan.
        dys: cotangents of its results; None for zero.
        active: the values of the graph whose cotangents are wanted.
        accumulate: reverse accumulation.
    """
    if node.attrs["conditional"]:
        place = f" in layer {node.loc.layer}" if node.loc.layer else ""
        what = f"gradient of a loop{place} whose number of steps depends on data"
        raise GraphError(what, fix="Use fori_loop or scan, whose numbers of steps are known before they run")
    backward = _Backward(node, dys, active, accumulate)
    if not backward.outputs:
        return [None] * len(node.inputs)
    saved = backward.save(rewriter)
    zeros = [rewriter.splat(0.0, d.type) if dy is None else dy for dy, d in backward.carries]
    sums = [rewriter.splat(0.0, total.type) for total in backward.sums.values()]
    sequences = [*backward.slices.values(), *saved, *backward.pieces.values()]
    body = backward.graph()
    results = rewriter.emit(
        node.op, *zeros, *sums, *sequences, *backward.constants.values(), body=body, carries=len(zeros) + len(sums),
        sequences=len(sequences), length=node.attrs["length"], reverse=not node.attrs["reverse"], conditional=False,
    )  # fmt: skip
    found = dict(zip(backward.outputs, results if isinstance(results, tuple) else (results,), strict=True))
    return [found.get(inside) for inside in node.attrs["body"].inputs]


class _Backward:
    """The body of the scan backwards.

    Attributes:
        outputs: inputs of the body forwards that get a cotangent, with it: carries, constants, sequences.
        carries: the cotangents of results of the scan that the first step backwards starts from, each with the input
            of the body backwards that carries it.
        sums: for each constant that gets a cotangent, the input of the body that carries the sum so far.
        slices: the inputs of the body that are pieces of cotangents of stacked results, with those cotangents.
        saved: values of the body forwards that must be saved.
        pieces, constants: inputs of the body forwards that are needed again, with the operands of the scan.
    """

    def __init__(
        self, node: Node, dys: Sequence[Value | None], active: Collection[Value], accumulate: Accumulate
    ) -> None:
        self.node, self.body = node, node.attrs["body"]
        self.carries: list[tuple[Value | None, Value]] = []
        self.sums: dict[Value, Value] = {}
        self.slices: dict[Value, Value] = {}
        self.saved: list[Value] = []
        self.pieces: dict[Value, Value] = {}
        self.constants: dict[Value, Value] = {}
        self.joint = Rewriter(self.body)
        self.joint.loc = node.loc
        for inner in self.body.nodes:
            self.joint.append(inner)
        varying = self._varying(active)
        with emitting(self.joint):
            seeds = self._seeds(dys, varying)
            self.outputs = self._outputs(varying, accumulate(self.joint, seeds, varying))
        # Gradients of scans inside may have changed the nodes forwards, but not their number.
        start = len(self.body.nodes)
        self.forwards = self.joint.nodes[:start]
        self.maker = {value: inner for inner in self.forwards for value in inner.outputs}
        self.nodes = needed(self.joint.nodes[start:], self.outputs.values())
        self.again = self._collect()

    def _varying(self, active: Collection[Value]) -> set[Value]:
        """Inputs of the body that depend on active values: operands that do, and carries that do after some step."""
        body = self.body
        found = {
            inside for inside, operand in zip(body.inputs, self.node.inputs, strict=True)
            if operand in active and inside.dtype.is_float
        }  # fmt: skip
        carries = roles(body.inputs, self.node.attrs).carries
        while True:
            reached = smooth_dependents(body.nodes, found)
            more = {old for old, new in zip(carries, body.outputs, strict=False) if new in reached} - found
            if not more:
                return found
            found |= more

    def _seeds(self, dys: Sequence[Value | None], varying: Collection[Value]) -> dict[Value, Value]:
        """Cotangents of the results of the body: inputs of the body backwards."""
        joint, seeds = self.joint, dict[Value, Value]()
        carries = roles(self.body.inputs, self.node.attrs).carries
        for number, (result, dy) in enumerate(zip(self.body.outputs, dys, strict=True)):
            if number < len(carries):
                if carries[number] not in varying:
                    continue
                d = joint.input(result.type, f"d_carry{number}")
                self.carries.append((dy, d))
            elif dy is None:
                continue
            else:
                d = joint.input(result.type, f"d_result{number}")
                self.slices[d] = dy
            seeds[result] = joint.emit("add", seeds[result], d) if result in seeds else d
        return seeds

    def _outputs(self, varying: Collection[Value], cotangents: Mapping[Value, Value]) -> dict[Value, Value]:
        """The results of the body backwards, by the input of the body forwards whose cotangent they are."""
        joint, outputs = self.joint, dict[Value, Value]()
        carries, sequences, constants = roles(self.body.inputs, self.node.attrs)
        for carry in carries:
            if carry in varying:
                outputs[carry] = cotangents[carry] if carry in cotangents else joint.splat(0.0, carry.type)
        for constant in constants:
            if constant in varying and constant in cotangents:
                total = self.sums[constant] = joint.input(constant.type, "d_sum")
                outputs[constant] = joint.emit("add", total, cotangents[constant])
        for piece in sequences:
            if piece in varying and piece in cotangents:
                outputs[piece] = cotangents[piece]
        return outputs

    def _collect(self) -> list[Node]:
        """Sort what the nodes backwards need of the body forwards; gives the nodes that run again."""
        operand_of = dict(zip(self.body.inputs, self.node.inputs, strict=True))
        carries, sequences, _ = roles(self.body.inputs, self.node.attrs)
        free = self._free(set(carries))
        own = {value for inner in self.nodes for value in inner.outputs}
        own |= {*self.slices, *self.sums.values(), *(d for _, d in self.carries)}
        pending = [*self.outputs.values(), *(value for inner in self.nodes for value in inner.inputs)]
        again, seen = set[Node](), set[Value]()
        while pending:
            value = pending.pop(0)
            if value in own or value in seen:
                continue
            seen.add(value)
            inner = self.maker.get(value)
            if inner is None and value not in carries:
                (self.pieces if value in sequences else self.constants)[value] = operand_of[value]
            elif inner is not None and (value in free or inner.op.name in _VIEWS):
                again.add(inner)
                pending += inner.inputs
            else:
                self.saved.append(value)
        return [inner for inner in self.forwards if inner in again]

    def _free(self, carries: set[Value]) -> set[Value]:
        """Values of the body that need nothing saved: of constants only, or cheap functions of pieces and constants."""
        free = {value for value in self.body.inputs if value not in carries}
        steady = set(roles(self.body.inputs, self.node.attrs).constants)
        for inner in self.forwards:
            if steady.issuperset(inner.inputs):
                steady.update(inner.outputs)
                free.update(inner.outputs)
            elif free.issuperset(inner.inputs) and isinstance(inner.op.lower, Scalar | Pointwise | Alias):
                free.update(inner.outputs)
        return free

    def save(self, rewriter: Rewriter) -> list[Value]:
        """The stacked values that must be saved; the scan forwards gets a result for each that it has not."""
        count = self.node.attrs["carries"]
        stacked = dict(zip(self.body.outputs[count:], self.node.outputs[count:], strict=True))
        length, new = self.node.attrs["length"], [value for value in self.saved if value not in stacked]
        for value in new:
            stacked[value] = Value(TensorType(value.dtype, (length, *value.type.shape)), value.name)
        if new or list(self.body.nodes) != self.forwards:
            body = Graph(self.body.name, self.body.inputs, tuple(self.forwards), (*self.body.outputs, *new))
            outputs = (*self.node.outputs, *(stacked[value] for value in new))
            attrs = {**self.node.attrs, "body": body}
            rewriter.substitute(self.node, Node(self.node.op, self.node.inputs, outputs, attrs, self.node.loc))
        return [stacked[value] for value in self.saved]

    def graph(self) -> Graph:
        """The body backwards."""
        carried = [*(d for _, d in self.carries), *self.sums.values()]
        inputs = (*carried, *self.slices, *self.saved, *self.pieces, *self.constants)
        return Graph(f"{self.body.name}_grad", inputs, (*self.again, *self.nodes), tuple(self.outputs.values()))
