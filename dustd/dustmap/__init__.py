"""What is believed about the dust on each sensor, why, and where that belief is kept.

Owns particles, evidence, cleanings, a person's verdicts and the store. It knows spots, frames and records as values:
not the network that found a spot, what is written beside pictures or how a report words it.
"""
