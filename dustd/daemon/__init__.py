"""Months without anybody looking: watching folders, settling, queueing, the loop, status, reminders, the service
manager.

It knows when a frame is taken up and what becomes of failures; what is done to a frame is the pipeline's affair.
"""
