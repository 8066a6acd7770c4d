"""`vedette data` and `vedette pipeline`: files of rows checked, and stages run that changed."""
