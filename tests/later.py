"""What a later dustd would write."""


def with_news(data):
    """Add a key that no version knows to every object in a JSON value."""
    if isinstance(data, dict):
        return {**{key: with_news(value) for key, value in data.items()}, "a later dustd's": [1]}
    return [with_news(item) for item in data] if isinstance(data, list | tuple) else data
