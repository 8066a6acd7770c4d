"""`vedette gate`: whether a bundle may go on."""
