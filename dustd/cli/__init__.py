"""The command line: what can be typed, what each verb does with it, and what comes back as text and exit code.

Owns arguments, messages for people and exit codes, and setting dustd up (`check`, `service`). It brings the parts of
all other rooms together and knows nothing of how any of them works; nobody imports it.
"""
