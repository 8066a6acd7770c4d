"""Which variant answers whom: the entity of a row, the sticky split. Core; knows no models and no doors."""
