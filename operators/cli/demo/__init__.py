"""`vedette demo`: a store, candidates good and bad, constant load, and what became of each; every claim is checked."""
