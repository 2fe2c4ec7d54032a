"""The command line: a file per verb, each of which puts the other rooms together. No other room knows it."""
