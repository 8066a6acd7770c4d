"""The record of every answer, written off the hot path."""
