"""Facts, tests and verdicts: pure functions over values, no IO, no clock, no other part of ferryman."""
