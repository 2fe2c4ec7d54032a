"""A frame in, detections out: tiles, the encoding, the network and the engines that run it.

It knows neither maps nor files other than a model's; whether a detection is dust is decided elsewhere.
"""
