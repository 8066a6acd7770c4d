"""`vedette label`: analysts' verdicts on answers, and what to label next."""
