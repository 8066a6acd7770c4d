"""`vedette data`: files of rows, before anything is trained on them."""
