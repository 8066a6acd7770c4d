"""The two halves of `verify.py`, the script of an audit package; written for Python 3.8 and its standard library alone."""
