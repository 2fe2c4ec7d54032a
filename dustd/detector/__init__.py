"""Tiles in, detections out: where to look in a frame, the network that looks, how many answers become one list.

Owns model cards, weights and the input encoding; with `dustd.train` the only room that knows torch. It knows light and
boxes: not what is corrected, and nothing of bodies, maps or files written.
"""
