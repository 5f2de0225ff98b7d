"""Running what the compiler made: the interpreter, the loader, memory and executables."""

if __name__ != "kgraph.runtime":
    raise ImportError(
        f"this folder is the package 'kgraph.runtime', not {__name__!r}; "
        "run 'pip install -e .' once and import it as 'kgraph.runtime'"
    )
