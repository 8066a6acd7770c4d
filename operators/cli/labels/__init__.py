"""`vedette label`: what analysts say of answers, and what they should look at next."""
