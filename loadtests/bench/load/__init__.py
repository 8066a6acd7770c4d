"""Load generators, and what they measured."""
