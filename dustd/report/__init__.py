"""What people read: reports on how dusty a sensor is and when to clean it, pages on which to check corrections.

Owns wording, advice and layout. It takes dust maps and records as values and gives text, pages and pictures; it
changes nothing and does not know where the values are kept or how they came to be.
"""
