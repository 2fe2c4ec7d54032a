"""Every file that dustd writes beside pictures: cleaned images, sidecars, edits for RAW developers.

Owns the formats and their promises. It is handed samples, spots and settings; it does not know how a spot was found,
what the map believes or when something is written.
"""
