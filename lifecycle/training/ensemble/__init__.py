"""Ensembles: members' scores as ranks among training rows, and one score out of them, in one graph."""
