"""`vedette report`: model cards, compliance reports, and answers by segment."""
