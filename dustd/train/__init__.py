"""Making and judging a detector: synthetic dust, backgrounds, trainer, evaluation."""
