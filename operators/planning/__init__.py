"""What a candidate would do, before anybody meets it: recent traffic replayed through it from the prediction log."""
