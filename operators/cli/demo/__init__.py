"""`vedette demo`: a store, good and bad candidates, constant load, and the outcome of each; every claim is checked."""
