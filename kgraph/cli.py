"""The command `kgraph`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kgraph.compat import find_script, run_script
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
    commands = parser.add_subparsers(dest="command", required=True, metavar="{demo,run}")
    demo = commands.add_parser("demo", help="train a small network on handwritten digits, and check the native code")
    demo.add_argument("--dump", metavar="FOLDER", help="where every pass and stage is written (default: kgraph-dump)")
    demo.add_argument("--seed", type=int, default=1, help="of weights, shuffles and dropout (default: 1)")
    runner = commands.add_parser("run", help="run a script written for Keras with kgraph in its place")
    runner.add_argument("script", help="a Python file")
    runner.add_argument("arguments", nargs=argparse.REMAINDER, help="handed on to the script")
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            script = find_script(options.script)
        else:
            folder = Path(options.dump or settings().dump or "kgraph-dump")
            return 0 if run(folder.absolute(), options.seed) else 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except (KgraphError, OSError) as error:
        print(f"kgraph: {error}", file=sys.stderr)
        return 1
    run_script(script, options.arguments)  # its errors are the script's own
    return 0
