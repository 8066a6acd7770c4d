"""`vedette retrain`: check, run and follow the retraining of a model."""
