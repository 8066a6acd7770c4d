"""The gate: whether a bundle may go on towards production. Judged by a policy; every check is a value with its figures and words."""
