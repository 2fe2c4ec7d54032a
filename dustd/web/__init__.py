"""The session page: the shoot in a browser, served by a process of its own beside the daemon.

It knows what is shown of frames, bodies and troubles, and who may look. It reads sidecars, originals and cleaned files
and writes none of them; what a person asks for goes to the daemon as a command (`dustd.web.messages`).
"""
