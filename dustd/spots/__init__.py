"""One spot: how dust looks by the laws of optics, how a shadow is measured, and how its light is given back.

Plain functions over arrays; whether a spot is dust, and what other frames say of it, is the map's affair.
"""
