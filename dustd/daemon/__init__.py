"""Months without anybody looking: watch folders, let files settle, queue them, have them cleaned, tell how it goes.

Owns the loop and its queues, the service manager, status, metrics and reminders. What a frame is and what cleaning it
means it does not know: it is handed functions for that.
"""
