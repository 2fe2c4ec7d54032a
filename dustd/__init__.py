"""dustd: keeps the dust on camera sensors out of photographs."""

__version__ = "0.1.0"
