"""One frame from RAW to everything that is written about it, and the wall of the worker process that it passes.

Owns the order of the steps, which is what makes a kill at any time harmless. It knows a single frame: not which frames
there are, when their turn comes or who asked.
"""
