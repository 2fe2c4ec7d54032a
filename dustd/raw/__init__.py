"""Reading RAW files: the samples, the camera and its settings, the metadata to copy, whether a file is whole.

Owns what a frame is. Files come from strangers: nothing read is trusted, and nothing is ever written. It knows nothing
of dust.
"""
