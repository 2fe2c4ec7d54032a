"""One spot: the optics of its shadow, how deep it is, its outline and shape, and giving the light back.

Owns measuring and correcting in the samples of one frame. It knows nothing of networks, of other frames, of maps or of
files; what is known of a shadow beforehand it is told as a value.
"""
