"""One frame from RAW file to outputs and map, and the worker process in which files are decoded and written.

It knows the order that loses nothing; it does not know folders, queues or when a frame comes.
"""
