"""What people read: dust reports with cleaning advice, pictures of the sensor, pages on which frames are reviewed.

It words and draws what maps and sidecars say; it decides nothing and does not know the daemon.
"""
