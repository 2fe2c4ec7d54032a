"""Every file that dustd writes beside or instead of a picture: DNG, TIFF, JPEG, sidecars, edits of other programs.

It knows formats; which spots are in them, and where files go, is decided elsewhere.
"""
