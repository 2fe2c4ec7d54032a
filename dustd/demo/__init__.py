"""dustd at work without a camera: a virtual body with known dust, a simulated session, a verdict on what came out.

Owns the truth about dust that was drawn. It runs dustd as a user does and compares what was written with that truth;
it knows nothing of how dust is found.
"""
