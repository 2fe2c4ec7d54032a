"""What is believed about each sensor, as evidence from frames, and where that is kept.

Plain functions judge; the store alone knows the database. Nothing here reads pictures from files or knows a network.
"""
