"""Graph passes, one a file: Graph in, Graph out."""
