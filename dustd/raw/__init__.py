"""Reading RAW files: samples, linear light, camera facts, and whether a file is whole.

Files are opened read-only. Nothing here knows dust.
"""
