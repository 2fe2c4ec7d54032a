"""A virtual camera and a simulated session: what `dustd demo` shows, and what tests expose frames with.

It uses the program as a photographer does, by its command line and its files.
"""
