"""Making and judging a detector: synthetic dust, backgrounds, trainer, evaluation.

Owns everything that is done before a model ships. It knows the detector's network and encoding and reads RAW files; it
knows nothing of dust maps, of files written beside pictures or of the daemon that the model will serve.
"""
