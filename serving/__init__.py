"""The data plane: answers requests, and accounts for its answers. Imports neither lifecycle nor operators."""
