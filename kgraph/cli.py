"""The command `kgraph`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kgraph.config import settings
from kgraph.demo import run
from kgraph.errors import KgraphError

INTERRUPTED = 130  # what shells expect after Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0 if all went well.

    Args:
        arguments: words after the command; those of the process if None.
    """
    parser = argparse.ArgumentParser(prog="kgraph", description="A Keras-compatible deep-learning compiler for CPUs.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{demo}")
    demo = commands.add_parser("demo", help="train a small network on handwritten digits, and check the native code")
    demo.add_argument("--dump", metavar="FOLDER", help="where every pass and stage is written (default: kgraph-dump)")
    demo.add_argument("--seed", type=int, default=1, help="of weights, shuffles and dropout (default: 1)")
    options = parser.parse_args(arguments)
    try:
        folder = Path(options.dump or settings().dump or "kgraph-dump")
        return 0 if run(folder.absolute(), options.seed) else 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except (KgraphError, OSError) as error:
        print(f"kgraph: {error}", file=sys.stderr)
        return 1
