"""Graph and loop passes, and code generation."""

if __name__ != "kgraph.compiler":
    raise ImportError(
        f"this folder is the package 'kgraph.compiler', not {__name__!r}; "
        "run 'pip install -e .' once and import it as 'kgraph.compiler'"
    )
