"""Metrics of the control plane and of what runs beside it: their names, and the page that shows them. Does not import the code
that counts."""
