"""kgraph: Keras-style models, compiled."""
