"""Verbs that show everything at once: the console for browsers, and the same in a terminal."""
