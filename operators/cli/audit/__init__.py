"""`vedette audit`: what was answered, and the proof that nobody changed it."""
