"""`vedette gate`: whether a bundle passes the checks before its release."""
